//! The networks of a checkpoint: loaded when they are used, kept as the memory mode says.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use burn::tensor::Device;
use t2v_text_encoder::TextualInversion;
use t2v_vae::LatentCodec;

use crate::{
    PipelineError,
    checkpoint::Checkpoint,
    family::{Loaded, LoadedDenoiser, PictureEncoder, TextConditioner},
    loras::ChosenLoras,
    preview::Previewer,
};

/// What of a checkpoint stays in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum MemoryMode {
    /// Each component from its first use on: the next generation starts at once.
    #[default]
    Resident,
    /// Only the component at work: the peak is about that of the largest, and each generation loads anew. Of two denoisers, as
    /// of Wan 2.2, one at a time.
    Sequential,
    /// As sequential, and of a transformer of Wan one block at a time: its blocks are read for each call, the next one while one
    /// computes, so that a model runs in less memory than its weights take. Videos are the same to the bit; a call takes at least
    /// the time to read the file. Other models are treated as in the sequential mode.
    Streamed,
}

/// What a generation uses a network as.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Slot {
    TextConditioner,
    /// Of families that are shown pictures.
    PictureEncoder,
    Denoiser,
    Codec,
}

impl Slot {
    pub(crate) const ALL: [Self; 4] = [Self::TextConditioner, Self::PictureEncoder, Self::Denoiser, Self::Codec];

    /// What it is called in progress.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::TextConditioner => "text encoder",
            Self::PictureEncoder => "picture encoder",
            Self::Denoiser => "denoiser",
            Self::Codec => "autoencoder",
        }
    }
}

/// A checkpoint in use.
pub(crate) struct Model {
    pub(crate) checkpoint: Arc<Checkpoint>,
    mode: MemoryMode,
    vae_tiling: bool,
    pub(crate) text: Box<dyn TextConditioner>,
    picture_encoder: Option<Loaded<Box<dyn PictureEncoder>>>,
    denoiser: Option<Box<dyn LoadedDenoiser>>,
    codec: Option<Loaded<Box<dyn LatentCodec>>>,
    /// What the networks that are in memory have, and those that are loaded get; none where a change of them went wrong.
    loras: Option<ChosenLoras>,
    /// Told the bytes of what is in memory, for those who ask while a generation runs.
    loaded_bytes: Arc<AtomicUsize>,
    /// Once previews were wanted; it is small, and stays.
    pub(crate) previewer: Option<Previewer>,
    /// What a GPU has kernels for: networks, each with the shape of its input.
    warm: HashSet<(Slot, [usize; 5])>,
}

impl Model {
    /// With vocabularies alone: networks are read when they are used.
    pub(crate) fn new(checkpoint: Arc<Checkpoint>, loaded_bytes: Arc<AtomicUsize>) -> Result<Self, PipelineError> {
        Ok(Self {
            text: checkpoint.family.text_conditioner()?,
            checkpoint,
            mode: MemoryMode::default(),
            vae_tiling: false,
            picture_encoder: None,
            denoiser: None,
            codec: None,
            loras: Some(ChosenLoras::default()),
            loaded_bytes,
            previewer: None,
            warm: HashSet::new(),
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
        if let Some(codec) = &mut self.codec {
            codec.network.set_tiling(tiled);
        }
    }

    pub(crate) fn is_loaded(&self, slot: Slot) -> bool {
        match slot {
            Slot::TextConditioner => self.text.loaded_bytes() > 0,
            Slot::PictureEncoder => self.picture_encoder.is_some() || !self.checkpoint.family.has_picture_encoder(),
            Slot::Denoiser => self.denoiser.is_some(),
            Slot::Codec => self.codec.is_some(),
        }
    }

    /// Whether a network's first run on a clip of this shape is ahead, for which a GPU compiles kernels; now it is at hand.
    pub(crate) fn is_cold(&mut self, slot: Slot, shape: [usize; 5]) -> bool {
        !t2v_kernels::is_cpu(self.device()) && self.warm.insert((slot, shape))
    }

    pub(crate) fn load(&mut self, slot: Slot) -> Result<(), PipelineError> {
        match slot {
            Slot::TextConditioner => self.text.load().map_err(|error| match (error, &self.loras) {
                (PipelineError::Weights(error), Some(loras)) => loras.fault(error),
                (error, _) => error,
            })?,
            Slot::PictureEncoder => self.picture_encoder().map(drop)?,
            Slot::Denoiser => self.denoiser().map(drop)?,
            Slot::Codec => self.codec().map(drop)?,
        }
        self.count();
        Ok(())
    }

    /// Frees what the memory mode does not keep. To be called between stages, and after a generation however it ended.
    pub(crate) fn release(&mut self) {
        if self.mode != MemoryMode::Resident {
            self.unload();
        }
        self.count();
    }

    /// Drops every network, and has the device free what it held for them.
    pub(crate) fn unload(&mut self) {
        self.text.unload();
        (self.picture_encoder, self.denoiser, self.codec) = (None, None, None);
        t2v_kernels::release_memory(self.device());
        self.count();
    }

    fn count(&self) {
        let bytes = self.text.loaded_bytes()
            + self.picture_encoder.as_ref().map_or(0, |encoder| encoder.bytes)
            + self.denoiser.as_ref().map_or(0, |denoiser| denoiser.bytes())
            + self.codec.as_ref().map_or(0, |codec| codec.bytes);
        self.loaded_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Adds a learnt word.
    pub(crate) fn add_textual_inversion(&mut self, word: &TextualInversion) -> Result<(), PipelineError> {
        self.text.add_textual_inversion(word)
    }

    /// The encoder of pictures, if the family has one.
    pub(crate) fn picture_encoder(&mut self) -> Result<Option<&dyn PictureEncoder>, PipelineError> {
        if self.picture_encoder.is_none() {
            self.picture_encoder = self.checkpoint.family.load_picture_encoder()?;
        }
        Ok(self.picture_encoder.as_ref().map(|encoder| &*encoder.network))
    }

    pub(crate) fn denoiser(&mut self) -> Result<&dyn LoadedDenoiser, PipelineError> {
        let loaded = get_or_load(&mut self.denoiser, || {
            let mut denoiser = self.checkpoint.family.load_denoiser(self.mode)?;
            if let Some(loras) = &self.loras {
                denoiser.set_loras(&loras.set).map_err(|e| loras.fault(e))?;
            }
            Ok(denoiser)
        })?;
        Ok(&**loaded)
    }

    /// Whether the networks have other LoRAs than these.
    pub(crate) fn has_other_loras(&self, loras: &ChosenLoras) -> bool {
        self.loras.as_ref() != Some(loras)
    }

    /// Gives the networks a set of LoRAs in place of the one before: those in memory now, the others when they are loaded.
    /// After an error it has to be done again, with whatever set comes next, before they are used.
    pub(crate) fn set_loras(&mut self, loras: &ChosenLoras) -> Result<(), PipelineError> {
        self.loras = None;
        self.text.set_loras(&loras.set).map_err(|e| loras.fault(e))?;
        if let Some(denoiser) = &mut self.denoiser {
            denoiser.set_loras(&loras.set).map_err(|e| loras.fault(e))?;
        }
        self.loras = Some(loras.clone());
        self.count();
        Ok(())
    }

    pub(crate) fn codec(&mut self) -> Result<&dyn LatentCodec, PipelineError> {
        let loaded = get_or_load(&mut self.codec, || {
            let mut codec = self.checkpoint.family.load_codec()?;
            codec.network.set_tiling(self.vae_tiling);
            Ok(codec)
        })?;
        Ok(&*loaded.network)
    }
}

fn get_or_load<T>(
    slot: &mut Option<T>,
    load: impl FnOnce() -> Result<T, PipelineError>,
) -> Result<&mut T, PipelineError> {
    let network = match slot.take() {
        Some(network) => network,
        None => load()?,
    };
    Ok(slot.insert(network))
}
