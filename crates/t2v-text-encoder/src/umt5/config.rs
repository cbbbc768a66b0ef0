//! `text_encoder/config.json`.

use serde::Deserialize;
use t2v_kernels::{Activation, MultiHead};
use t2v_weights::{Component, epsilon_fault, size_fault};

use crate::TextEncoderError;

/// The fields of transformers' `UMT5Config` that the encoder needs, with its defaults.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct Umt5Config {
    /// Number of tokens known.
    pub vocab_size: usize,
    /// Width of the embeddings.
    pub d_model: usize,
    /// Width of a head.
    pub d_kv: usize,
    /// Width inside the feed-forward layers.
    pub d_ff: usize,
    /// Transformer layers.
    pub num_layers: usize,
    /// Attention heads.
    pub num_heads: usize,
    /// Distances between tokens that are told apart, half of them in each direction.
    pub relative_attention_num_buckets: usize,
    /// The distance from which on all are the same.
    pub relative_attention_max_distance: usize,
    /// Epsilon of the normalisations.
    pub layer_norm_epsilon: f64,
    feed_forward_proj: String,
    is_decoder: bool,
}

impl Default for Umt5Config {
    fn default() -> Self {
        Self {
            vocab_size: 250_112,
            d_model: 512,
            d_kv: 64,
            d_ff: 1024,
            num_layers: 8,
            num_heads: 6,
            relative_attention_num_buckets: 32,
            relative_attention_max_distance: 128,
            layer_norm_epsilon: 1e-6,
            feed_forward_proj: "gated-gelu".into(),
            is_decoder: false,
        }
    }
}

impl Umt5Config {
    /// Reads and checks the `config.json` of a model folder's `text_encoder`.
    ///
    /// # Errors
    /// The file is missing or damaged, belongs to another class, or describes no possible network.
    pub fn from_component(component: &Component) -> Result<Self, TextEncoderError> {
        let config: Self = component.config(&["UMT5EncoderModel"])?;
        config.check()?;
        Ok(config)
    }

    pub(super) fn split(&self) -> MultiHead {
        MultiHead {
            heads: self.num_heads,
            head_dim: self.d_kv,
        }
    }

    /// The activation of the feed-forward layers' gates. What is called GELU is the approximation of it.
    pub(super) fn activation(&self) -> Result<Activation, TextEncoderError> {
        let supported = match self.feed_forward_proj.as_str() {
            "gated-gelu" | "gated-gelu_new" | "gated-gelu_pytorch_tanh" => Some(Activation::GeluNew),
            "gated-silu" | "gated-swish" => Some(Activation::Silu),
            "gated-relu" => Some(Activation::Relu),
            _ => None,
        };
        supported.ok_or_else(|| {
            let found = &self.feed_forward_proj;
            let reason = format!("is {found:?}, which is not supported; gated layers are, such as \"gated-gelu\"");
            fault("feed_forward_proj", reason)
        })
    }

    pub(super) fn check(&self) -> Result<(), TextEncoderError> {
        for (key, size, range) in [
            ("vocab_size", self.vocab_size, 1..=1 << 24),
            ("d_model", self.d_model, 1..=1 << 16),
            ("d_kv", self.d_kv, 1..=1 << 16),
            ("d_ff", self.d_ff, 1..=1 << 20),
            ("num_layers", self.num_layers, 1..=1 << 10),
            ("num_heads", self.num_heads, 1..=1 << 12),
            // Two directions, in each of which some distances are told apart exactly and some are not.
            (
                "relative_attention_num_buckets",
                self.relative_attention_num_buckets,
                4..=1 << 16,
            ),
            (
                "relative_attention_max_distance",
                self.relative_attention_max_distance,
                1..=1 << 24,
            ),
        ] {
            if let Some(reason) = size_fault(size, range) {
                return Err(fault(key, reason));
            }
        }
        if let Some(reason) = epsilon_fault(self.layer_norm_epsilon) {
            return Err(fault("layer_norm_epsilon", reason));
        }
        let (most, buckets) = (
            self.relative_attention_max_distance,
            self.relative_attention_num_buckets,
        );
        if most <= buckets / 4 {
            let reason =
                format!("is {most}; it must be more than a quarter of `relative_attention_num_buckets` ({buckets})");
            return Err(fault("relative_attention_max_distance", reason));
        }
        if self.is_decoder {
            return Err(fault("is_decoder", "is true; only encoders are supported".into()));
        }
        self.activation().map(drop)
    }
}

fn fault(key: &'static str, reason: String) -> TextEncoderError {
    TextEncoderError::Config { key, reason }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_no_encoder_can_have_is_named() {
        for (key, value) in [
            ("vocab_size", json!(0)),
            ("d_model", json!(1_000_000_000)),
            ("d_kv", json!(0)),
            ("d_ff", json!(0)),
            ("num_layers", json!(1u64 << 63)),
            ("num_heads", json!(0)),
            ("relative_attention_num_buckets", json!(3)),
            ("relative_attention_max_distance", json!(0)),
            ("relative_attention_max_distance", json!(8)),
            ("layer_norm_epsilon", json!(-1)),
            ("feed_forward_proj", json!("relu")),
            ("feed_forward_proj", json!("gated-tanh")),
            ("is_decoder", json!(true)),
        ] {
            let config: Umt5Config = serde_json::from_value(json!({key: value})).unwrap();
            let message = config.check().unwrap_err().to_string();
            assert!(
                message.contains(&format!("`{key}` of the text encoder")),
                "{key} {value}: {message}"
            );
        }
        Umt5Config::default().check().unwrap();
    }
}
