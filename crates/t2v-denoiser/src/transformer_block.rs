//! Attention, feed-forward and the block of both (`BasicTransformerBlock` in `diffusers/models/attention.py`).

use burn::{
    module::{Module, Param},
    nn::Linear,
    tensor::{Device, Tensor},
};
use t2v_kernels::{LayerNorm, MultiHead, Products, attention, attention_frames, linear};

use crate::{ContextWindows, prompts::for_all_prompts};

const NORM_EPS: f64 = 1e-5;

/// What a block's attentions look at.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Attends {
    /// The tokens themselves, then text of `dim` channels; both times text where that is `alone`.
    ToText { dim: usize, alone: bool },
    /// Each token at itself in the other frames, both times, with an embedding of this many positions if any.
    OverFrames { positions: Option<usize> },
}

/// What a block is given to attend to.
#[derive(Clone, Copy)]
pub(crate) enum Context<'a> {
    /// Text `[batch, tokens, context_dim]` for so many rows; each entry serves the neighbouring rows that belong to it. There may be fewer
    /// rows, which are then [for all prompts](for_all_prompts).
    Text(&'a Tensor<3>, usize),
    /// The frames of a clip, this many, in windows where there are any.
    Frames(usize, Option<ContextWindows>),
}

/// Multi-head attention to other tokens.
#[derive(Module, Debug)]
pub(crate) struct Attention {
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: Vec<Linear>,
    #[module(skip)]
    split: MultiHead,
}

impl Attention {
    /// Queries from `dim` channels, keys and values from `context_dim`.
    pub(crate) fn new(dim: usize, context_dim: usize, split: MultiHead, device: &Device) -> Self {
        let inner = split.inner_dim();
        Self {
            to_q: linear(dim, inner, false, device),
            to_k: linear(context_dim, inner, false, device),
            to_v: linear(context_dim, inner, false, device),
            to_out: vec![linear(inner, dim, true, device)],
            split,
        }
    }

    /// Queries, keys and values of the same tokens.
    fn split_up(&self, x: Tensor<3>, products: Products) -> [Tensor<3>; 3] {
        [&self.to_q, &self.to_k, &self.to_v].map(|layer| products.project(layer, x.clone()))
    }

    /// Added to `residual`, attention of each row's tokens to each other.
    ///
    /// # Shapes
    /// - x, residual: `[rows, tokens, dim]`, unchanged
    fn to_itself(&self, x: Tensor<3>, residual: Tensor<3>, products: Products) -> Tensor<3> {
        let [query, key, value] = self.split_up(x, products);
        let out = attention(query, key, value, self.split, false);
        products.project_add(&self.to_out[0], out, residual)
    }

    /// Added to `residual`, attention of each token to itself in the other frames.
    ///
    /// # Shapes
    /// - x, residual: `[batch * frames, tokens, dim]`, unchanged
    fn to_frames(&self, x: Tensor<3>, frames: usize, residual: Tensor<3>, products: Products) -> Tensor<3> {
        let [query, key, value] = self.split_up(x, products);
        let out = attention_frames(query, key, value, self.split, frames);
        products.project_add(&self.to_out[0], out, residual)
    }

    /// Added to `residual`, attention to a context.
    ///
    /// # Shapes
    /// - x, residual: `[rows, tokens, dim]`, or fewer rows, which are for all prompts
    /// - context: `[batch, context_tokens, context_dim]`; each entry serves `rows / batch` neighbouring rows
    /// - output: `[rows, tokens, dim]`
    fn to_context(
        &self,
        x: Tensor<3>,
        (context, rows): (Tensor<3>, usize),
        residual: Tensor<3>,
        products: Products,
    ) -> Tensor<3> {
        let [_, tokens, _] = x.dims();
        let batch = context.dims()[0];
        let inner = self.split.inner_dim();
        let query = for_all_prompts(products.project(&self.to_q, x), rows);
        let query = query.reshape([batch, rows / batch * tokens, inner]);
        let (key, value) = (
            products.project(&self.to_k, context.clone()),
            products.project(&self.to_v, context),
        );
        let out = attention(query, key, value, self.split, false).reshape([rows, tokens, inner]);
        products.project_add(&self.to_out[0], out, for_all_prompts(residual, rows))
    }
}

/// Gated feed-forward layer, GEGLU ([Shazeer, 2020](https://arxiv.org/abs/2002.05202)).
#[derive(Module, Debug)]
pub(crate) struct FeedForward {
    proj: Linear,
    out: Linear,
}

impl FeedForward {
    /// A layer that is four times as wide inside.
    pub(crate) fn new(dim: usize, device: &Device) -> Self {
        let inner = 4 * dim;
        Self {
            proj: linear(dim, 2 * inner, true, device),
            out: linear(inner, dim, true, device),
        }
    }

    /// Added to `residual`.
    ///
    /// # Shapes
    /// - x, residual: `[batch, tokens, dim]`, unchanged
    fn forward(&self, x: Tensor<3>, residual: Tensor<3>, products: Products) -> Tensor<3> {
        products.feed_forward(&self.proj, &self.out, x, residual)
    }
}

/// An embedding of frames' positions, added to their tokens.
#[derive(Module, Debug)]
pub(crate) struct PositionEmbedding {
    /// `[1, positions, dim]`
    pe: Param<Tensor<3>>,
}

impl PositionEmbedding {
    /// Sines and cosines in turn, of geometrically spaced frequencies; checkpoints have them, too.
    fn new(positions: usize, dim: usize, device: &Device) -> Self {
        let value = |position: usize, i: usize| {
            let frequency = ((i / 2 * 2) as f32 * -(10000_f32.ln() / dim as f32)).exp();
            let angle = position as f32 * frequency;
            if i.is_multiple_of(2) { angle.sin() } else { angle.cos() }
        };
        let values: Vec<f32> = (0..positions)
            .flat_map(|position| (0..dim).map(move |i| value(position, i)))
            .collect();
        let pe = Tensor::<1>::from_floats(values.as_slice(), device).reshape([1, positions, dim]);
        Self {
            pe: Param::from_tensor(pe),
        }
    }

    /// # Shapes
    /// - x: `[clips * frames, tokens, dim]`, unchanged
    fn add_to(&self, x: Tensor<3>, frames: usize) -> Tensor<3> {
        let [rows, tokens, dim] = x.dims();
        let embedding = self.pe.val().slice_dim(1, 0..frames).cast(x.dtype());
        let x = x.reshape([rows / frames, frames, tokens, dim]);
        (x + embedding.reshape([1, frames, 1, dim])).reshape([rows, tokens, dim])
    }
}

/// Two attentions and a feed-forward layer, each behind a layer norm and added to its input.
#[derive(Module, Debug)]
pub(crate) struct TransformerBlock {
    pos_embed: Option<PositionEmbedding>,
    norm1: LayerNorm,
    attn1: Attention,
    norm2: LayerNorm,
    attn2: Attention,
    norm3: LayerNorm,
    ff: FeedForward,
    #[module(skip)]
    text_alone: bool,
}

impl TransformerBlock {
    /// A block of `split.inner_dim()` channels.
    pub(crate) fn new(split: MultiHead, attends: Attends, device: &Device) -> Self {
        let dim = split.inner_dim();
        let norm = || LayerNorm::new(dim, NORM_EPS, device);
        let (positions, text_alone, second_dim) = match attends {
            Attends::ToText { dim: text, alone } => (None, alone, text),
            Attends::OverFrames { positions } => (positions, false, dim),
        };
        Self {
            pos_embed: positions.map(|positions| PositionEmbedding::new(positions, dim, device)),
            norm1: norm(),
            attn1: Attention::new(dim, if text_alone { second_dim } else { dim }, split, device),
            norm2: norm(),
            attn2: Attention::new(dim, second_dim, split, device),
            norm3: norm(),
            ff: FeedForward::new(dim, device),
            text_alone,
        }
    }

    /// # Shapes
    /// - x: `[rows, tokens, dim]`, unchanged; with text, rows may be for all prompts
    pub(crate) fn forward(&self, x: Tensor<3>, context: Context<'_>, products: Products) -> Tensor<3> {
        let x = match context {
            Context::Text(text, rows) => self.attend_to_text(x, (text, rows), products),
            Context::Frames(frames, Some(windows)) if frames > windows.length => {
                windows.blend(x, frames, |x, frames| self.attend_over_frames(x, frames, products))
            }
            Context::Frames(frames, _) => self.attend_over_frames(x, frames, products),
        };
        let normed = self.norm3.forward(x.clone());
        self.ff.forward(normed, x, products)
    }

    fn attend_to_text(&self, x: Tensor<3>, (text, rows): (&Tensor<3>, usize), products: Products) -> Tensor<3> {
        let normed = self.norm1.forward(x.clone());
        let x = match self.text_alone {
            true => self.attn1.to_context(normed, (text.clone(), rows), x, products),
            false => self.attn1.to_itself(normed, x, products),
        };
        let normed = self.norm2.forward(x.clone());
        self.attn2.to_context(normed, (text.clone(), rows), x, products)
    }

    fn attend_over_frames(&self, x: Tensor<3>, frames: usize, products: Products) -> Tensor<3> {
        let placed = |x| match &self.pos_embed {
            Some(positions) => positions.add_to(x, frames),
            None => x,
        };
        let normed = placed(self.norm1.forward(x.clone()));
        let x = self.attn1.to_frames(normed, frames, x, products);
        let normed = placed(self.norm2.forward(x.clone()));
        self.attn2.to_frames(normed, frames, x, products)
    }
}
