//! `Transformer2DModel`: each frame's pixels attend to each other and to the text
//! (`diffusers/models/transformers/transformer_2d.py`, continuous input). Projections are linear layers over pixels, also where a
//! checkpoint has convolutions.

use burn::{
    module::Module,
    nn::{GroupNorm, GroupNormConfig, Linear},
    tensor::{Device, Tensor},
};
use t2v_kernels::{MultiHead, Products, group_norm, linear};

use crate::{Context, TransformerBlock, prompts::for_all_prompts, transformer_block::Attends};

const NORM_EPS: f64 = 1e-6;

/// The blocks of a spatial transformer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TextBlocks {
    pub(crate) count: usize,
    /// Width of the text embeddings.
    pub(crate) text_dim: usize,
    /// Whether both attentions look at the text.
    pub(crate) text_alone: bool,
}

impl TextBlocks {
    fn one(text_dim: usize) -> Self {
        Self {
            count: 1,
            text_dim,
            text_alone: false,
        }
    }
}

/// A spatial transformer, added to its input.
#[derive(Module, Debug)]
pub struct Transformer2d {
    norm: GroupNorm,
    proj_in: Linear,
    transformer_blocks: Vec<TransformerBlock>,
    proj_out: Linear,
}

impl Transformer2d {
    /// With one block. `split` need not multiply out to `channels`.
    #[must_use]
    pub fn new(channels: usize, split: MultiHead, groups: usize, context_dim: usize, device: &Device) -> Self {
        Self::with_blocks(channels, split, groups, &TextBlocks::one(context_dim), device)
    }

    /// `split` need not multiply out to `channels`.
    pub(crate) fn with_blocks(
        channels: usize,
        split: MultiHead,
        groups: usize,
        blocks: &TextBlocks,
        device: &Device,
    ) -> Self {
        let attends = Attends::ToText {
            dim: blocks.text_dim,
            alone: blocks.text_alone,
        };
        let inner = split.inner_dim();
        Self {
            norm: GroupNormConfig::new(groups, channels)
                .with_epsilon(NORM_EPS)
                .init(device),
            proj_in: linear(channels, inner, true, device),
            transformer_blocks: (0..blocks.count)
                .map(|_| TransformerBlock::new(split, attends, device))
                .collect(),
            proj_out: linear(inner, channels, true, device),
        }
    }

    /// # Shapes
    /// - x: `[rows, channels, height, width]`, or a part of the rows that stands for all of them, one time after the other
    /// - text: `[batch, tokens, context_dim]`; each entry serves `rows / batch` neighbouring rows
    /// - output: `[rows, channels, height, width]`
    #[must_use]
    pub fn forward(&self, x: Tensor<4>, text: Tensor<3>, rows: usize, products: Products) -> Tensor<4> {
        let pixels = group_norm(&self.norm, x.clone(), None)
            .flatten::<3>(2, 3)
            .swap_dims(1, 2);
        let mut hidden = products.project(&self.proj_in, pixels);
        for block in &self.transformer_blocks {
            hidden = block.forward(hidden, Context::Text(&text, rows), products);
        }
        let x = for_all_prompts(x, hidden.dims()[0]);
        products.project_add_image(&self.proj_out, hidden, x)
    }
}
