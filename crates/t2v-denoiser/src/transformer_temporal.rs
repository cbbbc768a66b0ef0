//! `TransformerTemporalModel`: each pixel attends to itself in the other frames
//! (`diffusers/models/transformers/transformer_temporal.py`).

use burn::{
    module::Module,
    nn::{GroupNorm, GroupNormConfig, Linear},
    tensor::{Device, Tensor},
};
use t2v_kernels::{MultiHead, group_norm_frames, linear, merge_frames, project, split_frames};

use crate::TransformerBlock;

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
        let [rows, channels, height, width] = x.dims();
        let batch = rows / frames;
        let hidden = group_norm_frames(&self.norm, x.clone(), frames, None);
        let hidden =
            split_frames(hidden, frames)
                .permute([0, 3, 4, 2, 1])
                .reshape([batch * height * width, frames, channels]);
        let mut hidden = project(&self.proj_in, hidden);
        for block in &self.transformer_blocks {
            hidden = block.forward(hidden, None);
        }
        let hidden = project(&self.proj_out, hidden);
        let hidden = hidden
            .reshape([batch, height, width, frames, channels])
            .permute([0, 4, 3, 1, 2]);
        merge_frames(hidden) + x
    }
}
