//! `vae/config.json`.

use serde::Deserialize;
use t2v_kernels::Activation;
use t2v_weights::{Component, SampleSize, size_fault};

use crate::{Tiling, VaeError, error::fault};

/// Far above any model's.
const MAX_CHANNELS: usize = 1 << 16;
const MAX_LAYERS: usize = 64;
const MAX_LEVELS: usize = 16;
/// Pixels of a side.
const MAX_SAMPLE_SIZE: usize = 1 << 16;

/// The constructor arguments of diffusers' `AutoencoderKL`, with its defaults.
///
/// Of the others `latents_mean` and `latents_std` are not looked at by diffusers' text-to-video
/// pipelines either.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct AutoencoderKlConfig {
    /// Channels of a frame going in.
    pub in_channels: usize,
    /// Channels of a frame coming out.
    pub out_channels: usize,
    /// `DownEncoderBlock2D` a resolution.
    pub down_block_types: Vec<String>,
    /// `UpDecoderBlock2D` a resolution.
    pub up_block_types: Vec<String>,
    /// Channels at each resolution, from the highest.
    pub block_out_channels: Vec<usize>,
    /// Residual blocks at each resolution of the encoder; the decoder has one more.
    pub layers_per_block: usize,
    /// Activation of the residual blocks.
    pub act_fn: Activation,
    /// Channels of the latents.
    pub latent_channels: usize,
    /// Groups of every group normalisation.
    pub norm_num_groups: usize,
    sample_size: SampleSize,
    /// The denoiser's latents are the encoder's times this.
    pub scaling_factor: f64,
    /// Subtracted from the encoder's latents before they are scaled.
    pub shift_factor: Option<f64>,
    /// Whether a 1x1 convolution follows the encoder.
    pub use_quant_conv: bool,
    /// Whether a 1x1 convolution precedes the decoder.
    pub use_post_quant_conv: bool,
    /// Whether the lowest resolution has attention.
    pub mid_block_add_attention: bool,
    /// Whether its values overflow in half precision, so that it has to compute in single. Only a file that says so counts:
    /// older ones don't have the key, and were trained before it was thought of.
    pub force_upcast: Option<bool>,
}

impl Default for AutoencoderKlConfig {
    fn default() -> Self {
        Self {
            in_channels: 3,
            out_channels: 3,
            down_block_types: vec!["DownEncoderBlock2D".into()],
            up_block_types: vec!["UpDecoderBlock2D".into()],
            block_out_channels: vec![64],
            layers_per_block: 1,
            act_fn: Activation::Silu,
            latent_channels: 4,
            norm_num_groups: 32,
            sample_size: SampleSize::Square(32),
            scaling_factor: 0.18215,
            shift_factor: None,
            use_quant_conv: true,
            use_post_quant_conv: true,
            mid_block_add_attention: true,
            force_upcast: None,
        }
    }
}

impl AutoencoderKlConfig {
    /// Reads and checks the `config.json` of a model folder's `vae`.
    ///
    /// # Errors
    /// The file is missing or damaged, belongs to another class, or describes no possible network.
    pub fn from_component(component: &Component) -> Result<Self, VaeError> {
        let config: Self = component.config(&["AutoencoderKL"])?;
        config.check()?;
        Ok(config)
    }

    /// Pixels a latent stands for in each direction.
    #[must_use]
    pub fn scale_factor(&self) -> usize {
        1 << self.block_out_channels.len().saturating_sub(1)
    }

    /// The tiles that diffusers cuts with these settings.
    #[must_use]
    pub fn tiling(&self) -> Tiling {
        let [side, _] = self.sample_size.height_width();
        Tiling::new(side, side / self.scale_factor())
    }

    /// # Errors
    /// A combination from which no autoencoder of frames can be built.
    pub(crate) fn check(&self) -> Result<(), VaeError> {
        self.check_levels()?;
        self.check_sizes()?;
        let groups = self.norm_num_groups;
        for &channels in &self.block_out_channels {
            if let Some(reason) = size_fault(channels, 1..=MAX_CHANNELS) {
                return fault("block_out_channels", format!("has an entry that {reason}"));
            }
            if channels % groups != 0 {
                let reason = format!("has {channels}, which is not a multiple of `norm_num_groups` ({groups})");
                return fault("block_out_channels", reason);
            }
        }
        let scale = self.scaling_factor;
        if !(scale as f32).is_normal() {
            let reason =
                format!("is {scale}; latents are divided by it in single precision, so it can't be 0 or as good as it");
            return fault("scaling_factor", reason);
        }
        if let Some(shift) = self.shift_factor.filter(|shift| !(*shift as f32).is_finite()) {
            return fault("shift_factor", format!("is {shift}, too large for single precision"));
        }
        Ok(())
    }

    fn check_levels(&self) -> Result<(), VaeError> {
        let levels = self.block_out_channels.len();
        if !(1..=MAX_LEVELS).contains(&levels) {
            let reason = format!("has {levels} entries; it has one a resolution, 1 to {MAX_LEVELS}");
            return fault("block_out_channels", reason);
        }
        let kinds = [
            ("down_block_types", &self.down_block_types, "DownEncoderBlock2D"),
            ("up_block_types", &self.up_block_types, "UpDecoderBlock2D"),
        ];
        for (key, types, known) in kinds {
            if types.len() != levels {
                let len = types.len();
                return fault(key, format!("has {len} entries; `block_out_channels` has {levels}"));
            }
            if let Some(other) = types.iter().find(|name| *name != known) {
                return fault(key, format!("has `{other}`; only {known} is supported"));
            }
        }
        Ok(())
    }

    fn check_sizes(&self) -> Result<(), VaeError> {
        let [height, width] = self.sample_size.height_width();
        // A tile is at least one latent.
        let side = self.scale_factor()..=MAX_SAMPLE_SIZE;
        for (key, size, range) in [
            ("sample_size", height, side.clone()),
            ("sample_size", width, side),
            ("latent_channels", self.latent_channels, 1..=MAX_CHANNELS),
            ("norm_num_groups", self.norm_num_groups, 1..=MAX_CHANNELS),
            ("layers_per_block", self.layers_per_block, 1..=MAX_LAYERS),
        ] {
            if let Some(reason) = size_fault(size, range) {
                return fault(key, reason);
            }
        }
        for (key, channels) in [("in_channels", self.in_channels), ("out_channels", self.out_channels)] {
            if channels != 3 {
                return fault(key, format!("is {channels}; frames are RGB, so only 3 is supported"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_no_autoencoder_can_have_is_named() {
        let huge = 1u64 << 63;
        for (key, value) in [
            ("in_channels", json!(1)),
            ("out_channels", json!(huge)),
            ("down_block_types", json!(["AttnDownEncoderBlock2D"])),
            ("up_block_types", json!([])),
            ("block_out_channels", json!([])),
            ("block_out_channels", json!([0])),
            ("block_out_channels", json!([63])),
            ("block_out_channels", json!([1u64 << 40])),
            ("layers_per_block", json!(0)),
            ("layers_per_block", json!(1_000_000_000)),
            ("layers_per_block", json!(huge)),
            ("latent_channels", json!(0)),
            ("norm_num_groups", json!(0)),
            ("sample_size", json!(0)),
            ("sample_size", json!([32, huge])),
            ("scaling_factor", json!(0)),
            ("scaling_factor", json!(1e-300)),
            ("shift_factor", json!(1e300)),
        ] {
            let config: AutoencoderKlConfig = serde_json::from_value(json!({key: value})).unwrap();
            let message = config.check().unwrap_err().to_string();
            assert!(
                message.contains(&format!("`{key}` of the VAE")),
                "{key} {value}: {message}"
            );
        }
        let config = json!({"force_upcast": true, "latents_mean": null, "scaling_factor": -1});
        let config: AutoencoderKlConfig = serde_json::from_value(config).unwrap();
        config.check().unwrap();
    }
}
