//! `text_encoder/config.json`.

use serde::Deserialize;
use t2v_kernels::Activation;
use t2v_weights::Component;

use crate::TextEncoderError;

/// The fields of transformers' `CLIPTextConfig` that inference needs, with its defaults.
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

    pub(crate) fn check(&self) -> Result<(), TextEncoderError> {
        let fault = |key, reason: String| Err(TextEncoderError::Config { key, reason });
        for (key, count) in [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("num_attention_heads", self.num_attention_heads),
            ("max_position_embeddings", self.max_position_embeddings),
        ] {
            if count == 0 {
                return fault(key, "is 0; it must be at least 1".into());
            }
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
        Ok(())
    }
}
