//! `text_encoder/config.json`.

use serde::{Deserialize, de::IgnoredAny};
use t2v_kernels::Activation;
use t2v_weights::{Component, epsilon_fault, size_fault};

use crate::{TextEncoderError, clip_layer::LayerSizes};

/// The fields of transformers' `CLIPTextConfig` that inference needs, with its defaults.
///
/// Others have no effect on the embeddings of tokens: `projection_dim`, the ids of special tokens and what is of use in
/// training alone.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct ClipTextConfig {
    /// Number of tokens known.
    pub vocab_size: usize,
    /// Width of the embeddings.
    pub hidden_size: usize,
    /// Width inside the feed-forward layers.
    pub intermediate_size: usize,
    /// Transformer layers.
    pub num_hidden_layers: usize,
    /// Attention heads.
    pub num_attention_heads: usize,
    /// Longest sequence of tokens.
    pub max_position_embeddings: usize,
    /// Activation of the feed-forward layers.
    pub hidden_act: Activation,
    /// Epsilon of the layer norms.
    pub layer_norm_eps: f64,
    /// Whether padding is masked; no CLIP checkpoint of a diffusion model does.
    pub use_attention_mask: bool,
    /// The settings in the configuration of a whole CLIP model; transformers would take them instead.
    text_config: Option<IgnoredAny>,
}

impl Default for ClipTextConfig {
    fn default() -> Self {
        Self {
            vocab_size: 49408,
            hidden_size: 512,
            intermediate_size: 2048,
            num_hidden_layers: 12,
            num_attention_heads: 8,
            max_position_embeddings: 77,
            hidden_act: Activation::QuickGelu,
            layer_norm_eps: 1e-5,
            use_attention_mask: false,
            text_config: None,
        }
    }
}

impl ClipTextConfig {
    /// Reads and checks the `config.json` of a model folder's `text_encoder`.
    ///
    /// # Errors
    /// The file is missing or damaged, belongs to another class, or describes no possible network.
    pub fn from_component(component: &Component) -> Result<Self, TextEncoderError> {
        let config: Self = component.config(&["CLIPTextModel", "CLIPTextModelWithProjection"])?;
        config.check()?;
        Ok(config)
    }

    pub(crate) fn layer_sizes(&self) -> LayerSizes {
        LayerSizes {
            width: self.hidden_size,
            inner: self.intermediate_size,
            heads: self.num_attention_heads,
            activation: self.hidden_act,
            eps: self.layer_norm_eps,
        }
    }

    pub(crate) fn check(&self) -> Result<(), TextEncoderError> {
        let fault = |key, reason: String| Err(TextEncoderError::Config { key, reason });
        for (key, size, range) in [
            ("vocab_size", self.vocab_size, 1..=1 << 24),
            ("hidden_size", self.hidden_size, 1..=1 << 16),
            ("intermediate_size", self.intermediate_size, 1..=1 << 20),
            ("num_hidden_layers", self.num_hidden_layers, 1..=1 << 10),
            ("num_attention_heads", self.num_attention_heads, 1..=1 << 16),
            // A start and an end token are in every text.
            ("max_position_embeddings", self.max_position_embeddings, 2..=1 << 20),
        ] {
            if let Some(reason) = size_fault(size, range) {
                return fault(key, reason);
            }
        }
        if let Some(reason) = epsilon_fault(self.layer_norm_eps) {
            return fault("layer_norm_eps", reason);
        }
        let (width, heads) = (self.hidden_size, self.num_attention_heads);
        if width % heads != 0 {
            return fault("hidden_size", format!("is {width}, which {heads} heads don't divide"));
        }
        if self.use_attention_mask {
            return fault(
                "use_attention_mask",
                "is true; only encoders without it are supported".into(),
            );
        }
        if self.text_config.is_some() {
            let reason = "is set, as for a whole CLIP model; only a text encoder's own configuration is supported";
            return fault("text_config", reason.into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_no_encoder_can_have_is_named() {
        for (key, value) in [
            ("vocab_size", json!(0)),
            ("hidden_size", json!(1_000_000_000)),
            ("hidden_size", json!(9)),
            ("intermediate_size", json!(0)),
            ("num_hidden_layers", json!(0)),
            ("num_hidden_layers", json!(1u64 << 63)),
            ("num_attention_heads", json!(0)),
            ("max_position_embeddings", json!(1)),
            ("max_position_embeddings", json!(1_000_000_000)),
            ("layer_norm_eps", json!(-1)),
            ("use_attention_mask", json!(true)),
            ("text_config", json!({})),
        ] {
            let config: ClipTextConfig = serde_json::from_value(json!({key: value})).unwrap();
            let message = config.check().unwrap_err().to_string();
            assert!(message.contains(&format!("`{key}` of the text encoder")), "{message}");
        }
        ClipTextConfig::default().check().unwrap();
    }
}
