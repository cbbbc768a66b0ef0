//! The networks of a checkpoint: loaded when they are used, kept as the memory mode says.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use burn::{
    module::{Module, ModuleVisitor, Param},
    tensor::{DType, Device, Tensor},
};
use t2v_denoiser::UNet3d;
use t2v_text_encoder::{ClipTextModel, ClipTokenizer, TextualInversion};
use t2v_vae::AutoencoderKl;

use crate::{PipelineError, checkpoint::Checkpoint, preview::LatentToRgb};

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

/// A component that has weights.
#[derive(Clone, Copy)]
pub(crate) enum Network {
    TextEncoder,
    Denoiser,
    Vae,
}

impl Network {
    pub(crate) const ALL: [Self; 3] = [Self::TextEncoder, Self::Denoiser, Self::Vae];

    /// The component's name in `model_index.json`, which is that of its sub-folder.
    pub(crate) fn component(self) -> &'static str {
        match self {
            Self::TextEncoder => "text_encoder",
            Self::Denoiser => "unet",
            Self::Vae => "vae",
        }
    }
}

/// A checkpoint in use.
pub(crate) struct Model {
    pub(crate) checkpoint: Arc<Checkpoint>,
    mode: MemoryMode,
    vae_tiling: bool,
    pub(crate) tokenizer: ClipTokenizer,
    /// Learnt words that were added, each with its first token.
    textual_inversions: Vec<(TextualInversion, usize)>,
    text_encoder: Slot<ClipTextModel>,
    denoiser: Slot<UNet3d>,
    vae: Slot<AutoencoderKl>,
    /// For previews, once it is known.
    pub(crate) latent_to_rgb: Option<LatentToRgb>,
}

impl Model {
    /// Reads the tokenizer; networks are read when they are used. `loaded_bytes` is kept at the bytes of those in memory.
    pub(crate) fn new(checkpoint: Arc<Checkpoint>, loaded_bytes: &Arc<AtomicUsize>) -> Result<Self, PipelineError> {
        let tokenizer = checkpoint.folder.component("tokenizer")?;
        Ok(Self {
            tokenizer: ClipTokenizer::from_component(&tokenizer, checkpoint.text.max_position_embeddings)?,
            checkpoint,
            mode: MemoryMode::default(),
            vae_tiling: false,
            textual_inversions: Vec::new(),
            text_encoder: Slot::new(loaded_bytes),
            denoiser: Slot::new(loaded_bytes),
            vae: Slot::new(loaded_bytes),
            latent_to_rgb: None,
        })
    }

    pub(crate) fn device(&self) -> &Device {
        &self.checkpoint.device
    }

    pub(crate) fn set_memory_mode(&mut self, mode: MemoryMode) {
        self.mode = mode;
        self.release();
    }

    /// Sets whether the autoencoder works in tiles.
    pub(crate) fn set_vae_tiling(&mut self, tiled: bool) {
        self.vae_tiling = tiled;
        self.vae.network = self.vae.network.take().map(|vae| vae.with_tiling(tiled));
    }

    /// Loads every network that is not in memory yet.
    pub(crate) fn preload(&mut self) -> Result<(), PipelineError> {
        for network in Network::ALL {
            self.load(network)?;
            self.release();
        }
        Ok(())
    }

    pub(crate) fn is_loaded(&self, network: Network) -> bool {
        match network {
            Network::TextEncoder => self.text_encoder.is_loaded(),
            Network::Denoiser => self.denoiser.is_loaded(),
            Network::Vae => self.vae.is_loaded(),
        }
    }

    pub(crate) fn load(&mut self, network: Network) -> Result<(), PipelineError> {
        match network {
            Network::TextEncoder => self.text_encoder().map(drop),
            Network::Denoiser => self.denoiser().map(drop),
            Network::Vae => self.vae().map(drop),
        }
    }

    /// Frees what the memory mode does not keep. To be called between stages, and after a generation however it ended.
    pub(crate) fn release(&mut self) {
        if self.mode == MemoryMode::Sequential {
            self.text_encoder.clear();
            self.denoiser.clear();
            self.vae.clear();
        }
    }

    pub(crate) fn text_encoder(&mut self) -> Result<&ClipTextModel, PipelineError> {
        let Checkpoint { folder, device, .. } = &*self.checkpoint;
        self.text_encoder.get_or_load(|| {
            let mut model = ClipTextModel::from_component(&folder.component("text_encoder")?, FLOAT, device)?;
            for (word, first) in &self.textual_inversions {
                word.write_to(&mut model, *first);
            }
            Ok(model)
        })
    }

    /// Adds a learnt word to tokenizer and text encoder.
    pub(crate) fn add_textual_inversion(&mut self, word: &TextualInversion) -> Result<(), PipelineError> {
        self.text_encoder()?;
        if let Some(text_encoder) = &mut self.text_encoder.network {
            let first = word.add_to(&mut self.tokenizer, text_encoder)?;
            self.textual_inversions.push((word.clone(), first));
        }
        self.release();
        Ok(())
    }

    /// The learnt words that a text has.
    pub(crate) fn learnt_words_in(&self, text: &str) -> impl Iterator<Item = &str> {
        let text = text.to_lowercase();
        let words = self.textual_inversions.iter().map(|(word, _)| word.token());
        words.filter(move |word| text.contains(&word.to_lowercase()))
    }

    pub(crate) fn denoiser(&mut self) -> Result<&UNet3d, PipelineError> {
        let Checkpoint { folder, device, .. } = &*self.checkpoint;
        self.denoiser
            .get_or_load(|| Ok(UNet3d::from_component(&folder.component("unet")?, FLOAT, device)?))
    }

    pub(crate) fn vae(&mut self) -> Result<&AutoencoderKl, PipelineError> {
        let Checkpoint { folder, device, .. } = &*self.checkpoint;
        self.vae.get_or_load(|| {
            let vae = AutoencoderKl::from_component(&folder.component("vae")?, FLOAT, device)?;
            Ok(vae.with_tiling(self.vae_tiling))
        })
    }
}

/// Room for a network, whose parameters' bytes are counted while it is there.
struct Slot<T: Module> {
    network: Option<T>,
    loaded_bytes: Arc<AtomicUsize>,
}

impl<T: Module> Slot<T> {
    fn new(loaded_bytes: &Arc<AtomicUsize>) -> Self {
        Self {
            network: None,
            loaded_bytes: Arc::clone(loaded_bytes),
        }
    }

    fn is_loaded(&self) -> bool {
        self.network.is_some()
    }

    fn get_or_load(&mut self, load: impl FnOnce() -> Result<T, PipelineError>) -> Result<&T, PipelineError> {
        let network = match self.network.take() {
            Some(network) => network,
            None => {
                let network = load()?;
                self.loaded_bytes
                    .fetch_add(parameter_bytes(&network), Ordering::Relaxed);
                network
            }
        };
        Ok(self.network.insert(network))
    }

    fn clear(&mut self) {
        if let Some(network) = self.network.take() {
            self.loaded_bytes
                .fetch_sub(parameter_bytes(&network), Ordering::Relaxed);
        }
    }
}

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
