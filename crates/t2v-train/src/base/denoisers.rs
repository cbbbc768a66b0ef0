//! The denoisers that are trained on.

use burn::module::Module;
use t2v_denoiser::{
    Denoiser, MotionAdapterConfig, UNet2d, UNet2dConfig, UNet3d, UNet3dConfig, WanTransformer, WanTransformerConfig,
};
use t2v_weights::{Component, LoadOptions, ModelFolder, Network};

use crate::TrainError;

const UNET: &str = "unet";
const TRANSFORMER: &str = "transformer";

/// A denoiser that adapters can be trained for.
pub trait Trainable: Module + Denoiser + Sync {
    /// What the denoiser is called among the components of its model, with which the names of its layers begin in a LoRA.
    const COMPONENT: &'static str;
}

impl Trainable for UNet3d {
    const COMPONENT: &'static str = UNET;
}

impl Trainable for UNet2d {
    const COMPONENT: &'static str = UNET;
}

impl Trainable for WanTransformer {
    const COMPONENT: &'static str = TRANSFORMER;
}

/// A denoiser that can be trained on, in f32.
#[allow(clippy::large_enum_variant)] // There is one of them.
#[derive(Debug)]
#[non_exhaustive]
pub enum Denoisers {
    /// ModelScope's, Zeroscope's and tiny-world's.
    UNet3d(UNet3d),
    /// Stable Diffusion's, with motion modules or without; without them each frame of a clip is a picture by itself.
    UNet2d(UNet2d),
    /// Wan's.
    Wan(WanTransformer),
}

/// A denoiser's configuration.
#[allow(clippy::large_enum_variant)] // There is one of them.
pub(super) enum Layout {
    UNet3d(UNet3dConfig),
    UNet2d {
        config: UNet2dConfig,
        /// Motion modules beside it.
        adapter: Option<Component>,
    },
    Wan(WanTransformerConfig),
}

impl Layout {
    /// Of a folder's U-Net; motion modules are those that are given, or else the folder's own.
    pub(super) fn of_unet(folder: &ModelFolder, given: Option<&Component>) -> Result<Self, TrainError> {
        let component = folder.component(UNET)?;
        let class = component
            .entry()
            .map_or("UNet3DConditionModel", |entry| entry.class.as_str());
        let has_modules = class != "UNet2DConditionModel";
        if has_modules && given.is_some() {
            let reason = format!("its denoiser is a {class}, and motion modules go into a UNet2DConditionModel");
            return Err(TrainError::Base {
                name: folder.name().into(),
                reason,
            });
        }
        if class == "UNet3DConditionModel" {
            return Ok(Self::UNet3d(UNet3dConfig::from_component(&component)?));
        }
        let adapter = match given {
            Some(adapter) => Some(adapter.clone()),
            None if !has_modules && folder.entry("motion_adapter")?.is_some() => {
                Some(folder.component("motion_adapter")?)
            }
            None => None,
        };
        let config = match &adapter {
            Some(adapter) => UNet2dConfig::with_adapter(&component, &MotionAdapterConfig::from_component(adapter)?)?,
            None => UNet2dConfig::from_component(&component)?,
        };
        Ok(Self::UNet2d { config, adapter })
    }

    pub(super) fn of_wan(folder: &ModelFolder) -> Result<Self, TrainError> {
        let component = folder.component(TRANSFORMER)?;
        Ok(Self::Wan(WanTransformerConfig::from_component(&component)?))
    }

    /// What it is called among the folder's components.
    pub(super) fn component(&self) -> &'static str {
        match self {
            Self::UNet3d(_) | Self::UNet2d { .. } => UNET,
            Self::Wan(_) => TRANSFORMER,
        }
    }

    /// Channels that it takes, and that it gives.
    pub(super) fn channels(&self) -> (usize, usize) {
        match self {
            Self::UNet3d(config) => (config.in_channels, config.out_channels),
            Self::UNet2d { config, .. } => (config.in_channels, config.out_channels),
            Self::Wan(config) => (config.in_channels, config.out_channels()),
        }
    }

    /// Height and width of the latents that a U-Net was trained on, where it says; none of what is no U-Net.
    pub(super) fn sample_size(&self) -> Option<Option<[usize; 2]>> {
        match self {
            Self::UNet3d(config) => Some(config.sample_size()),
            Self::UNet2d { config, .. } => Some(config.sample_size()),
            Self::Wan(_) => None,
        }
    }

    /// What the sides of its latents are multiples of.
    pub(super) fn patch(&self) -> usize {
        match self {
            Self::UNet3d(_) | Self::UNet2d { .. } => 1,
            Self::Wan(config) => {
                let [_, height, width] = config.patch_size;
                (1..=height)
                    .map(|n| n * width)
                    .find(|side| side.is_multiple_of(height))
                    .unwrap_or(height * width)
            }
        }
    }

    pub(super) fn load(self, folder: &ModelFolder, options: &LoadOptions) -> Result<Denoisers, TrainError> {
        let weights = folder.component(self.component())?.weights()?;
        Ok(match self {
            Self::UNet3d(config) => Denoisers::UNet3d(UNet3d::from_weights(config, &weights, options)?),
            Self::UNet2d { config, adapter } => Denoisers::UNet2d(match adapter {
                Some(adapter) => UNet2d::with_adapter(config, weights, adapter.weights()?, options)?,
                None => UNet2d::from_weights(config, &weights, options)?,
            }),
            Self::Wan(config) => Denoisers::Wan(WanTransformer::from_weights(config, &weights, options)?),
        })
    }
}
