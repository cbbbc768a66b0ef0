//! `vae/config.json`.

use serde::Deserialize;
use t2v_kernels::Activation;
use t2v_weights::Component;

use crate::{Tiling, VaeError};

/// The constructor arguments of diffusers' `AutoencoderKL`, with its defaults.
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
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(untagged)]
enum SampleSize {
    Square(usize),
    HeightWidth([usize; 2]),
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
        let side = match self.sample_size {
            SampleSize::Square(side) | SampleSize::HeightWidth([side, _]) => side,
        };
        Tiling::new(side, side / self.scale_factor())
    }

    pub(crate) fn check(&self) -> Result<(), VaeError> {
        let fault = |key, reason: String| Err(VaeError::Config { key, reason });
        let levels = self.block_out_channels.len();
        if levels == 0 {
            return fault("block_out_channels", "is empty; it has one entry a resolution".into());
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
        for (key, count) in [
            ("latent_channels", self.latent_channels),
            ("norm_num_groups", self.norm_num_groups),
            ("layers_per_block", self.layers_per_block),
        ] {
            if count == 0 {
                return fault(key, "is 0; it must be at least 1".into());
            }
        }
        let groups = self.norm_num_groups;
        if let Some(odd) = self.block_out_channels.iter().find(|c| **c == 0 || **c % groups != 0) {
            let reason = format!("has {odd}, which is not a multiple of `norm_num_groups` ({groups})");
            return fault("block_out_channels", reason);
        }
        if self.in_channels != 3 || self.out_channels != 3 {
            return fault(
                "in_channels",
                "and `out_channels` must both be 3: frames are RGB".into(),
            );
        }
        if self.scaling_factor == 0.0 {
            return fault("scaling_factor", "is 0; latents are divided by it".into());
        }
        Ok(())
    }
}
