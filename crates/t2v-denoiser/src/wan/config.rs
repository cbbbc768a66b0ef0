//! `transformer/config.json`.

use serde::Deserialize;
use t2v_kernels::MultiHead;
use t2v_weights::{Component, epsilon_fault};

use crate::{
    DenoiserError,
    checks::{MAX_CHANNELS, check_size, fault},
};

/// Far above any model's.
const MAX_BLOCKS: usize = 256;
const MAX_PATCH: usize = 16;
const MAX_POSITIONS: usize = 1 << 16;
/// The one kind of normalisation of queries and keys that there is.
const QK_NORM: &str = "rms_norm_across_heads";

/// The constructor arguments of diffusers' `WanTransformer3DModel`, with its defaults.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct WanTransformerConfig {
    /// Latents of a patch, which is a token: in time, height and width.
    pub patch_size: [usize; 3],
    /// Heads of each attention.
    pub num_attention_heads: usize,
    /// Width of a head.
    pub attention_head_dim: usize,
    /// Channels of the noisy latents, with those that [join](crate::Conditioning::channels) them.
    pub in_channels: usize,
    /// Channels of the prediction; as many as `in_channels` where they are not given.
    out_channels: Option<usize>,
    /// Width of the text embeddings.
    pub text_dim: usize,
    /// Width of the timestep's sines and cosines.
    pub freq_dim: usize,
    /// Width inside the feed-forward layers.
    pub ffn_dim: usize,
    /// Transformer blocks.
    pub num_layers: usize,
    /// Whether the attention to text comes after a normalisation.
    pub cross_attn_norm: bool,
    qk_norm: Option<String>,
    /// Epsilon of the blocks' normalisations and of the last.
    pub eps: f64,
    /// Width of the embeddings of a picture, of models that are shown one.
    pub image_dim: Option<usize>,
    added_kv_proj_dim: Option<usize>,
    /// The most tokens in time, height or width.
    pub rope_max_seq_len: usize,
    /// Tokens of the pictures, of models that learnt a position for each.
    pub pos_embed_seq_len: Option<usize>,
}

impl Default for WanTransformerConfig {
    fn default() -> Self {
        Self {
            patch_size: [1, 2, 2],
            num_attention_heads: 40,
            attention_head_dim: 128,
            in_channels: 16,
            out_channels: Some(16),
            text_dim: 4096,
            freq_dim: 256,
            ffn_dim: 13824,
            num_layers: 40,
            cross_attn_norm: true,
            qk_norm: Some(QK_NORM.into()),
            eps: 1e-6,
            image_dim: None,
            added_kv_proj_dim: None,
            rope_max_seq_len: 1024,
            pos_embed_seq_len: None,
        }
    }
}

impl WanTransformerConfig {
    /// Reads and checks the `config.json` of a model folder's `transformer`.
    ///
    /// # Errors
    /// The file is missing or damaged, belongs to another class, or describes no possible network.
    pub fn from_component(component: &Component) -> Result<Self, DenoiserError> {
        let config: Self = component.config(&["WanTransformer3DModel"])?;
        config.check()?;
        Ok(config)
    }

    /// Channels of the prediction.
    #[must_use]
    pub fn out_channels(&self) -> usize {
        self.out_channels
            .filter(|channels| *channels > 0)
            .unwrap_or(self.in_channels)
    }

    /// How tokens are split between heads.
    pub(super) fn split(&self) -> MultiHead {
        MultiHead {
            heads: self.num_attention_heads,
            head_dim: self.attention_head_dim,
        }
    }

    /// Channels of a token.
    pub(super) fn inner_dim(&self) -> usize {
        self.split().inner_dim()
    }

    /// Values of a patch of latents with so many channels.
    pub(super) fn patch_values(&self, channels: usize) -> usize {
        channels * self.patch_size.iter().product::<usize>()
    }

    /// # Errors
    /// A combination from which diffusers could not build a network either.
    pub(crate) fn check(&self) -> Result<(), DenoiserError> {
        self.check_sizes()?;
        if let Some(reason) = epsilon_fault(self.eps) {
            return Err(fault("eps", reason));
        }
        if !self.attention_head_dim.is_multiple_of(2) {
            let reason = format!(
                "is {}; it must be even, since pairs of channels are turned by a token's position",
                self.attention_head_dim
            );
            return Err(fault("attention_head_dim", reason));
        }
        // diffusers reads the key and normalises whatever it says.
        match self.qk_norm.as_deref() {
            None | Some(QK_NORM) => {}
            Some(other) => {
                return Err(fault(
                    "qk_norm",
                    format!("is {other:?}, which is not supported; {QK_NORM:?} is"),
                ));
            }
        }
        self.check_picture()
    }

    fn check_sizes(&self) -> Result<(), DenoiserError> {
        for (key, size, most) in [
            ("patch_size", self.patch_size[0], MAX_PATCH),
            ("patch_size", self.patch_size[1], MAX_PATCH),
            ("patch_size", self.patch_size[2], MAX_PATCH),
            ("num_attention_heads", self.num_attention_heads, MAX_CHANNELS),
            ("attention_head_dim", self.attention_head_dim, MAX_CHANNELS),
            ("in_channels", self.in_channels, MAX_CHANNELS),
            ("out_channels", self.out_channels(), MAX_CHANNELS),
            ("text_dim", self.text_dim, MAX_CHANNELS),
            ("freq_dim", self.freq_dim, MAX_CHANNELS),
            ("ffn_dim", self.ffn_dim, MAX_CHANNELS),
            ("num_layers", self.num_layers, MAX_BLOCKS),
            ("image_dim", self.image_dim.unwrap_or(1), MAX_CHANNELS),
            ("rope_max_seq_len", self.rope_max_seq_len, MAX_POSITIONS),
            ("pos_embed_seq_len", self.pos_embed_seq_len.unwrap_or(1), MAX_POSITIONS),
        ] {
            check_size(key, size, most)?;
        }
        let inner = self.inner_dim();
        if inner > MAX_CHANNELS {
            let reason =
                format!("makes tokens of {inner} channels with `attention_head_dim`; {MAX_CHANNELS} are the most");
            return Err(fault("num_attention_heads", reason));
        }
        Ok(())
    }

    /// Embeddings of pictures get keys and values of their own, from tokens as wide as all others.
    fn check_picture(&self) -> Result<(), DenoiserError> {
        let inner = self.inner_dim();
        let key = "added_kv_proj_dim";
        match (self.image_dim, self.added_kv_proj_dim) {
            (Some(_), Some(width)) if width == inner => Ok(()),
            (None, None) => Ok(()),
            (Some(_), Some(width)) => Err(fault(
                key,
                format!("is {width}; it must be the width of a token, {inner}"),
            )),
            (Some(_), None) => Err(fault(
                key,
                format!("is not set although `image_dim` is; it must be {inner}"),
            )),
            (None, Some(_)) => Err(fault(
                "image_dim",
                format!("is not set although `{key}` is; set both or neither"),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(config: Value) -> Result<(), DenoiserError> {
        serde_json::from_value::<WanTransformerConfig>(config).unwrap().check()
    }

    #[test]
    fn what_no_network_can_have_is_named() {
        for (key, config) in [
            ("patch_size", json!({"patch_size": [1, 0, 2]})),
            ("patch_size", json!({"patch_size": [1, 2, 17]})),
            ("num_attention_heads", json!({"num_attention_heads": 0})),
            ("num_attention_heads", json!({"num_attention_heads": 60_000})),
            ("attention_head_dim", json!({"attention_head_dim": 127})),
            ("in_channels", json!({"in_channels": 0})),
            ("out_channels", json!({"out_channels": 1u64 << 40})),
            ("text_dim", json!({"text_dim": 0})),
            ("freq_dim", json!({"freq_dim": 0})),
            ("ffn_dim", json!({"ffn_dim": 1u64 << 40})),
            ("num_layers", json!({"num_layers": 0})),
            ("num_layers", json!({"num_layers": 100_000})),
            ("qk_norm", json!({"qk_norm": "layer_norm"})),
            ("eps", json!({"eps": -1e-6})),
            ("image_dim", json!({"image_dim": 0})),
            ("image_dim", json!({"added_kv_proj_dim": 5120})),
            ("added_kv_proj_dim", json!({"image_dim": 1280})),
            (
                "added_kv_proj_dim",
                json!({"image_dim": 1280, "added_kv_proj_dim": 1280}),
            ),
            ("rope_max_seq_len", json!({"rope_max_seq_len": 0})),
            ("pos_embed_seq_len", json!({"pos_embed_seq_len": 0})),
        ] {
            let message = check(config.clone()).unwrap_err().to_string();
            let expected = format!("`{key}` of the denoiser");
            assert!(message.contains(&expected), "{key} {config}: {message}");
        }
    }

    #[test]
    fn known_models_are_taken() {
        check(json!({})).unwrap();
        check(json!({"num_attention_heads": 12, "ffn_dim": 8960, "num_layers": 30, "qk_norm": null})).unwrap();
        check(json!({"in_channels": 36, "image_dim": 1280, "added_kv_proj_dim": 5120, "pos_embed_seq_len": 514}))
            .unwrap();
        let config: WanTransformerConfig =
            serde_json::from_value(json!({"in_channels": 48, "out_channels": null})).unwrap();
        assert_eq!(config.out_channels(), 48);
    }
}
