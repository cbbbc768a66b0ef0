//! Linear layers, in torch's memory layout.

use burn::{
    nn::{Linear, LinearConfig, LinearLayout},
    tensor::{Device, Tensor},
};

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
    #[cfg(feature = "rten")]
    let x = match crate::flex::linear(layer, x) {
        Ok(out) => return out,
        Err(x) => x,
    };
    layer.forward(x)
}
