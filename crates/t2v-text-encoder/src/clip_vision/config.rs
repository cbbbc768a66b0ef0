//! `image_encoder/config.json`.

use serde::{Deserialize, de::IgnoredAny};
use t2v_kernels::Activation;
use t2v_weights::{Component, epsilon_fault, size_fault};

use crate::{TextEncoderError, clip_layer::LayerSizes};

/// The fields of transformers' `CLIPVisionConfig` that the hidden states depend on, with its defaults.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct ClipVisionConfig {
    /// Width of the embeddings.
    pub hidden_size: usize,
    /// Width inside the feed-forward layers.
    pub intermediate_size: usize,
    /// Transformer layers.
    pub num_hidden_layers: usize,
    /// Attention heads.
    pub num_attention_heads: usize,
    /// Channels of a picture.
    pub num_channels: usize,
    /// Pixels of a picture's sides.
    pub image_size: usize,
    /// Pixels of the sides of the square that a token stands for.
    pub patch_size: usize,
    /// Activation of the feed-forward layers.
    pub hidden_act: Activation,
    /// Epsilon of the layer norms.
    pub layer_norm_eps: f64,
    /// The settings in the configuration of a whole CLIP model; transformers would take them instead.
    vision_config: Option<IgnoredAny>,
}

impl Default for ClipVisionConfig {
    fn default() -> Self {
        Self {
            hidden_size: 768,
            intermediate_size: 3072,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            num_channels: 3,
            image_size: 224,
            patch_size: 32,
            hidden_act: Activation::QuickGelu,
            layer_norm_eps: 1e-5,
            vision_config: None,
        }
    }
}

impl ClipVisionConfig {
    /// Reads and checks the `config.json` of a model folder's `image_encoder`.
    ///
    /// # Errors
    /// The file is missing or damaged, belongs to another class, or describes no possible network.
    pub fn from_component(component: &Component) -> Result<Self, TextEncoderError> {
        let config: Self = component.config(&["CLIPVisionModel", "CLIPVisionModelWithProjection"])?;
        config.check()?;
        Ok(config)
    }

    /// Embeddings of a picture: one for it all, and one for each whole square.
    #[must_use]
    pub fn tokens(&self) -> usize {
        (self.image_size / self.patch_size).pow(2) + 1
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
        let fault = |key, reason: String| Err(TextEncoderError::Vision { key, reason });
        for (key, size, range) in [
            ("hidden_size", self.hidden_size, 1..=1 << 16),
            ("intermediate_size", self.intermediate_size, 1..=1 << 20),
            ("num_hidden_layers", self.num_hidden_layers, 1..=1 << 10),
            ("num_attention_heads", self.num_attention_heads, 1..=1 << 16),
            ("num_channels", self.num_channels, 3..=3),
            ("image_size", self.image_size, 1..=1 << 12),
            ("patch_size", self.patch_size, 1..=self.image_size.max(1)),
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
        if self.vision_config.is_some() {
            let reason = "is set, as for a whole CLIP model; only an image encoder's own configuration is supported";
            return fault("vision_config", reason.into());
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
            ("hidden_size", json!(0)),
            ("hidden_size", json!(13)),
            ("intermediate_size", json!(0)),
            ("num_hidden_layers", json!(0)),
            ("num_attention_heads", json!(0)),
            ("num_channels", json!(4)),
            ("image_size", json!(0)),
            ("image_size", json!(1_000_000)),
            ("patch_size", json!(225)),
            ("layer_norm_eps", json!(-1)),
            ("vision_config", json!({})),
        ] {
            let config: ClipVisionConfig = serde_json::from_value(json!({key: value})).unwrap();
            let message = config.check().unwrap_err().to_string();
            assert!(message.contains(&format!("`{key}` of the image encoder")), "{message}");
        }
        ClipVisionConfig::default().check().unwrap();
    }
}
