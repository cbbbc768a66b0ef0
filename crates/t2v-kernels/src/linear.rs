//! Linear layers, in torch's memory layout.

use burn::{
    nn::{Linear, LinearConfig, LinearLayout},
    tensor::{Device, Tensor},
};

use crate::geglu;

/// A linear layer whose weight stays `[d_out, d_in]` in memory, as checkpoints store it: the transposition is a view.
#[must_use]
pub fn linear(d_in: usize, d_out: usize, bias: bool, device: &Device) -> Linear {
    LinearConfig::new(d_in, d_out)
        .with_bias(bias)
        .with_layout(LinearLayout::Col)
        .init(device)
}

/// Applies a linear layer to each token. A transposed view is as fast as tokens in order.
///
/// # Shapes
/// - x: `[batch, tokens, d_in]` -> `[batch, tokens, d_out]`
#[must_use]
pub fn project(layer: &Linear, x: Tensor<3>) -> Tensor<3> {
    #[cfg(feature = "cpu-operators")]
    let x = match crate::flex::linear(layer, x) {
        Ok(out) => return out,
        Err(x) => x,
    };
    layer.forward(x)
}

/// Applies a linear layer to each token and adds it to `residual`.
///
/// # Shapes
/// - x: `[batch, tokens, d_in]`
/// - residual, output: `[batch, tokens, d_out]`
#[must_use]
pub fn project_add(layer: &Linear, x: Tensor<3>, residual: Tensor<3>) -> Tensor<3> {
    #[cfg(feature = "cpu-operators")]
    let (x, residual) = match crate::flex::linear_add(layer, x, residual) {
        Ok(out) => return out,
        Err(inputs) => inputs,
    };
    residual + layer.forward(x)
}

/// Applies a linear layer to the pixels of images and adds it to `residual`, with the channels first again.
///
/// # Shapes
/// - tokens: `[batch, height * width, d_in]`
/// - residual, output: `[batch, d_out, height, width]`
#[must_use]
pub fn project_add_image(layer: &Linear, tokens: Tensor<3>, residual: Tensor<4>) -> Tensor<4> {
    #[cfg(feature = "cpu-operators")]
    let (tokens, residual) = match crate::flex::linear_to_image(layer, tokens, residual) {
        Ok(out) => return out,
        Err(inputs) => inputs,
    };
    let shape = residual.dims();
    layer.forward(tokens).swap_dims(1, 2).reshape(shape) + residual
}

/// `out(geglu(proj(x))) + residual`, the gated feed-forward layer of a transformer.
///
/// # Shapes
/// - x, residual: `[batch, tokens, dim]`, unchanged
#[must_use]
pub fn feed_forward(proj: &Linear, out: &Linear, x: Tensor<3>, residual: Tensor<3>) -> Tensor<3> {
    #[cfg(feature = "cpu-operators")]
    let [x, residual] = match crate::flex::feed_forward([proj, out], x, residual) {
        Ok(out) => return out,
        Err(inputs) => inputs,
    };
    project_add(out, geglu(project(proj, x)), residual)
}
