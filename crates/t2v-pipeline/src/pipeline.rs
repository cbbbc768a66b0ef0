//! A checkpoint that generates videos.

use std::{
    fmt,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use burn::tensor::Device;
use t2v_text_encoder::TextualInversion;
use t2v_weights::ModelFolder;

use crate::{
    GenerateOptions, Latents, MemoryMode, PipelineError, TextToVideoRequest, Video, model::Model, plan::Plan, run::Run,
};

/// A checkpoint, ready to generate any number of videos, one at a time.
///
/// Weights are read when they are first needed. It can be shared between threads, which then take turns.
pub struct Pipeline {
    model: Mutex<Model>,
}

impl Pipeline {
    /// Opens a model folder in diffusers' layout, to run on `device` in single precision.
    ///
    /// Configurations are read and checked now, weights when they are needed or at [`preload`](Self::preload).
    ///
    /// # Errors
    /// A folder or file that is missing, damaged or of an unknown kind.
    pub fn from_dir(path: impl AsRef<Path>, device: &Device) -> Result<Self, PipelineError> {
        Self::open(ModelFolder::open(path)?, device)
    }

    /// Opens tiny-world, the checkpoint inside this crate.
    ///
    /// # Errors
    /// None that a user can mend.
    #[cfg(feature = "embedded")]
    pub fn embedded(device: &Device) -> Result<Self, PipelineError> {
        Self::open(ModelFolder::embedded("tiny-world", t2v_tiny_world::FILES)?, device)
    }

    pub(crate) fn open(folder: ModelFolder, device: &Device) -> Result<Self, PipelineError> {
        Ok(Self {
            model: Mutex::new(Model::open(folder, device)?),
        })
    }

    /// Sets what stays in memory between stages and generations.
    pub fn set_memory_mode(&self, mode: MemoryMode) {
        self.model().set_memory_mode(mode);
    }

    /// Sets whether frames larger than those of training pass the autoencoder in overlapping tiles: less memory,
    /// slightly different frames. Off at first.
    pub fn set_vae_tiling(&self, tiled: bool) {
        self.model().set_vae_tiling(tiled);
    }

    /// Reads all weights now. In the sequential memory mode they are read, checked and dropped.
    ///
    /// # Errors
    /// Weights that are missing, damaged, or don't fit the configuration.
    pub fn preload(&self) -> Result<(), PipelineError> {
        self.model().preload()
    }

    /// Bytes of the weights that are in memory now.
    #[must_use]
    pub fn loaded_bytes(&self) -> usize {
        self.model().loaded_bytes()
    }

    /// Teaches the model a learnt word, for every generation from now on; it waits for one under way.
    ///
    /// ```no_run
    /// # use t2v_pipeline::{Device, Pipeline, PipelineError, TextToVideoRequest, TextualInversion};
    /// # fn main() -> Result<(), PipelineError> {
    /// let pipeline = Pipeline::from_dir("models/zeroscope", &Device::flex())?;
    /// pipeline.add_textual_inversion(&TextualInversion::open("cat-toy.safetensors")?.with_token("<cat-toy>"))?;
    /// let video = pipeline.generate(&TextToVideoRequest::new("a <cat-toy> dancing"))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// An embedding of another model's width, or a word that the tokenizer knows already.
    pub fn add_textual_inversion(&self, embedding: &TextualInversion) -> Result<(), PipelineError> {
        self.model().learn(embedding)
    }

    /// Generates the video of a request.
    ///
    /// # Errors
    /// A request that asks for something impossible: all its faults at once. Weights that can't be read.
    pub fn generate(&self, request: &TextToVideoRequest) -> Result<Video, PipelineError> {
        self.generate_with(request, GenerateOptions::default())
    }

    /// Generates the video of a request, watched, stoppable, or from given pictures.
    ///
    /// # Errors
    /// As for [`generate`](Self::generate), and [`PipelineError::Cancelled`].
    pub fn generate_with(
        &self,
        request: &TextToVideoRequest,
        options: GenerateOptions<'_>,
    ) -> Result<Video, PipelineError> {
        let mut model = self.model();
        let plan = Plan::new(&model, request, options.init.as_ref())?;
        Run::new(&mut model, options).generate(plan)
    }

    /// Makes the video of latents that were kept from an earlier generation with this checkpoint.
    ///
    /// # Errors
    /// Latents of another checkpoint's kind, weights that can't be read, and [`PipelineError::Cancelled`].
    pub fn decode(&self, latents: &Latents, options: GenerateOptions<'_>) -> Result<Video, PipelineError> {
        let mut model = self.model();
        let (found, expected) = (latents.shape()[1], model.vae.latent_channels);
        if found != expected {
            return Err(PipelineError::Checkpoint(format!(
                "the latents have {found} channels, the VAE takes {expected}"
            )));
        }
        Run::new(&mut model, options).decode(latents)
    }

    /// The model, for one user at a time. A panic in an earlier generation left nothing half done in it.
    fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline").finish_non_exhaustive()
    }
}
