//! Self-attention over the pixels of a frame (`WanAttentionBlock` upstream).

use burn::{
    module::Module,
    nn::Linear,
    tensor::{Device, Tensor},
};
use t2v_kernels::{ChannelRmsNorm, MultiHead, attention, linear, project, project_add_image};

/// One head as wide as there are channels, added to the input.
#[derive(Module, Debug)]
pub(super) struct FrameAttention {
    norm: ChannelRmsNorm,
    to_qkv: Linear,
    proj: Linear,
}

impl FrameAttention {
    pub(super) fn new(channels: usize, device: &Device) -> Self {
        Self {
            norm: ChannelRmsNorm::new(channels, device),
            to_qkv: linear(channels, 3 * channels, true, device),
            proj: linear(channels, channels, true, device),
        }
    }

    /// `[frames, channels, height, width]`, unchanged.
    pub(super) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let split = MultiHead {
            heads: 1,
            head_dim: x.dims()[1],
        };
        let pixels = self.norm.forward(x.clone(), None).flatten::<3>(2, 3).swap_dims(1, 2);
        let parts = project(&self.to_qkv, pixels).chunk(3, 2);
        let [query, key, value] = [0, 1, 2].map(|part| parts[part].clone());
        project_add_image(&self.proj, attention(query, key, value, split, false), x)
    }
}
