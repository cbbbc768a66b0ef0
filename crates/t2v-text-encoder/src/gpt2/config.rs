//! `config.json` of a GPT-2 folder.

use serde::Deserialize;
use t2v_kernels::Activation;
use t2v_weights::{epsilon_fault, size_fault};

use crate::TextEncoderError;

/// The fields of transformers' `GPT2Config` that inference needs, with its defaults.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Gpt2Config {
    /// Number of tokens known.
    pub vocab_size: usize,
    /// Longest sequence of tokens.
    pub n_positions: usize,
    /// Width of the embeddings.
    pub n_embd: usize,
    /// Transformer layers.
    pub n_layer: usize,
    /// Attention heads.
    pub n_head: usize,
    /// Width inside the feed-forward layers; otherwise four times `n_embd`.
    pub n_inner: Option<usize>,
    /// Activation of the feed-forward layers.
    pub activation_function: Activation,
    /// Epsilon of the layer norms.
    pub layer_norm_epsilon: f64,
    /// Whether attention is scaled by the width of a head; must be.
    pub scale_attn_weights: bool,
    /// Whether attention is scaled by the layer's number too; must not be.
    pub scale_attn_by_inverse_layer_idx: bool,
    /// Whether there is cross-attention; must not be.
    pub add_cross_attention: bool,
    /// Whether the output layer is the table of token embeddings; must be.
    pub tie_word_embeddings: bool,
}

impl Default for Gpt2Config {
    fn default() -> Self {
        Self {
            vocab_size: 50257,
            n_positions: 1024,
            n_embd: 768,
            n_layer: 12,
            n_head: 12,
            n_inner: None,
            activation_function: Activation::GeluNew,
            layer_norm_epsilon: 1e-5,
            scale_attn_weights: true,
            scale_attn_by_inverse_layer_idx: false,
            add_cross_attention: false,
            tie_word_embeddings: true,
        }
    }
}

impl Gpt2Config {
    pub(super) fn check(&self) -> Result<(), TextEncoderError> {
        let fault = |key, reason: String| Err(TextEncoderError::Config { key, reason });
        for (key, size, most) in [
            ("vocab_size", self.vocab_size, 1 << 24),
            ("n_positions", self.n_positions, 1 << 20),
            ("n_embd", self.n_embd, 1 << 16),
            ("n_layer", self.n_layer, 1 << 10),
            ("n_head", self.n_head, 1 << 16),
            ("n_inner", self.n_inner.unwrap_or(1), 1 << 20),
        ] {
            if let Some(reason) = size_fault(size, 1..=most) {
                return fault(key, reason);
            }
        }
        if let Some(reason) = epsilon_fault(self.layer_norm_epsilon) {
            return fault("layer_norm_epsilon", reason);
        }
        if !self.n_embd.is_multiple_of(self.n_head) {
            let (width, heads) = (self.n_embd, self.n_head);
            return fault("n_embd", format!("is {width}, which {heads} heads don't divide"));
        }
        for (key, value, supported) in [
            ("scale_attn_weights", self.scale_attn_weights, true),
            (
                "scale_attn_by_inverse_layer_idx",
                self.scale_attn_by_inverse_layer_idx,
                false,
            ),
            ("add_cross_attention", self.add_cross_attention, false),
            ("tie_word_embeddings", self.tie_word_embeddings, true),
        ] {
            if value != supported {
                return fault(key, format!("is {value}; only {supported} is supported"));
            }
        }
        Ok(())
    }
}
