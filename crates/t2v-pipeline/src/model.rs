//! The components of a checkpoint, loaded.

use burn::tensor::{DType, Device};
use serde_json::Value;
use t2v_denoiser::{Denoiser, UNet3d};
use t2v_schedulers::{Scheduler, SchedulerKind};
use t2v_text_encoder::{ClipTextModel, ClipTokenizer};
use t2v_vae::AutoencoderKl;
use t2v_weights::ModelFolder;

use crate::{PipelineError, PromptTable, defaults::Defaults};

/// Everything that a generation needs.
pub(crate) struct Model {
    pub(crate) tokenizer: ClipTokenizer,
    pub(crate) text_encoder: ClipTextModel,
    pub(crate) denoiser: Box<dyn Denoiser>,
    pub(crate) vae: AutoencoderKl,
    pub(crate) scheduler_config: Value,
    pub(crate) defaults: Defaults,
    /// Completes prompts in the checkpoint's own words.
    pub(crate) prompt_table: Option<PromptTable>,
}

impl Model {
    pub(crate) fn load(folder: &ModelFolder, dtype: DType, device: &Device) -> Result<Self, PipelineError> {
        let text_encoder = ClipTextModel::from_component(&folder.component("text_encoder")?, dtype, device)?;
        let positions = text_encoder.config().max_position_embeddings;
        let tokenizer = ClipTokenizer::from_component(&folder.component("tokenizer")?, positions)?;
        let denoiser = UNet3d::from_component(&folder.component("unet")?, dtype, device)?;
        let vae = AutoencoderKl::from_component(&folder.component("vae")?, dtype, device)?;
        let scheduler_config = folder.component("scheduler")?.json("scheduler_config.json")?;
        let model = Self {
            tokenizer,
            text_encoder,
            denoiser: Box::new(denoiser),
            vae,
            scheduler_config: Value::Object(scheduler_config),
            defaults: Defaults::read(folder)?,
            prompt_table: PromptTable::read(folder)?,
        };
        model.check()?;
        Ok(model)
    }

    fn check(&self) -> Result<(), PipelineError> {
        let latents = self.vae.config().latent_channels;
        let (input, output) = (self.denoiser.in_channels(), self.denoiser.out_channels());
        if (input, output) != (latents, latents) {
            return Err(PipelineError::Checkpoint(format!(
                "the denoiser takes {input} channels and gives {output}, the VAE's latents have {latents}"
            )));
        }
        let (text, width) = (
            self.text_encoder.config().hidden_size,
            self.denoiser.cross_attention_dim(),
        );
        if text != width {
            return Err(PipelineError::Checkpoint(format!(
                "the text encoder gives embeddings of width {text}, the denoiser takes {width}"
            )));
        }
        Ok(())
    }

    /// Pixels a latent stands for in each direction.
    pub(crate) fn scale_factor(&self) -> usize {
        self.vae.config().scale_factor()
    }

    /// Width and height where a request has none.
    pub(crate) fn default_size(&self) -> Option<[usize; 2]> {
        let factor = self.scale_factor();
        let trained = self.denoiser.sample_size();
        let width = self.defaults.width.or(trained.map(|[_, width]| width * factor))?;
        let height = self.defaults.height.or(trained.map(|[height, _]| height * factor))?;
        Some([width, height])
    }

    /// The named scheduler, or the checkpoint's own, with the checkpoint's settings.
    pub(crate) fn scheduler(&self, name: Option<&str>) -> Result<Box<dyn Scheduler>, PipelineError> {
        let kind = match name.or(self.defaults.scheduler.as_deref()) {
            Some(name) => name.parse::<SchedulerKind>()?,
            None => t2v_schedulers::kind_of_config(&self.scheduler_config)?,
        };
        Ok(t2v_schedulers::from_config(kind, &self.scheduler_config)?)
    }
}
