//! Clips as batches of frames, and back, and batches several times.

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

/// All entries of a batch, `times` times one after the other.
///
/// # Shapes
/// - output: `[times * batch, ...]`
#[must_use]
pub fn repeat_batch<const D: usize>(x: Tensor<D>, times: usize) -> Tensor<D> {
    if times == 1 {
        return x;
    }
    #[cfg(feature = "cpu-operators")]
    let x = match crate::flex::repeat_batch(x, times) {
        Ok(out) => return out,
        Err(x) => x,
    };
    Tensor::cat(vec![x; times], 0)
}
