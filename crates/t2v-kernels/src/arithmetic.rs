//! Sums.

use burn::tensor::Tensor;

/// `x + y` of the same shape, in the place of `x` where nobody else holds it.
#[must_use]
pub fn add<const D: usize>(x: Tensor<D>, y: Tensor<D>) -> Tensor<D> {
    #[cfg(feature = "cpu-operators")]
    let [x, y] = match crate::flex::add(x, y) {
        Ok(sum) => return sum,
        Err(inputs) => inputs,
    };
    x + y
}

/// Adds one value to all pixels of a channel.
///
/// # Shapes
/// - x: `[batch, channels, height, width]`, unchanged
/// - y: `[batch, channels]`
#[must_use]
pub fn add_to_channels(x: Tensor<4>, y: Tensor<2>) -> Tensor<4> {
    #[cfg(feature = "cpu-operators")]
    let (x, y) = match crate::flex::add_to_channels(x, y) {
        Ok(sum) => return sum,
        Err(inputs) => inputs,
    };
    x + y.unsqueeze_dims(&[2, 3])
}
