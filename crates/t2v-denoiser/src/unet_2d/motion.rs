//! `MotionAdapter`: motion modules by themselves, which go into a network of pictures (`UNetMotionModel.from_unet2d`).

use serde::Deserialize;
use t2v_weights::{Component, LoadOptions, Network, Weights};

use super::{
    UNet2d, UNet2dConfig,
    raw::{Layers, OneOrEach, RawConfig},
};
use crate::{DenoiserError, checks::fault};

/// The constructor arguments of diffusers' `MotionAdapter` that a network takes over, with its defaults.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct MotionAdapterConfig {
    block_out_channels: Vec<usize>,
    motion_layers_per_block: OneOrEach<usize>,
    motion_transformer_layers_per_block: Layers,
    motion_transformer_layers_per_mid_block: OneOrEach<usize>,
    motion_num_attention_heads: OneOrEach<usize>,
    motion_max_seq_length: usize,
    use_motion_mid_block: bool,
    conv_in_channels: Option<usize>,
}

impl Default for MotionAdapterConfig {
    fn default() -> Self {
        Self {
            block_out_channels: vec![320, 640, 1280, 1280],
            motion_layers_per_block: 2.into(),
            motion_transformer_layers_per_block: OneOrEach::One(1.into()),
            motion_transformer_layers_per_mid_block: 1.into(),
            motion_num_attention_heads: 8.into(),
            motion_max_seq_length: 32,
            use_motion_mid_block: true,
            conv_in_channels: None,
        }
    }
}

impl MotionAdapterConfig {
    /// Reads the `config.json` of a motion adapter.
    ///
    /// # Errors
    /// The file is missing or damaged, belongs to another class, or brings layers that are not supported.
    pub fn from_component(component: &Component) -> Result<Self, DenoiserError> {
        let config: Self = component.config(&["MotionAdapter"])?;
        if let Some(channels) = config.conv_in_channels {
            let reason = format!(
                "is {channels}; adapters that bring an input layer of their own (PIA), for a picture beside the latents, are not supported"
            );
            return Err(fault("conv_in_channels", reason));
        }
        Ok(config)
    }
}

impl UNet2dConfig {
    /// The network of pictures that `component` is, with the adapter's motion modules between its layers.
    ///
    /// # Errors
    /// As for [`from_component`](Self::from_component); an adapter that was made for another network.
    pub fn with_adapter(component: &Component, adapter: &MotionAdapterConfig) -> Result<Self, DenoiserError> {
        Self::joined(component.config(&["UNet2DConditionModel"])?, adapter)
    }

    pub(crate) fn joined(pictures: RawConfig, adapter: &MotionAdapterConfig) -> Result<Self, DenoiserError> {
        if pictures.block_out_channels != adapter.block_out_channels {
            let (adapter, network) = (&adapter.block_out_channels, &pictures.block_out_channels);
            let reason = format!(
                "of the motion adapter is {adapter:?}, of the denoiser {network:?}: it was made for another base model"
            );
            return Err(fault("block_out_channels", reason));
        }
        let levels = pictures.block_out_channels.len();
        let layers = |key, layers: &OneOrEach<usize>| layers.expand(key, levels);
        let (ours, theirs) = (
            layers("layers_per_block", &pictures.layers_per_block)?,
            layers("motion_layers_per_block", &adapter.motion_layers_per_block)?,
        );
        if ours != theirs {
            let reason = format!(
                "of the motion adapter is {theirs:?}, `layers_per_block` of the denoiser {ours:?}: it was made for another base model"
            );
            return Err(fault("motion_layers_per_block", reason));
        }
        if pictures.mid_block_type.as_deref() != Some("UNetMidBlock2DCrossAttn") {
            let reason = "is another than \"UNetMidBlock2DCrossAttn\", with which motion modules can't go";
            return Err(fault("mid_block_type", reason));
        }
        Self::with_motion_modules(&RawConfig {
            num_attention_heads: Some(pictures.attention_head_dim.clone()),
            motion_num_attention_heads: adapter.motion_num_attention_heads.clone(),
            motion_max_seq_length: adapter.motion_max_seq_length,
            use_motion_mid_block: adapter.use_motion_mid_block,
            temporal_transformer_layers_per_block: adapter.motion_transformer_layers_per_block.clone(),
            reverse_temporal_transformer_layers_per_block: None,
            temporal_transformer_layers_per_mid_block: Some(adapter.motion_transformer_layers_per_mid_block.clone()),
            mid_block_layers: 1,
            ..pictures
        })
    }
}

impl UNet2d {
    /// The network of [`UNet2dConfig::with_adapter`], with the weights of both.
    ///
    /// # Errors
    /// Weights that can't be read, or don't fit.
    pub fn with_adapter(
        config: UNet2dConfig,
        pictures: Weights,
        adapter: Weights,
        options: &LoadOptions,
    ) -> Result<Self, DenoiserError> {
        Self::from_weights(config, &pictures.joined_by(adapter), options)
    }
}
