//! `unet/config.json`.

use serde::Deserialize;
use t2v_kernels::Activation;
use t2v_weights::Component;

use crate::DenoiserError;

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

/// Height and width given as one number or two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(crate) enum SampleSize {
    Square(usize),
    HeightWidth([usize; 2]),
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
    /// Padding of the strided convolutions.
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
        self.sample_size.map(|size| match size {
            SampleSize::Square(side) => [side, side],
            SampleSize::HeightWidth(size) => size,
        })
    }

    /// Width of the time embedding.
    pub(crate) fn time_embed_dim(&self) -> usize {
        self.block_out_channels[0] * 4
    }

    /// # Errors
    /// A combination from which diffusers could not build a network either.
    pub(crate) fn check(&self) -> Result<(), DenoiserError> {
        let fault = |key, reason: String| Err(DenoiserError::Config { key, reason });
        let levels = self.block_out_channels.len();
        if levels == 0 {
            return fault("block_out_channels", "is empty; it has one entry a resolution".into());
        }
        for (key, len) in [
            ("down_block_types", self.down_block_types.len()),
            ("up_block_types", self.up_block_types.len()),
        ] {
            if len != levels {
                return fault(key, format!("has {len} entries; `block_out_channels` has {levels}"));
            }
        }
        let counts = [
            ("in_channels", self.in_channels),
            ("out_channels", self.out_channels),
            ("layers_per_block", self.layers_per_block),
            ("norm_num_groups", self.norm_num_groups),
            ("attention_head_dim", self.attention_head_dim),
            ("cross_attention_dim", self.cross_attention_dim),
        ];
        for (key, count) in counts {
            if count == 0 {
                return fault(key, "is 0; it must be at least 1".into());
            }
        }
        for &channels in &self.block_out_channels {
            if channels == 0 || channels % self.norm_num_groups != 0 {
                let groups = self.norm_num_groups;
                return fault(
                    "block_out_channels",
                    format!("has {channels}, which is not a multiple of `norm_num_groups` ({groups})"),
                );
            }
            if channels < self.attention_head_dim {
                let width = self.attention_head_dim;
                return fault(
                    "attention_head_dim",
                    format!("is {width}, more than {channels} channels"),
                );
            }
        }
        Ok(())
    }
}
