//! Attention, feed-forward and the block of both (`BasicTransformerBlock` in `diffusers/models/attention.py`).

use burn::{
    module::Module,
    nn::Linear,
    tensor::{Device, Tensor},
};
use t2v_kernels::{LayerNorm, MultiHead, attention, attention_frames, feed_forward, linear, project, project_add};

const NORM_EPS: f64 = 1e-5;

/// What the second attention of a block looks at.
#[derive(Clone, Copy)]
pub(crate) enum Context<'a> {
    /// Text `[batch, tokens, context_dim]`; each entry serves the neighbouring rows that belong to it.
    Text(&'a Tensor<3>),
    /// The same tokens again. As in the first attention each one sees itself in this many frames.
    Frames(usize),
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
    fn split_up(&self, x: Tensor<3>) -> [Tensor<3>; 3] {
        [&self.to_q, &self.to_k, &self.to_v].map(|layer| project(layer, x.clone()))
    }

    /// Added to `residual`, attention of each row's tokens to each other.
    ///
    /// # Shapes
    /// - x, residual: `[rows, tokens, dim]`, unchanged
    fn to_itself(&self, x: Tensor<3>, residual: Tensor<3>) -> Tensor<3> {
        let [query, key, value] = self.split_up(x);
        let out = attention(query, key, value, self.split, false);
        project_add(&self.to_out[0], out, residual)
    }

    /// Added to `residual`, attention of each token to itself in the other frames.
    ///
    /// # Shapes
    /// - x, residual: `[batch * frames, tokens, dim]`, unchanged
    fn to_frames(&self, x: Tensor<3>, frames: usize, residual: Tensor<3>) -> Tensor<3> {
        let [query, key, value] = self.split_up(x);
        let out = attention_frames(query, key, value, self.split, frames);
        project_add(&self.to_out[0], out, residual)
    }

    /// Added to `residual`, attention to a context.
    ///
    /// # Shapes
    /// - x, residual: `[batch * n, tokens, dim]`, unchanged
    /// - context: `[batch, context_tokens, context_dim]`; each entry serves `n` neighbouring entries of `x`
    fn to_context(&self, x: Tensor<3>, context: Tensor<3>, residual: Tensor<3>) -> Tensor<3> {
        let [rows, tokens, _] = x.dims();
        let batch = context.dims()[0];
        let inner = self.split.inner_dim();
        let query = project(&self.to_q, x).reshape([batch, rows / batch * tokens, inner]);
        let (key, value) = (project(&self.to_k, context.clone()), project(&self.to_v, context));
        let out = attention(query, key, value, self.split, false).reshape([rows, tokens, inner]);
        project_add(&self.to_out[0], out, residual)
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
    fn forward(&self, x: Tensor<3>, residual: Tensor<3>) -> Tensor<3> {
        feed_forward(&self.proj, &self.out, x, residual)
    }
}

/// Two attentions and a feed-forward layer, each behind a layer norm and added to its input.
#[derive(Module, Debug)]
pub(crate) struct TransformerBlock {
    norm1: LayerNorm,
    attn1: Attention,
    norm2: LayerNorm,
    attn2: Attention,
    norm3: LayerNorm,
    ff: FeedForward,
}

impl TransformerBlock {
    /// The second attention looks at a context of `context_dim` channels, or at the tokens again where there is none.
    pub(crate) fn new(split: MultiHead, context_dim: Option<usize>, device: &Device) -> Self {
        let dim = split.inner_dim();
        let norm = || LayerNorm::new(dim, NORM_EPS, device);
        Self {
            norm1: norm(),
            attn1: Attention::new(dim, dim, split, device),
            norm2: norm(),
            attn2: Attention::new(dim, context_dim.unwrap_or(dim), split, device),
            norm3: norm(),
            ff: FeedForward::new(dim, device),
        }
    }

    /// # Shapes
    /// - x: `[rows, tokens, dim]`, unchanged
    pub(crate) fn forward(&self, x: Tensor<3>, context: Context<'_>) -> Tensor<3> {
        let normed = self.norm1.forward(x.clone());
        let x = match context {
            Context::Text(_) => self.attn1.to_itself(normed, x),
            Context::Frames(frames) => self.attn1.to_frames(normed, frames, x),
        };
        let normed = self.norm2.forward(x.clone());
        let x = match context {
            Context::Text(text) => self.attn2.to_context(normed, text.clone(), x),
            Context::Frames(frames) => self.attn2.to_frames(normed, frames, x),
        };
        let normed = self.norm3.forward(x.clone());
        self.ff.forward(normed, x)
    }
}
