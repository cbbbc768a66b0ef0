//! `Transformer2DModel`: each frame's pixels attend to each other and to the text
//! (`diffusers/models/transformers/transformer_2d.py`, continuous input, linear projections).

use burn::{
    module::Module,
    nn::{GroupNorm, GroupNormConfig, Linear},
    tensor::{Device, Tensor},
};
use t2v_kernels::{MultiHead, group_norm, linear, project, project_add_image};

use crate::{Context, TransformerBlock};

const NORM_EPS: f64 = 1e-6;

/// A spatial transformer of one block, added to its input.
#[derive(Module, Debug)]
pub struct Transformer2d {
    norm: GroupNorm,
    proj_in: Linear,
    transformer_blocks: Vec<TransformerBlock>,
    proj_out: Linear,
}

impl Transformer2d {
    /// `split` need not multiply out to `channels`.
    #[must_use]
    pub fn new(channels: usize, split: MultiHead, groups: usize, context_dim: usize, device: &Device) -> Self {
        let inner = split.inner_dim();
        Self {
            norm: GroupNormConfig::new(groups, channels)
                .with_epsilon(NORM_EPS)
                .init(device),
            proj_in: linear(channels, inner, true, device),
            transformer_blocks: vec![TransformerBlock::new(split, Some(context_dim), device)],
            proj_out: linear(inner, channels, true, device),
        }
    }

    /// # Shapes
    /// - x: `[batch * frames, channels, height, width]`, unchanged
    /// - text: `[batch, tokens, context_dim]`
    #[must_use]
    pub fn forward(&self, x: Tensor<4>, text: Tensor<3>) -> Tensor<4> {
        let pixels = group_norm(&self.norm, x.clone(), None)
            .flatten::<3>(2, 3)
            .swap_dims(1, 2);
        let mut hidden = project(&self.proj_in, pixels);
        for block in &self.transformer_blocks {
            hidden = block.forward(hidden, Context::Text(&text));
        }
        project_add_image(&self.proj_out, hidden, x)
    }
}
