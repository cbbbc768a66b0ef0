//! Self-attention over the pixels of the lowest resolution (`Attention` with a group norm and a residual connection
//! in `diffusers/models/attention_processor.py`).

use burn::{
    module::Module,
    nn::{GroupNorm, GroupNormConfig, Linear},
    tensor::{Device, Tensor},
};
use t2v_kernels::{MultiHead, attention, group_norm, linear, project, project_add_image};

/// One head as wide as there are channels, added to the input.
#[derive(Module, Debug)]
pub(crate) struct PixelAttention {
    group_norm: GroupNorm,
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: Vec<Linear>,
}

impl PixelAttention {
    pub(crate) fn new(channels: usize, groups: usize, eps: f64, device: &Device) -> Self {
        let project = || linear(channels, channels, true, device);
        Self {
            group_norm: GroupNormConfig::new(groups, channels).with_epsilon(eps).init(device),
            to_q: project(),
            to_k: project(),
            to_v: project(),
            to_out: vec![project()],
        }
    }

    /// `[batch, channels, height, width]`, unchanged.
    pub(crate) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let shape = x.dims();
        let split = MultiHead {
            heads: 1,
            head_dim: shape[1],
        };
        let pixels = group_norm(&self.group_norm, x.clone(), None)
            .flatten::<3>(2, 3)
            .swap_dims(1, 2);
        let query = project(&self.to_q, pixels.clone());
        let key = project(&self.to_k, pixels.clone());
        let value = project(&self.to_v, pixels);
        project_add_image(&self.to_out[0], attention(query, key, value, split, false), x)
    }
}
