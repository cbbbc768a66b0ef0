//! Linear layers that keep torch's memory layout.

use burn::{
    nn::{Linear, LinearConfig, LinearLayout},
    tensor::Device,
};

/// A linear layer whose weight stays `[d_out, d_in]` in memory, as checkpoints store it: the transposition is a view.
#[must_use]
pub fn linear(d_in: usize, d_out: usize, bias: bool, device: &Device) -> Linear {
    LinearConfig::new(d_in, d_out)
        .with_bias(bias)
        .with_layout(LinearLayout::Col)
        .init(device)
}
