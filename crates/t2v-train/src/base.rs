//! The model that is trained on: its denoiser, what encodes clips and captions for it, and the noise it was trained with.

use burn::tensor::{DType, Device, Tensor};
use serde::Deserialize;
use serde_json::Value;
use t2v_denoiser::{MotionAdapterConfig, UNet2d, UNet2dConfig, UNet3d, UNet3dConfig};
use t2v_schedulers::{SchedulerKind, TrainingNoise, kind_of_config};
use t2v_text_encoder::{ClipTextConfig, ClipTextModel, ClipTokenizer};
use t2v_vae::{AutoencoderKl, AutoencoderKlConfig};
use t2v_weights::{Component, LoadOptions, ModelFolder, Network};

use crate::{ClipSize, TrainError};

/// Classes of pipelines whose denoiser is a U-Net on the latents of pictures.
const CLASSES: [&str; 5] = [
    "TextToVideoSDPipeline",
    "VideoToVideoSDPipeline",
    "StableDiffusionPipeline",
    "AnimateDiffPipeline",
    "AnimateDiffVideoToVideoPipeline",
];

/// Frames of clips and sides of latents where a model does not say.
const USUAL_FRAMES: usize = 16;
const USUAL_LATENTS: [usize; 2] = [32, 32];

/// What a model's `t2v.json` says of sizes.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Usual {
    num_frames: Option<usize>,
    width: Option<usize>,
    height: Option<usize>,
}

/// A denoiser's configuration.
enum Layout {
    UNet3d(UNet3dConfig),
    UNet2d {
        config: UNet2dConfig,
        /// Motion modules beside it.
        adapter: Option<Component>,
    },
}

/// A denoiser that can be trained on, in f32.
#[derive(Debug)]
#[non_exhaustive]
pub enum Denoisers {
    /// ModelScope's, Zeroscope's and tiny-world's.
    UNet3d(UNet3d),
    /// Stable Diffusion's, with motion modules or without; without them each frame of a clip is a picture by itself.
    UNet2d(UNet2d),
}

/// A model folder that is trained on. Networks are loaded when they are asked for, in f32.
#[derive(Debug)]
pub struct Base {
    folder: ModelFolder,
    name: String,
    noise: TrainingNoise,
    device: Device,
}

/// What makes text embeddings of captions.
pub(crate) struct TextEncoder {
    tokenizer: ClipTokenizer,
    model: ClipTextModel,
}

impl TextEncoder {
    /// `[1, tokens, dim]` of a caption, and how many of its tokens did not fit.
    pub(crate) fn encode(&self, caption: &str) -> Result<(Tensor<3>, usize), TrainError> {
        let parts = [t2v_text_encoder::WeightedText::plain(caption)];
        let chunks = self.tokenizer.encode_chunks(&parts, 1)?;
        Ok((self.model.embed(&chunks.chunks, 0)?, chunks.truncated))
    }
}

impl Base {
    /// The embedded checkpoint tiny-world.
    ///
    /// # Errors
    /// None that the checkpoint does not have by a fault of the build.
    pub fn tiny_world(device: &Device) -> Result<Self, TrainError> {
        Self::new(
            ModelFolder::embedded("tiny-world", t2v_tiny_world::FILES)?,
            "tiny-world",
            device,
        )
    }

    /// A model folder in diffusers' layout; `name` is what the LoRA will call it.
    ///
    /// # Errors
    /// A class of model that is not trained on, or a scheduler's configuration that can't be used.
    pub fn new(folder: ModelFolder, name: &str, device: &Device) -> Result<Self, TrainError> {
        let class = folder.pipeline_class()?.unwrap_or_default();
        if !CLASSES.contains(&class) {
            return Err(TrainError::Base {
                name: name.into(),
                reason: format!("LoRAs are trained on {}, not on `{class}`", CLASSES.join(", ")),
            });
        }
        let scheduler = folder.component("scheduler")?;
        let config = Value::Object(scheduler.json("scheduler_config.json")?);
        let kind: SchedulerKind = match scheduler.entry() {
            Some(entry) => entry.class.parse()?,
            None => kind_of_config(&config)?,
        };
        Ok(Self {
            noise: TrainingNoise::from_config(kind, &config)?,
            name: name.into(),
            device: device.clone(),
            folder,
        })
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it computes.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The noise that it was trained with.
    #[must_use]
    pub fn noise(&self) -> &TrainingNoise {
        &self.noise
    }

    /// The size of clips that it is made for: its `t2v.json` says it, or else its denoiser's configuration, for 16 frames.
    ///
    /// # Errors
    /// Configurations that can't be read.
    pub fn usual_size(&self) -> Result<ClipSize, TrainError> {
        let own: Usual = self.folder.optional_config("t2v.json")?.unwrap_or_default();
        let latents = match self.network()? {
            Layout::UNet3d(config) => config.sample_size(),
            Layout::UNet2d { config, .. } => config.sample_size(),
        };
        let factor = self.scale_factor()?;
        let [height, width] = latents.unwrap_or(USUAL_LATENTS).map(|side| side * factor);
        Ok(ClipSize {
            frames: own.num_frames.unwrap_or(USUAL_FRAMES),
            stride: 1,
            width: own.width.unwrap_or(width),
            height: own.height.unwrap_or(height),
        })
    }

    fn options(&self) -> LoadOptions {
        LoadOptions::new(DType::F32, &self.device)
    }

    /// The denoiser's configuration.
    fn network(&self) -> Result<Layout, TrainError> {
        let component = self.folder.component("unet")?;
        let class = component
            .entry()
            .map_or("UNet3DConditionModel", |entry| entry.class.as_str());
        if class == "UNet3DConditionModel" {
            return Ok(Layout::UNet3d(UNet3dConfig::from_component(&component)?));
        }
        let adapter = match class != "UNetMotionModel" && self.folder.entry("motion_adapter")?.is_some() {
            true => Some(self.folder.component("motion_adapter")?),
            false => None,
        };
        let config = match &adapter {
            Some(adapter) => UNet2dConfig::with_adapter(&component, &MotionAdapterConfig::from_component(adapter)?)?,
            None => UNet2dConfig::from_component(&component)?,
        };
        Ok(Layout::UNet2d { config, adapter })
    }

    fn check_channels(&self, input: usize, output: usize) -> Result<(), TrainError> {
        match input == output {
            true => Ok(()),
            false => Err(TrainError::Base {
                name: self.name.clone(),
                reason: format!(
                    "its denoiser takes {input} channels for {output} of the latents; models for inpainting are not trained on"
                ),
            }),
        }
    }

    /// Loads the denoiser.
    ///
    /// # Errors
    /// Configurations or weights that can't be used; a denoiser that takes more than latents.
    pub fn denoiser(&self) -> Result<Denoisers, TrainError> {
        let (weights, options) = (self.folder.component("unet")?.weights()?, self.options());
        match self.network()? {
            Layout::UNet3d(config) => {
                self.check_channels(config.in_channels, config.out_channels)?;
                Ok(Denoisers::UNet3d(UNet3d::from_weights(config, &weights, &options)?))
            }
            Layout::UNet2d { config, adapter } => {
                self.check_channels(config.in_channels, config.out_channels)?;
                Ok(Denoisers::UNet2d(match adapter {
                    Some(adapter) => UNet2d::with_adapter(config, weights, adapter.weights()?, &options)?,
                    None => UNet2d::from_weights(config, &weights, &options)?,
                }))
            }
        }
    }

    /// SHA-256 of the denoiser's weight files.
    ///
    /// # Errors
    /// A file that can't be read.
    pub fn sha256(&self) -> Result<String, TrainError> {
        Ok(self.folder.component("unet")?.weights()?.sha256()?)
    }

    /// What the autoencoder divides the sides of pictures by.
    pub(crate) fn scale_factor(&self) -> Result<usize, TrainError> {
        Ok(AutoencoderKlConfig::from_component(&self.folder.component("vae")?)?.scale_factor())
    }

    /// What tells the encoders of clips and captions from others.
    pub(crate) fn encoders_sha256(&self) -> Result<String, TrainError> {
        let of = |name: &str| self.folder.component(name)?.weights()?.sha256();
        Ok(format!("{} {}", of("vae")?, of("text_encoder")?))
    }

    pub(crate) fn autoencoder(&self) -> Result<AutoencoderKl, TrainError> {
        Ok(AutoencoderKl::from_component(
            &self.folder.component("vae")?,
            &self.options(),
        )?)
    }

    pub(crate) fn text_encoder(&self) -> Result<TextEncoder, TrainError> {
        let component: Component = self.folder.component("text_encoder")?;
        let config = ClipTextConfig::from_component(&component)?;
        let tokenizer =
            ClipTokenizer::from_component(&self.folder.component("tokenizer")?, config.max_position_embeddings)?;
        Ok(TextEncoder {
            tokenizer,
            model: ClipTextModel::from_component(&component, &self.options())?,
        })
    }
}
