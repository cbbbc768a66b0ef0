//! Group normalisation ([Wu and He, 2018](https://arxiv.org/abs/1803.08494)), with the activation that follows it.

use burn::{nn::GroupNorm, tensor::Tensor};

use crate::{Activation, merge_frames, split_frames};

/// Normalises each image by itself, then activates.
///
/// # Shapes
/// - x: `[batch, channels, height, width]`, unchanged
#[must_use]
pub fn group_norm(norm: &GroupNorm, x: Tensor<4>, activation: Option<Activation>) -> Tensor<4> {
    group_norm_frames(norm, x, 1, activation)
}

/// Normalises the frames of a clip together, then activates.
///
/// # Shapes
/// - x: `[batch * frames, channels, height, width]`, unchanged
#[must_use]
pub fn group_norm_frames(norm: &GroupNorm, x: Tensor<4>, frames: usize, activation: Option<Activation>) -> Tensor<4> {
    #[cfg(feature = "rten")]
    let x = match crate::flex::group_norm(norm, x, frames, activation) {
        Ok(out) => return out,
        Err(x) => x,
    };
    let normed = match frames {
        1 => norm.forward(x),
        _ => merge_frames(norm.forward(split_frames(x, frames))),
    };
    match activation {
        Some(activation) => activation.forward(normed),
        None => normed,
    }
}
