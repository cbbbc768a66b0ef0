//! Rotary positions in time, height and width (`WanRotaryPosEmbed`).
//!
//! A head's channels are divided between the three: a third, in whole pairs and rounded down, is for height and as much for width;
//! the rest is for time, and comes first.

use burn::tensor::{Device, Tensor};
use t2v_kernels::Rotation;

/// Of [Su et al., 2021](https://arxiv.org/abs/2104.09864).
const THETA: f64 = 10_000.0;

/// Pairs of a head's channels that are for time, height and width.
fn pairs(head_dim: usize) -> [usize; 3] {
    let side = head_dim / 6;
    [head_dim / 2 - 2 * side, side, side]
}

/// The rotation of tokens that are patches in the order time, height, width; so many of each are in `counts`.
pub(super) fn rotation(counts: [usize; 3], head_dim: usize, device: &Device) -> Rotation {
    let pairs = pairs(head_dim);
    let table = |of: fn(f64) -> f64| {
        let axes = (0..3).filter(|axis| pairs[*axis] > 0);
        let parts: Vec<Tensor<4>> = axes.map(|axis| along(axis, counts, pairs[axis], of, device)).collect();
        let [time, height, width] = counts;
        Tensor::cat(parts, 3).reshape([time * height * width, head_dim / 2])
    };
    Rotation::new(table(f64::cos), table(f64::sin))
}

/// The part of an axis: `of` the angles of its positions, the same at all positions of the other axes. Computed in f64.
///
/// # Shapes
/// - output: `[time, height, width, pairs]`
fn along(axis: usize, counts: [usize; 3], pairs: usize, of: fn(f64) -> f64, device: &Device) -> Tensor<4> {
    let frequency = |pair: usize| THETA.powf((2 * pair) as f64 / (2 * pairs) as f64).recip();
    let frequencies: Vec<f64> = (0..pairs).map(frequency).collect();
    let values: Vec<f32> = (0..counts[axis])
        .flat_map(|position| frequencies.iter().map(move |f| of(position as f64 * f) as f32))
        .collect();
    let mut shape = [1, 1, 1, pairs];
    shape[axis] = counts[axis];
    let [time, height, width] = counts;
    Tensor::<1>::from_floats(values.as_slice(), device)
        .reshape(shape)
        .expand([time, height, width, pairs])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn height_and_width_have_a_third_of_the_channels_each() {
        assert_eq!(pairs(128), [22, 21, 21]);
        assert_eq!(pairs(12), [2, 2, 2]);
        assert_eq!(pairs(10), [3, 1, 1]);
        assert_eq!(pairs(4), [2, 0, 0]);
    }
}
