//! Weights laid out as a device wants them.

use burn::{
    module::{Module, ModuleMapper, Param},
    tensor::{Device, Tensor},
};

/// Lays the kernels of convolutions out with channels last where the device is a GPU, whose convolutions would otherwise do it
/// at each call. Values and shapes stay.
#[must_use]
pub fn lay_out<M: Module>(network: M, device: &Device) -> M {
    match crate::is_cpu(device) {
        true => network,
        false => network.map(&mut ChannelsLast),
    }
}

struct ChannelsLast;

impl ModuleMapper for ChannelsLast {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match D {
            4 | 5 => param.map(channels_last),
            _ => param,
        }
    }
}

/// `[out, in, …]`, in memory as `[out, …, in]`.
fn channels_last<const D: usize>(weight: Tensor<D>) -> Tensor<D> {
    let shape = weight.dims();
    let mut axes: [isize; D] = std::array::from_fn(|axis| axis as isize);
    axes[1..].rotate_left(1);
    let last = weight.permute(axes);
    let laid_out = last.dims();
    // Only a reshape that merges axes moves values.
    let rows: Tensor<2> = last.reshape([shape[0], shape[1..].iter().product()]);
    let mut back: [isize; D] = std::array::from_fn(|axis| axis as isize);
    back[1..].rotate_right(1);
    rows.reshape(laid_out).permute(back)
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Distribution, Tensor};

    use super::*;

    #[test]
    fn values_and_shapes_stay() {
        let device = Device::flex();
        let image = Tensor::<4>::random([2, 3, 5, 4], Distribution::Normal(0.0, 1.0), &device);
        let clip = Tensor::<5>::random([2, 3, 5, 4, 6], Distribution::Normal(0.0, 1.0), &device);
        channels_last(image.clone())
            .into_data()
            .assert_eq(&image.into_data(), true);
        channels_last(clip.clone())
            .into_data()
            .assert_eq(&clip.into_data(), true);
    }
}
