//! Clips as batches of frames, and back.

use burn::tensor::Tensor;

/// `[batch * frames, channels, height, width]` -> `[batch, channels, frames, height, width]`.
#[must_use]
pub fn split_frames(x: Tensor<4>, frames: usize) -> Tensor<5> {
    let [rows, channels, height, width] = x.dims();
    x.reshape([rows / frames, frames, channels, height, width])
        .swap_dims(1, 2)
}

/// The inverse of [`split_frames`].
#[must_use]
pub fn merge_frames(x: Tensor<5>) -> Tensor<4> {
    let [batch, channels, frames, height, width] = x.dims();
    x.swap_dims(1, 2).reshape([batch * frames, channels, height, width])
}
