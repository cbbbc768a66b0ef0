//! The components of a checkpoint: their configurations at once, their weights when they are used.

use burn::{
    module::{Module, ModuleVisitor, Param},
    tensor::{DType, Device, Tensor},
};
use serde_json::Value;
use t2v_denoiser::{UNet3d, UNet3dConfig};
use t2v_schedulers::{Scheduler, SchedulerKind};
use t2v_text_encoder::{ClipTextConfig, ClipTextModel, ClipTokenizer, TextualInversion};
use t2v_vae::{AutoencoderKl, AutoencoderKlConfig};
use t2v_weights::ModelFolder;

use crate::{PipelineError, PromptTable, defaults::Defaults, preview::LatentToRgb};

/// What of a checkpoint stays in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum MemoryMode {
    /// Each component from its first use on: the next generation starts at once.
    #[default]
    Resident,
    /// Only the component at work: the peak is about that of the largest, and each generation loads anew.
    Sequential,
}

/// Precision of the weights and of the networks' calculations.
const FLOAT: DType = DType::F32;

/// Bytes of a network's parameters.
fn parameter_bytes(network: &impl Module) -> usize {
    struct Sum(usize);
    impl ModuleVisitor for Sum {
        fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
            self.0 += parameter.lazy_shape().num_elements() * parameter.dtype().size();
        }
    }
    let mut sum = Sum(0);
    network.visit(&mut sum);
    sum.0
}

/// A component with weights.
#[derive(Clone, Copy)]
pub(crate) enum Part {
    TextEncoder,
    Denoiser,
    Vae,
}

/// A checkpoint.
pub(crate) struct Model {
    folder: ModelFolder,
    device: Device,
    mode: MemoryMode,
    vae_tiling: bool,
    pub(crate) tokenizer: ClipTokenizer,
    pub(crate) text: ClipTextConfig,
    pub(crate) unet: UNet3dConfig,
    pub(crate) vae: AutoencoderKlConfig,
    scheduler_config: Value,
    pub(crate) defaults: Defaults,
    /// Completes prompts in the checkpoint's own words.
    pub(crate) prompt_table: Option<PromptTable>,
    /// Words that were added, with their first tokens.
    learnt: Vec<(TextualInversion, usize)>,
    loaded: Loaded,
    /// For previews, once it is known.
    pub(crate) latent_to_rgb: Option<LatentToRgb>,
}

/// The components in memory.
#[derive(Default)]
struct Loaded {
    text_encoder: Option<ClipTextModel>,
    denoiser: Option<UNet3d>,
    vae: Option<AutoencoderKl>,
}

impl Model {
    /// Reads the configurations and checks that they belong together.
    pub(crate) fn open(folder: ModelFolder, device: &Device) -> Result<Self, PipelineError> {
        let text = ClipTextConfig::from_component(&folder.component("text_encoder")?)?;
        let tokenizer = ClipTokenizer::from_component(&folder.component("tokenizer")?, text.max_position_embeddings)?;
        let unet = UNet3dConfig::from_component(&folder.component("unet")?)?;
        let vae = AutoencoderKlConfig::from_component(&folder.component("vae")?)?;
        let scheduler_config = folder.component("scheduler")?.json("scheduler_config.json")?;
        check(&text, &unet, &vae)?;
        Ok(Self {
            device: device.clone(),
            mode: MemoryMode::default(),
            vae_tiling: false,
            tokenizer,
            text,
            unet,
            vae,
            scheduler_config: Value::Object(scheduler_config),
            defaults: Defaults::read(&folder)?,
            prompt_table: PromptTable::read(&folder)?,
            learnt: Vec::new(),
            loaded: Loaded::default(),
            latent_to_rgb: None,
            folder,
        })
    }

    pub(crate) fn set_memory_mode(&mut self, mode: MemoryMode) {
        self.mode = mode;
        self.release();
    }

    pub(crate) fn set_vae_tiling(&mut self, tiled: bool) {
        self.vae_tiling = tiled;
        self.loaded.vae = None;
    }

    pub(crate) fn name(&self) -> &str {
        self.folder.name()
    }

    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    /// Loads every component that is not in memory yet.
    pub(crate) fn preload(&mut self) -> Result<(), PipelineError> {
        for part in [Part::TextEncoder, Part::Denoiser, Part::Vae] {
            self.load(part)?;
            self.release();
        }
        Ok(())
    }

    /// Whether a component is in memory.
    pub(crate) fn has(&self, part: Part) -> bool {
        match part {
            Part::TextEncoder => self.loaded.text_encoder.is_some(),
            Part::Denoiser => self.loaded.denoiser.is_some(),
            Part::Vae => self.loaded.vae.is_some(),
        }
    }

    pub(crate) fn load(&mut self, part: Part) -> Result<(), PipelineError> {
        match part {
            Part::TextEncoder => self.text_encoder().map(drop),
            Part::Denoiser => self.denoiser().map(drop),
            Part::Vae => self.vae().map(drop),
        }
    }

    /// Bytes of the weights in memory.
    pub(crate) fn loaded_bytes(&self) -> usize {
        let Loaded {
            text_encoder,
            denoiser,
            vae,
        } = &self.loaded;
        text_encoder.as_ref().map_or(0, parameter_bytes)
            + denoiser.as_ref().map_or(0, parameter_bytes)
            + vae.as_ref().map_or(0, parameter_bytes)
    }

    /// Frees what the memory mode does not keep. To be called between stages.
    pub(crate) fn release(&mut self) {
        if self.mode == MemoryMode::Sequential {
            self.loaded = Loaded::default();
        }
    }

    pub(crate) fn text_encoder(&mut self) -> Result<&ClipTextModel, PipelineError> {
        let (folder, device, learnt) = (&self.folder, &self.device, &self.learnt);
        filled(&mut self.loaded.text_encoder, || {
            let mut model = ClipTextModel::from_component(&folder.component("text_encoder")?, FLOAT, device)?;
            learnt
                .iter()
                .for_each(|(word, first)| word.write_to(&mut model, *first));
            Ok(model)
        })
    }

    /// Teaches tokenizer and text encoder a word.
    pub(crate) fn learn(&mut self, word: &TextualInversion) -> Result<(), PipelineError> {
        self.text_encoder()?;
        if let Some(text_encoder) = &mut self.loaded.text_encoder {
            let first = word.add_to(&mut self.tokenizer, text_encoder)?;
            self.learnt.push((word.clone(), first));
        }
        self.release();
        Ok(())
    }

    pub(crate) fn denoiser(&mut self) -> Result<&UNet3d, PipelineError> {
        let (folder, device) = (&self.folder, &self.device);
        filled(&mut self.loaded.denoiser, || {
            Ok(UNet3d::from_component(&folder.component("unet")?, FLOAT, device)?)
        })
    }

    pub(crate) fn vae(&mut self) -> Result<&AutoencoderKl, PipelineError> {
        let (folder, device, tiled) = (&self.folder, &self.device, self.vae_tiling);
        filled(&mut self.loaded.vae, || {
            let vae = AutoencoderKl::from_component(&folder.component("vae")?, FLOAT, device)?;
            Ok(vae.with_tiling(tiled))
        })
    }

    /// Pixels a latent stands for in each direction.
    pub(crate) fn scale_factor(&self) -> usize {
        self.vae.scale_factor()
    }

    /// Width and height where a request has none.
    pub(crate) fn default_size(&self) -> Option<[usize; 2]> {
        let factor = self.scale_factor();
        let trained = self.unet.sample_size();
        let width = self.defaults.width.or(trained.map(|[_, width]| width * factor))?;
        let height = self.defaults.height.or(trained.map(|[height, _]| height * factor))?;
        Some([width, height])
    }

    /// The scheduler of a request: the named one, or the checkpoint's own.
    pub(crate) fn scheduler_kind(&self, name: Option<&str>) -> Result<SchedulerKind, PipelineError> {
        Ok(match name.or(self.defaults.scheduler.as_deref()) {
            Some(name) => name.parse()?,
            None => t2v_schedulers::kind_of_config(&self.scheduler_config)?,
        })
    }

    /// A scheduler with the checkpoint's settings.
    pub(crate) fn scheduler(&self, kind: SchedulerKind) -> Result<Box<dyn Scheduler>, PipelineError> {
        Ok(t2v_schedulers::for_model(kind, &self.scheduler_config)?)
    }
}

/// What is in the slot, loaded where it is empty.
fn filled<T>(slot: &mut Option<T>, load: impl FnOnce() -> Result<T, PipelineError>) -> Result<&T, PipelineError> {
    let component = match slot.take() {
        Some(component) => component,
        None => load()?,
    };
    Ok(slot.insert(component))
}

fn check(text: &ClipTextConfig, unet: &UNet3dConfig, vae: &AutoencoderKlConfig) -> Result<(), PipelineError> {
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
