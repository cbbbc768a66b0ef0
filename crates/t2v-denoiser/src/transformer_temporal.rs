//! `TransformerTemporalModel` and `AnimateDiffTransformer3D`: each pixel attends to itself in the other frames
//! (`diffusers/models/transformers/transformer_temporal.py`, `diffusers/models/unets/unet_motion_model.py`).

use burn::{
    module::Module,
    nn::{GroupNorm, GroupNormConfig, Linear},
    tensor::{Device, Tensor},
};
use t2v_kernels::{MultiHead, Products, group_norm_frames, linear};

use crate::{Context, ContextWindows, TransformerBlock, transformer_block::Attends};

const NORM_EPS: f64 = 1e-6;

/// A temporal transformer, added to its input. All attentions are of the frames to each other. Without an embedding of
/// positions the order of the frames comes from temporal convolutions.
#[derive(Module, Debug)]
pub struct TransformerTemporal {
    norm: GroupNorm,
    proj_in: Linear,
    transformer_blocks: Vec<TransformerBlock>,
    proj_out: Linear,
}

impl TransformerTemporal {
    /// With one block that knows no positions. `split` need not multiply out to `channels`.
    #[must_use]
    pub fn new(channels: usize, split: MultiHead, groups: usize, device: &Device) -> Self {
        Self::with_blocks(channels, split, groups, 1, None, device)
    }

    /// AnimateDiff's motion module ([Guo et al., 2023](https://arxiv.org/abs/2307.04725)), for clips of at most `positions`
    /// frames.
    #[must_use]
    pub fn motion_module(
        channels: usize,
        split: MultiHead,
        groups: usize,
        blocks: usize,
        positions: usize,
        device: &Device,
    ) -> Self {
        Self::with_blocks(channels, split, groups, blocks, Some(positions), device)
    }

    fn with_blocks(
        channels: usize,
        split: MultiHead,
        groups: usize,
        blocks: usize,
        positions: Option<usize>,
        device: &Device,
    ) -> Self {
        let inner = split.inner_dim();
        Self {
            norm: GroupNormConfig::new(groups, channels)
                .with_epsilon(NORM_EPS)
                .init(device),
            proj_in: linear(channels, inner, true, device),
            transformer_blocks: (0..blocks)
                .map(|_| TransformerBlock::new(split, Attends::OverFrames { positions }, device))
                .collect(),
            proj_out: linear(inner, channels, true, device),
        }
    }

    /// # Shapes
    /// - x: `[batch * frames, channels, height, width]`, unchanged
    #[must_use]
    pub fn forward(&self, x: Tensor<4>, frames: usize, products: Products) -> Tensor<4> {
        self.forward_windows(x, frames, None, products)
    }

    /// As [`forward`](Self::forward), with clips that are longer than a window attended to window by window.
    #[must_use]
    pub fn forward_windows(
        &self,
        x: Tensor<4>,
        frames: usize,
        windows: Option<ContextWindows>,
        products: Products,
    ) -> Tensor<4> {
        let pixels = group_norm_frames(&self.norm, x.clone(), frames, None)
            .flatten::<3>(2, 3)
            .swap_dims(1, 2);
        let mut hidden = products.project(&self.proj_in, pixels);
        for block in &self.transformer_blocks {
            hidden = block.forward(hidden, Context::Frames(frames, windows), products);
        }
        products.project_add_image(&self.proj_out, hidden, x)
    }
}
