//! The layers of the encoder (`transformers/models/umt5/modeling_umt5.py`).
//!
//! What is passed from layer to layer is in f32 whatever the layers compute in: it outgrows half precision, where transformers
//! cuts it off.

use burn::{
    module::Module,
    nn::{Embedding, EmbeddingConfig, Linear},
    tensor::{DType, Device, Int, Tensor, activation::softmax},
};
use t2v_kernels::{Activation, MultiHead, RmsNorm, linear, project};

use super::Umt5Config;

/// The largest number of f16.
const F16_MAX: f32 = 65504.0;

/// Attention whose scores are not scaled, but shifted by what the distance of two tokens says.
#[derive(Module, Debug)]
struct Attention {
    q: Linear,
    k: Linear,
    v: Linear,
    o: Linear,
    relative_attention_bias: Embedding,
    #[module(skip)]
    split: MultiHead,
}

impl Attention {
    fn new(config: &Umt5Config, device: &Device) -> Self {
        let (width, split) = (config.d_model, config.split());
        let inward = || linear(width, split.inner_dim(), false, device);
        Self {
            q: inward(),
            k: inward(),
            v: inward(),
            o: linear(split.inner_dim(), width, false, device),
            relative_attention_bias: EmbeddingConfig::new(config.relative_attention_num_buckets, split.heads)
                .init(device),
            split,
        }
    }

    /// # Shapes
    /// - x: `[batch, tokens, d_model]`, unchanged
    /// - rows: `[tokens * tokens]`, each pair's row of the table of biases
    fn forward(&self, x: Tensor<3>, rows: Tensor<1, Int>) -> Tensor<3> {
        let ([batch, tokens, _], dtype, MultiHead { heads, head_dim }) = (x.dims(), x.dtype(), self.split);
        let by_head = |layer| {
            let x = project(layer, x.clone()).reshape([batch, tokens, heads, head_dim]);
            x.swap_dims(1, 2)
        };
        let (query, key, value) = (by_head(&self.q), by_head(&self.k), by_head(&self.v));
        let bias = self
            .relative_attention_bias
            .weight
            .val()
            .select(0, rows)
            .cast(DType::F32);
        let bias = bias.swap_dims(0, 1).reshape([1, heads, tokens, tokens]);
        let scores = query.matmul(key.swap_dims(2, 3)).cast(DType::F32) + bias;
        let attended = softmax(scores, 3).cast(dtype).matmul(value);
        let attended = attended
            .swap_dims(1, 2)
            .reshape([batch, tokens, self.split.inner_dim()]);
        project(&self.o, attended)
    }
}

/// A feed-forward layer with a gate.
#[derive(Module, Debug)]
struct FeedForward {
    wi_0: Linear,
    wi_1: Linear,
    wo: Linear,
    #[module(skip)]
    activation: Activation,
}

impl FeedForward {
    fn new(config: &Umt5Config, activation: Activation, device: &Device) -> Self {
        let (width, inner) = (config.d_model, config.d_ff);
        Self {
            wi_0: linear(width, inner, false, device),
            wi_1: linear(width, inner, false, device),
            wo: linear(inner, width, false, device),
            activation,
        }
    }

    /// # Shapes
    /// - x: `[batch, tokens, d_model]`, unchanged
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let dtype = x.dtype();
        let gate = self.activation.forward(project(&self.wi_0, x.clone()));
        let value = project(&self.wi_1, x);
        let hidden = match dtype {
            DType::F16 => {
                let hidden = gate.cast(DType::F32) * value.cast(DType::F32);
                hidden.clamp(-F16_MAX, F16_MAX).cast(dtype)
            }
            _ => gate * value,
        };
        project(&self.wo, hidden)
    }
}

/// Attention and a feed-forward layer, each behind a normalisation and added to its input.
#[derive(Module, Debug)]
pub(super) struct Layer {
    attention_norm: RmsNorm,
    attention: Attention,
    feed_forward_norm: RmsNorm,
    feed_forward: FeedForward,
}

impl Layer {
    pub(super) fn new(config: &Umt5Config, activation: Activation, device: &Device) -> Self {
        let norm = || RmsNorm::new(config.d_model, config.layer_norm_epsilon, device);
        Self {
            attention_norm: norm(),
            attention: Attention::new(config, device),
            feed_forward_norm: norm(),
            feed_forward: FeedForward::new(config, activation, device),
        }
    }

    /// The type that it computes in: that of its one small matrix, since large ones may be halves that were left so.
    pub(super) fn dtype(&self) -> DType {
        self.attention.relative_attention_bias.weight.dtype()
    }

    /// # Shapes
    /// - x: `[batch, tokens, d_model]`, f32, unchanged
    /// - rows: `[tokens * tokens]`, each pair's row of the table of biases
    pub(super) fn forward(&self, x: Tensor<3>, rows: Tensor<1, Int>) -> Tensor<3> {
        let dtype = self.dtype();
        let normed = self.attention_norm.forward(x.clone()).cast(dtype);
        let x = x + self.attention.forward(normed, rows).cast(DType::F32);
        let normed = self.feed_forward_norm.forward(x.clone()).cast(dtype);
        x + self.feed_forward.forward(normed).cast(DType::F32)
    }
}
