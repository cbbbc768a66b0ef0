//! What a model folder says of itself: read and checked when it is opened, and never changed.

use burn::tensor::Device;
use serde_json::Value;
use t2v_denoiser::UNet3dConfig;
use t2v_schedulers::{Scheduler, SchedulerKind};
use t2v_text_encoder::ClipTextConfig;
use t2v_vae::AutoencoderKlConfig;
use t2v_weights::{ModelFolder, WeightsError};

use crate::{PipelineError, PromptTable, defaults::Defaults, request::MAX_SIDE};

/// The pipelines of diffusers whose folders are understood. Folders of the second make videos from a prompt alone, too.
const PIPELINE_CLASSES: [&str; 2] = ["TextToVideoSDPipeline", "VideoToVideoSDPipeline"];

/// The configurations of a checkpoint.
pub(crate) struct Checkpoint {
    pub(crate) folder: ModelFolder,
    /// What requests and reports call it.
    pub(crate) name: String,
    pub(crate) device: Device,
    pub(crate) text: ClipTextConfig,
    pub(crate) unet: UNet3dConfig,
    pub(crate) vae: AutoencoderKlConfig,
    /// Completes prompts in the checkpoint's own words.
    pub(crate) prompt_table: Option<PromptTable>,
    pub(crate) defaults: Defaults,
    scheduler_config: Value,
    /// The class that the folder names.
    scheduler_kind: SchedulerKind,
}

impl Checkpoint {
    /// Reads the configurations and checks that they belong together.
    pub(crate) fn open(folder: ModelFolder, name: &str, device: &Device) -> Result<Self, PipelineError> {
        check_pipeline_class(&folder)?;
        let text = ClipTextConfig::from_component(&folder.component("text_encoder")?)?;
        let unet = UNet3dConfig::from_component(&folder.component("unet")?)?;
        let vae = AutoencoderKlConfig::from_component(&folder.component("vae")?)?;
        check_widths(&text, &unet, &vae)?;
        let scheduler = folder.component("scheduler")?;
        let scheduler_config = Value::Object(scheduler.json("scheduler_config.json")?);
        let scheduler_kind = match scheduler.class_name() {
            "" => t2v_schedulers::kind_of_config(&scheduler_config)?,
            class => class.parse()?,
        };
        let checkpoint = Self {
            name: name.to_owned(),
            device: device.clone(),
            text,
            unet,
            vae,
            prompt_table: PromptTable::read(&folder)?,
            defaults: Defaults::read(&folder)?,
            scheduler_config,
            scheduler_kind,
            folder,
        };
        // Its options are checked by whoever makes it.
        checkpoint.scheduler(checkpoint.scheduler_kind(None)?)?;
        Ok(checkpoint)
    }

    /// Pixels a latent stands for in each direction.
    pub(crate) fn scale_factor(&self) -> usize {
        self.vae.scale_factor()
    }

    /// Width and height where a request has none: the checkpoint's own, or those of its training, if requests may have them.
    pub(crate) fn default_size(&self) -> [Option<u32>; 2] {
        let trained = |axis: usize| {
            let side = self.unet.sample_size()?[axis].checked_mul(self.scale_factor())?;
            u32::try_from(side).ok().filter(|side| (1..=MAX_SIDE).contains(side))
        };
        [
            self.defaults.width.or_else(|| trained(1)),
            self.defaults.height.or_else(|| trained(0)),
        ]
    }

    /// The scheduler of a request: the named one, or the checkpoint's own.
    pub(crate) fn scheduler_kind(&self, name: Option<&str>) -> Result<SchedulerKind, PipelineError> {
        Ok(match name.or(self.defaults.scheduler.as_deref()) {
            Some(name) => name.parse()?,
            None => self.scheduler_kind,
        })
    }

    /// A scheduler with the checkpoint's settings.
    pub(crate) fn scheduler(&self, kind: SchedulerKind) -> Result<Box<dyn Scheduler>, PipelineError> {
        Ok(t2v_schedulers::for_model(kind, &self.scheduler_config)?)
    }
}

fn check_pipeline_class(folder: &ModelFolder) -> Result<(), PipelineError> {
    let class = folder.pipeline_class();
    if class.is_empty() || PIPELINE_CLASSES.contains(&class) {
        return Ok(());
    }
    let known = PIPELINE_CLASSES.join(" and ");
    Err(WeightsError::Config {
        file: format!("{}/model_index.json", folder.name()),
        reason: format!("`_class_name` is `{class}`, a pipeline that is not supported; {known} are"),
    }
    .into())
}

fn check_widths(text: &ClipTextConfig, unet: &UNet3dConfig, vae: &AutoencoderKlConfig) -> Result<(), PipelineError> {
    let latents = vae.latent_channels;
    let (input, output) = (unet.in_channels, unet.out_channels);
    if (input, output) != (latents, latents) {
        return Err(PipelineError::Checkpoint(format!(
            "the denoiser takes {input} channels and gives {output}, the VAE's latents have {latents}"
        )));
    }
    let (text, width) = (text.hidden_size, unet.cross_attention_dim);
    if text != width {
        return Err(PipelineError::Checkpoint(format!(
            "the text encoder gives embeddings of width {text}, the denoiser takes {width}"
        )));
    }
    Ok(())
}
