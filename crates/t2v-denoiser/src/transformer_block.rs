//! Attention, feed-forward and the block of both (`BasicTransformerBlock` in `diffusers/models/attention.py`).

use burn::{
    module::Module,
    nn::{LayerNorm, LayerNormConfig, Linear},
    tensor::{Device, Tensor},
};
use t2v_kernels::{MultiHead, attention, geglu, linear, project};

/// Multi-head attention to oneself or to a context.
#[derive(Module, Debug)]
pub struct Attention {
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: Vec<Linear>,
    #[module(skip)]
    split: MultiHead,
}

impl Attention {
    /// Queries from `dim` channels, keys and values from `context_dim`.
    #[must_use]
    pub fn new(dim: usize, context_dim: usize, split: MultiHead, device: &Device) -> Self {
        let inner = split.inner_dim();
        Self {
            to_q: linear(dim, inner, false, device),
            to_k: linear(context_dim, inner, false, device),
            to_v: linear(context_dim, inner, false, device),
            to_out: vec![linear(inner, dim, true, device)],
            split,
        }
    }

    /// # Shapes
    /// - x: `[batch * n, tokens, dim]`, unchanged
    /// - context: `[batch, context_tokens, context_dim]`; each entry serves `n` neighbouring entries of `x`
    #[must_use]
    pub fn forward(&self, x: Tensor<3>, context: Tensor<3>) -> Tensor<3> {
        let [rows, tokens, _] = x.dims();
        let batch = context.dims()[0];
        let inner = self.split.inner_dim();
        let query = project(&self.to_q, x).reshape([batch, rows / batch * tokens, inner]);
        let (key, value) = (project(&self.to_k, context.clone()), project(&self.to_v, context));
        let out = attention(query, key, value, self.split, false).reshape([rows, tokens, inner]);
        project(&self.to_out[0], out)
    }
}

/// Gated feed-forward layer, GEGLU ([Shazeer, 2020](https://arxiv.org/abs/2002.05202)).
#[derive(Module, Debug)]
pub struct FeedForward {
    proj: Linear,
    out: Linear,
}

impl FeedForward {
    /// A layer that is four times as wide inside.
    #[must_use]
    pub fn new(dim: usize, device: &Device) -> Self {
        let inner = 4 * dim;
        Self {
            proj: linear(dim, 2 * inner, true, device),
            out: linear(inner, dim, true, device),
        }
    }

    /// # Shapes
    /// - x: `[batch, tokens, dim]`, unchanged
    #[must_use]
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        project(&self.out, geglu(project(&self.proj, x)))
    }
}

/// Two attentions and a feed-forward layer, each behind a layer norm and added to its input.
#[derive(Module, Debug)]
pub struct TransformerBlock {
    norm1: LayerNorm,
    attn1: Attention,
    norm2: LayerNorm,
    attn2: Attention,
    norm3: LayerNorm,
    ff: FeedForward,
}

impl TransformerBlock {
    /// The second attention looks at a context of `context_dim` channels, or at the tokens again where there is none.
    #[must_use]
    pub fn new(split: MultiHead, context_dim: Option<usize>, device: &Device) -> Self {
        let dim = split.inner_dim();
        let norm = || LayerNormConfig::new(dim).init(device);
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
    /// - x: `[batch * n, tokens, dim]`, unchanged
    /// - context: `[batch, context_tokens, context_dim]`, for blocks that were made for one
    #[must_use]
    pub fn forward(&self, x: Tensor<3>, context: Option<Tensor<3>>) -> Tensor<3> {
        let normed = self.norm1.forward(x.clone());
        let x = x + self.attn1.forward(normed.clone(), normed);
        let normed = self.norm2.forward(x.clone());
        let context = context.unwrap_or_else(|| normed.clone());
        let x = x + self.attn2.forward(normed, context);
        let normed = self.norm3.forward(x.clone());
        x + self.ff.forward(normed)
    }
}
