//! `unet/config.json`.

use serde::{Deserialize, de::IgnoredAny};
use t2v_kernels::Activation;
use t2v_weights::{Component, SampleSize};

use crate::{
    DenoiserError,
    checks::{
        MAX_CHANNELS, MAX_LAYERS, check_channels, check_levels, check_numbers, check_sample_size, check_size, fault,
    },
};

/// Kinds of blocks on the way down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum DownBlockType {
    /// Residual blocks and temporal convolutions.
    #[serde(rename = "DownBlock3D")]
    Plain,
    /// The same with spatial and temporal transformers.
    #[serde(rename = "CrossAttnDownBlock3D")]
    CrossAttention,
}

/// Kinds of blocks on the way up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum UpBlockType {
    /// Residual blocks and temporal convolutions.
    #[serde(rename = "UpBlock3D")]
    Plain,
    /// The same with spatial and temporal transformers.
    #[serde(rename = "CrossAttnUpBlock3D")]
    CrossAttention,
}

/// The constructor arguments of diffusers' `UNet3DConditionModel`, with its defaults.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct UNet3dConfig {
    sample_size: Option<SampleSize>,
    /// Channels of the noisy latents.
    pub in_channels: usize,
    /// Channels of the prediction.
    pub out_channels: usize,
    /// From the highest resolution to the lowest.
    pub down_block_types: Vec<DownBlockType>,
    /// From the lowest resolution to the highest.
    pub up_block_types: Vec<UpBlockType>,
    /// Channels at each resolution, from the highest.
    pub block_out_channels: Vec<usize>,
    /// Residual blocks at each resolution on the way down; one more on the way up.
    pub layers_per_block: usize,
    /// Padding of the strided convolutions: 1, or 0 for a row and a column after the last.
    pub downsample_padding: usize,
    /// Divides the sums of the middle block's residual blocks.
    pub mid_block_scale_factor: f64,
    /// Activation of residual blocks and of the time embedding.
    pub act_fn: Activation,
    /// Groups of every group normalisation.
    pub norm_num_groups: usize,
    /// Epsilon of the residual blocks' normalisations and of the last.
    pub norm_eps: f64,
    /// Width of the text embeddings.
    pub cross_attention_dim: usize,
    /// Width of an attention head, in spite of what upstream's code calls the number of heads.
    pub attention_head_dim: usize,
    /// diffusers refuses this key.
    num_attention_heads: Option<IgnoredAny>,
    /// Width of an additional condition of the time embedding; its weights are loaded, no pipeline feeds it.
    pub time_cond_proj_dim: Option<usize>,
}

impl Default for UNet3dConfig {
    fn default() -> Self {
        use DownBlockType as Down;
        use UpBlockType as Up;
        Self {
            sample_size: None,
            in_channels: 4,
            out_channels: 4,
            down_block_types: vec![
                Down::CrossAttention,
                Down::CrossAttention,
                Down::CrossAttention,
                Down::Plain,
            ],
            up_block_types: vec![Up::Plain, Up::CrossAttention, Up::CrossAttention, Up::CrossAttention],
            block_out_channels: vec![320, 640, 1280, 1280],
            layers_per_block: 2,
            downsample_padding: 1,
            mid_block_scale_factor: 1.0,
            act_fn: Activation::Silu,
            norm_num_groups: 32,
            norm_eps: 1e-5,
            cross_attention_dim: 1024,
            attention_head_dim: 64,
            num_attention_heads: None,
            time_cond_proj_dim: None,
        }
    }
}

impl UNet3dConfig {
    /// Reads and checks the `config.json` of a model folder's `unet`.
    ///
    /// # Errors
    /// The file is missing or damaged, belongs to another class, or describes no possible network.
    pub fn from_component(component: &Component) -> Result<Self, DenoiserError> {
        let config: Self = component.config(&["UNet3DConditionModel"])?;
        config.check()?;
        Ok(config)
    }

    /// Height and width of the latents it was trained at.
    #[must_use]
    pub fn sample_size(&self) -> Option<[usize; 2]> {
        self.sample_size.map(SampleSize::height_width)
    }

    /// Width of the time embedding.
    pub(crate) fn time_embed_dim(&self) -> usize {
        self.block_out_channels[0] * 4
    }

    /// # Errors
    /// A combination from which diffusers could not build a network either.
    pub(crate) fn check(&self) -> Result<(), DenoiserError> {
        let (down, up) = (self.down_block_types.len(), self.up_block_types.len());
        check_levels(&self.block_out_channels, down, up)?;
        self.check_sizes()?;
        check_numbers(self.downsample_padding, self.norm_eps, self.mid_block_scale_factor)?;
        let head = self.attention_head_dim;
        for &channels in &self.block_out_channels {
            check_channels(channels, self.norm_num_groups)?;
            if channels < head {
                let reason = format!("is {head}, more than {channels} channels");
                return Err(fault("attention_head_dim", reason));
            }
        }
        if self.num_attention_heads.is_some() {
            let reason = "is set, which diffusers refuses too; the width of a head is `attention_head_dim`";
            return Err(fault("num_attention_heads", reason));
        }
        Ok(())
    }

    fn check_sizes(&self) -> Result<(), DenoiserError> {
        check_sample_size(self.sample_size)?;
        for (key, size, most) in [
            ("in_channels", self.in_channels, MAX_CHANNELS),
            ("out_channels", self.out_channels, MAX_CHANNELS),
            ("layers_per_block", self.layers_per_block, MAX_LAYERS),
            ("norm_num_groups", self.norm_num_groups, MAX_CHANNELS),
            ("attention_head_dim", self.attention_head_dim, MAX_CHANNELS),
            ("cross_attention_dim", self.cross_attention_dim, MAX_CHANNELS),
            ("time_cond_proj_dim", self.time_cond_proj_dim.unwrap_or(1), MAX_CHANNELS),
        ] {
            check_size(key, size, most)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_no_network_can_have_is_named() {
        let huge = 1u64 << 63;
        for (key, value) in [
            ("sample_size", json!(0)),
            ("sample_size", json!([32, 1u64 << 40])),
            ("in_channels", json!(0)),
            ("out_channels", json!(huge)),
            ("block_out_channels", json!([])),
            ("block_out_channels", json!([320, 640, 1280, 0])),
            ("block_out_channels", json!([320, 640, 1280, 1290])),
            ("block_out_channels", json!([320, 640, 1280, 3_200_000])),
            ("down_block_types", json!(["DownBlock3D"])),
            ("up_block_types", json!(["UpBlock3D"])),
            ("layers_per_block", json!(1_000_000_000)),
            ("layers_per_block", json!(huge)),
            ("downsample_padding", json!(3)),
            ("downsample_padding", json!(huge)),
            ("mid_block_scale_factor", json!(0)),
            ("mid_block_scale_factor", json!(1e300)),
            ("norm_num_groups", json!(0)),
            ("norm_eps", json!(-1e-5)),
            ("cross_attention_dim", json!(0)),
            ("attention_head_dim", json!(321)),
            ("num_attention_heads", json!(8)),
            ("num_attention_heads", json!([8])),
            ("time_cond_proj_dim", json!(0)),
        ] {
            let config: UNet3dConfig = serde_json::from_value(json!({key: value})).unwrap();
            let message = config.check().unwrap_err().to_string();
            assert!(
                message.contains(&format!("`{key}` of the denoiser")),
                "{key} {value}: {message}"
            );
        }
        let config: UNet3dConfig = serde_json::from_value(json!({"num_attention_heads": null})).unwrap();
        config.check().unwrap();
    }
}
