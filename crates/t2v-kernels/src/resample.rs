//! Halving and doubling the size of images (`diffusers/models/downsampling.py`, `upsampling.py`).

use burn::{
    module::Module,
    nn::{
        PaddingConfig2d,
        conv::{Conv2d, Conv2dConfig},
    },
    tensor::{Device, Int, Tensor},
};

use crate::{conv2d, conv3x3};

/// A 3x3 convolution with stride 2.
#[derive(Module, Debug)]
pub struct Downsample2d {
    conv: Conv2d,
}

impl Downsample2d {
    /// With `padding` 0 one row and one column of zeros are added below and to the right instead, as diffusers does.
    #[must_use]
    pub fn new(channels: usize, padding: usize, device: &Device) -> Self {
        let padding = match padding {
            0 => PaddingConfig2d::Explicit(0, 0, 1, 1),
            p => PaddingConfig2d::Explicit(p, p, p, p),
        };
        let conv = Conv2dConfig::new([channels, channels], [3, 3])
            .with_stride([2, 2])
            .with_padding(padding)
            .init(device);
        Self { conv }
    }

    /// # Shapes
    /// - x: `[batch, channels, height, width]` -> half of height and width
    #[must_use]
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        conv2d(&self.conv, x)
    }
}

/// Nearest-neighbour enlargement, then a 3x3 convolution.
#[derive(Module, Debug)]
pub struct Upsample2d {
    conv: Conv2d,
}

impl Upsample2d {
    /// A layer that keeps the number of channels.
    #[must_use]
    pub fn new(channels: usize, device: &Device) -> Self {
        Self {
            conv: conv3x3(channels, channels, device),
        }
    }

    /// Enlarges to `size` (height, width), or to twice the size.
    ///
    /// # Shapes
    /// - x: `[batch, channels, height, width]` -> `[batch, channels, size.0, size.1]`
    #[must_use]
    pub fn forward(&self, x: Tensor<4>, size: Option<[usize; 2]>) -> Tensor<4> {
        let [_, _, height, width] = x.dims();
        let size = size.unwrap_or([2 * height, 2 * width]);
        conv2d(&self.conv, upsample_nearest(x, size))
    }
}

/// The channels of `x`, then those of `y`.
///
/// # Shapes
/// - x: `[batch, first, height, width]`
/// - y: `[batch, second, height, width]`
/// - output: `[batch, first + second, height, width]`
#[must_use]
pub fn cat_channels(x: Tensor<4>, y: Tensor<4>) -> Tensor<4> {
    #[cfg(feature = "cpu-operators")]
    let [x, y] = match crate::flex::cat_channels(x, y) {
        Ok(out) => return out,
        Err(inputs) => inputs,
    };
    Tensor::cat(vec![x, y], 1)
}

/// Nearest-neighbour resampling; output pixel `i` of `n` shows input pixel `floor(i * len / n)`.
///
/// # Shapes
/// - x: `[batch, channels, height, width]` -> `[batch, channels, size[0], size[1]]`
#[must_use]
pub fn upsample_nearest(x: Tensor<4>, size: [usize; 2]) -> Tensor<4> {
    let [batch, channels, height, width] = x.dims();
    if size == [2 * height, 2 * width] {
        #[cfg(feature = "cpu-operators")]
        let x = match crate::flex::upsample_2x(x) {
            Ok(out) => return out,
            Err(x) => x,
        };
        return x
            .reshape([batch, channels, height, 1, width, 1])
            .expand([batch, channels, height, 2, width, 2])
            .reshape([batch, channels, 2 * height, 2 * width]);
    }
    let device = x.device();
    let picks = |len: usize, out: usize| {
        let indices: Vec<i64> = (0..out).map(|i| (i * len / out) as i64).collect();
        Tensor::<1, Int>::from_data(indices.as_slice(), &device)
    };
    x.select(2, picks(height, size[0])).select(3, picks(width, size[1]))
}
