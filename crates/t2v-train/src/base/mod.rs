//! The model that is trained on: its denoiser, what encodes clips and captions for it, and the noise it was trained with.

mod denoisers;
mod text;

use burn::tensor::{DType, Device};
pub use denoisers::{Denoisers, Trainable};
use serde::Deserialize;
use serde_json::Value;
use t2v_kernels::takes_half_weights;
use t2v_schedulers::{SchedulerKind, TrainingNoise, kind_of_config};
use t2v_text_encoder::ClipTextModel;
use t2v_vae::{AutoencoderKl, AutoencoderKlConfig, AutoencoderKlWan, AutoencoderKlWanConfig, LatentCodec};
use t2v_weights::{Component, LoadOptions, ModelFolder, Network};

pub(crate) use text::TextEncoder;

use self::denoisers::Layout;
use crate::{ClipSize, TrainError, data::ClipLimits};

/// Classes of pipelines whose denoiser is a U-Net on the latents of pictures.
const OF_PICTURES: [&str; 5] = [
    "TextToVideoSDPipeline",
    "VideoToVideoSDPipeline",
    "StableDiffusionPipeline",
    "AnimateDiffPipeline",
    "AnimateDiffVideoToVideoPipeline",
];
/// That of Wan's models which make clips of text.
const OF_WAN: &str = "WanPipeline";

/// Frames of clips and sides of latents where a model does not say.
const USUAL_FRAMES: usize = 16;
const USUAL_LATENTS: [usize; 2] = [32, 32];
/// Frames, height and width of the clips that Wan was trained on.
const USUAL_OF_WAN: [usize; 3] = [81, 480, 832];

/// What a model's `t2v.json` says of sizes.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Usual {
    num_frames: Option<usize>,
    width: Option<usize>,
    height: Option<usize>,
}

/// What encodes clips and captions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoders {
    /// An autoencoder of pictures, and CLIP.
    Pictures,
    /// Wan's autoencoder, and UMT5.
    Wan,
}

/// A model folder that is trained on. Networks are loaded when they are asked for, in f32: weights that are stored in half precision
/// are widened.
#[derive(Debug)]
pub struct Base {
    folder: ModelFolder,
    name: String,
    encoders: Encoders,
    noise: TrainingNoise,
    device: Device,
    /// Motion modules from elsewhere.
    motion_adapter: Option<Component>,
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
        let fault = |reason: String| {
            Err(TrainError::Base {
                name: name.into(),
                reason,
            })
        };
        let class = folder.pipeline_class()?.unwrap_or_default();
        let encoders = match class {
            OF_WAN => Encoders::Wan,
            _ if OF_PICTURES.contains(&class) => Encoders::Pictures,
            _ => {
                let classes = OF_PICTURES.join(", ");
                return fault(format!("LoRAs are trained on {classes} and {OF_WAN}, not on `{class}`"));
            }
        };
        if folder.entry("transformer_2")?.is_some() {
            return fault(
                "it has two transformers, of which each sees a part of the noise; those with one are trained on".into(),
            );
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
            encoders,
            device: device.clone(),
            folder,
            motion_adapter: None,
        })
    }

    /// Puts motion modules into a model of pictures, which is then trained on clips: what `t2v_denoiser::open_motion_adapter` opens.
    #[must_use]
    pub fn with_motion_adapter(mut self, adapter: Component) -> Self {
        self.motion_adapter = Some(adapter);
        self
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

    /// The size of clips that it is made for: its `t2v.json` says it, or else its denoiser's configuration, for 16 frames; for Wan
    /// 81 frames of 832x480.
    ///
    /// # Errors
    /// Configurations that can't be read.
    pub fn usual_size(&self) -> Result<ClipSize, TrainError> {
        let own: Usual = self.folder.optional_config("t2v.json")?.unwrap_or_default();
        let multiple = self.limits()?.side_multiple;
        let [frames, height, width] = match self.layout()?.sample_size() {
            Some(latents) => {
                let [height, width] = latents.unwrap_or(USUAL_LATENTS).map(|side| side * multiple);
                [USUAL_FRAMES, height, width]
            }
            None => {
                let [frames, sides @ ..] = USUAL_OF_WAN;
                let [height, width] = sides.map(|side| side / multiple * multiple);
                [frames, height, width]
            }
        };
        Ok(ClipSize {
            frames: own.num_frames.unwrap_or(frames),
            stride: 1,
            width: own.width.unwrap_or(width),
            height: own.height.unwrap_or(height),
        })
    }

    fn options(&self) -> LoadOptions {
        LoadOptions::new(DType::F32, &self.device)
    }

    /// For networks that are called only to encode, whose operators on the CPU take weights as they are stored.
    fn encoders_options(&self) -> LoadOptions {
        self.options().keep_half(takes_half_weights(DType::F32, &self.device))
    }

    fn layout(&self) -> Result<Layout, TrainError> {
        match self.encoders {
            Encoders::Pictures => Layout::of_unet(&self.folder, self.motion_adapter.as_ref()),
            Encoders::Wan => Layout::of_wan(&self.folder),
        }
    }

    /// Loads the denoiser.
    ///
    /// # Errors
    /// Configurations or weights that can't be used; a denoiser that takes more than latents.
    pub fn denoiser(&self) -> Result<Denoisers, TrainError> {
        let layout = self.layout()?;
        let (input, output) = layout.channels();
        if input != output {
            let reason = format!(
                "its denoiser takes {input} channels for {output} of the latents; models that are shown masks or pictures are not \
                 trained on"
            );
            return Err(TrainError::Base {
                name: self.name.clone(),
                reason,
            });
        }
        layout.load(&self.folder, &self.options())
    }

    /// Loads the text encoder to be trained with the denoiser.
    ///
    /// # Errors
    /// It is not CLIP's; a configuration or weights that can't be used.
    pub fn trained_text_encoder(&self) -> Result<ClipTextModel, TrainError> {
        match self.encoders {
            Encoders::Pictures => Ok(ClipTextModel::from_component(
                &self.folder.component("text_encoder")?,
                &self.options(),
            )?),
            Encoders::Wan => Err(TrainError::Base {
                name: self.name.clone(),
                reason: "its text encoder is not CLIP's and is not trained; train the denoiser alone".into(),
            }),
        }
    }

    /// SHA-256 of the denoiser's weight files, and of motion modules from elsewhere.
    ///
    /// # Errors
    /// A file that can't be read.
    pub fn sha256(&self) -> Result<String, TrainError> {
        let denoiser = self.folder.component(self.layout()?.component())?.weights()?.sha256()?;
        Ok(match &self.motion_adapter {
            Some(adapter) => format!("{denoiser} {}", adapter.weights()?.sha256()?),
            None => denoiser,
        })
    }

    /// What clips the networks take.
    pub(crate) fn limits(&self) -> Result<ClipLimits, TrainError> {
        let vae = self.folder.component("vae")?;
        Ok(match self.encoders {
            Encoders::Pictures => ClipLimits {
                side_multiple: AutoencoderKlConfig::from_component(&vae)?.scale_factor(),
                frame_multiple: 1,
            },
            Encoders::Wan => {
                let config = AutoencoderKlWanConfig::from_component(&vae)?;
                ClipLimits {
                    side_multiple: config.spatial_factor() * self.layout()?.patch(),
                    frame_multiple: config.temporal_factor(),
                }
            }
        })
    }

    /// What tells the encoders of clips and captions from others.
    pub(crate) fn encoders_sha256(&self) -> Result<String, TrainError> {
        let of = |name: &str| self.folder.component(name)?.weights()?.sha256();
        Ok(format!("{} {}", of("vae")?, of("text_encoder")?))
    }

    pub(crate) fn autoencoder(&self) -> Result<Box<dyn LatentCodec>, TrainError> {
        let (vae, options) = (self.folder.component("vae")?, self.encoders_options());
        Ok(match self.encoders {
            Encoders::Pictures => Box::new(AutoencoderKl::from_component(&vae, &options)?),
            Encoders::Wan => Box::new(AutoencoderKlWan::from_component(&vae, &options)?),
        })
    }

    /// The tokenizer, with what its tokens are embedded by.
    pub(crate) fn text_encoder(&self) -> Result<TextEncoder, TrainError> {
        let (tokenizer, model) = (
            self.folder.component("tokenizer")?,
            self.folder.component("text_encoder")?,
        );
        match self.encoders {
            Encoders::Pictures => TextEncoder::clip(&tokenizer, model, self.encoders_options()),
            Encoders::Wan => TextEncoder::umt5(&tokenizer, model, self.encoders_options()),
        }
    }
}
