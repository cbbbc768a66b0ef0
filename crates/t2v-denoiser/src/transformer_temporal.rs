//! `TransformerTemporalModel`: each pixel attends to itself in the other frames
//! (`diffusers/models/transformers/transformer_temporal.py`).

use burn::{
    module::Module,
    nn::{GroupNorm, GroupNormConfig, Linear},
    tensor::{Device, Tensor},
};
use t2v_kernels::{MultiHead, group_norm_frames, linear, project, project_add_image};

use crate::{Context, TransformerBlock};

const NORM_EPS: f64 = 1e-6;

/// A temporal transformer of one block, added to its input. Both of the block's attentions are self-attention, and
/// there is no position embedding: the order of the frames comes from the temporal convolutions.
#[derive(Module, Debug)]
pub struct TransformerTemporal {
    norm: GroupNorm,
    proj_in: Linear,
    transformer_blocks: Vec<TransformerBlock>,
    proj_out: Linear,
}

impl TransformerTemporal {
    /// `split` need not multiply out to `channels`.
    #[must_use]
    pub fn new(channels: usize, split: MultiHead, groups: usize, device: &Device) -> Self {
        let inner = split.inner_dim();
        Self {
            norm: GroupNormConfig::new(groups, channels)
                .with_epsilon(NORM_EPS)
                .init(device),
            proj_in: linear(channels, inner, true, device),
            transformer_blocks: vec![TransformerBlock::new(split, None, device)],
            proj_out: linear(inner, channels, true, device),
        }
    }

    /// # Shapes
    /// - x: `[batch * frames, channels, height, width]`, unchanged
    #[must_use]
    pub fn forward(&self, x: Tensor<4>, frames: usize) -> Tensor<4> {
        let pixels = group_norm_frames(&self.norm, x.clone(), frames, None)
            .flatten::<3>(2, 3)
            .swap_dims(1, 2);
        let mut hidden = project(&self.proj_in, pixels);
        for block in &self.transformer_blocks {
            hidden = block.forward(hidden, Context::Frames(frames));
        }
        project_add_image(&self.proj_out, hidden, x)
    }
}
