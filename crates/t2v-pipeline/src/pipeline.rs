//! A checkpoint that generates videos.

use std::{
    fmt,
    panic::{self, AssertUnwindSafe},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use t2v_text_encoder::TextualInversion;
#[cfg(feature = "embedded")]
use t2v_weights::ModelFolder;

use crate::{
    CancelToken, FolderModel, GenerateOptions, InitMedia, Latents, Limits, Lora, MemoryMode, PipelineError, Placement,
    Report, TextToVideoRequest, Video,
    checkpoint::Checkpoint,
    error::{is_too_large, panic_message},
    model::Model,
    plan::{Plan, Settings},
    registry::OpenedModel,
    run::Run,
    turns::{Turn, Turns},
};

/// A checkpoint, ready to generate any number of videos, one at a time.
///
/// Weights are read when they are first needed. It can be shared between threads, which then take turns, in the order in
/// which they came; a request is checked, and a waiting generation cancelled, at once.
pub struct Pipeline {
    checkpoint: Arc<Checkpoint>,
    model: Turns<Model>,
    loaded_bytes: Arc<AtomicUsize>,
    settings: Settings,
}

impl Pipeline {
    /// Opens a model folder in diffusers' layout, to run on a device. Requests and reports call it by the folder's own
    /// name. [`FolderModel`] says how its weights are read, a path says the usual; [`Placement`] says in which type it
    /// computes, a device says single precision.
    ///
    /// Configurations, the scheduler's too, and the tokenizer are read and checked now, weights when they are needed or at
    /// [`preload`](Self::preload).
    ///
    /// # Errors
    /// A folder or file that is missing, damaged or of an unknown kind; a type that the device can't compute in.
    pub fn from_dir(folder: impl Into<FolderModel>, on: impl Into<Placement>) -> Result<Self, PipelineError> {
        let opened = folder.into().open()?;
        let name = opened.folder.name().to_owned();
        Self::open(opened, &name, &on.into())
    }

    /// Opens tiny-world, the checkpoint inside this crate.
    ///
    /// # Errors
    /// A type that the device can't compute in.
    #[cfg(feature = "embedded")]
    pub fn embedded(on: impl Into<Placement>) -> Result<Self, PipelineError> {
        let name = crate::registry::EMBEDDED;
        let folder = ModelFolder::embedded(name, t2v_tiny_world::FILES)?;
        Self::open(folder.into(), name, &on.into())
    }

    /// Opens a folder under the name that requests have for it.
    pub(crate) fn open(opened: OpenedModel, name: &str, placement: &Placement) -> Result<Self, PipelineError> {
        let adapter = opened.motion_adapter.as_ref();
        let checkpoint = Arc::new(Checkpoint::open(&opened.folder, adapter, name, placement)?);
        let loaded_bytes: Arc<AtomicUsize> = Arc::default();
        Ok(Self {
            model: Turns::new(Model::new(Arc::clone(&checkpoint), Arc::clone(&loaded_bytes))?),
            checkpoint,
            loaded_bytes,
            settings: Settings::default(),
        })
    }

    /// Sets what stays in memory between stages and generations. Waits for generations under way.
    pub fn set_memory_mode(&self, mode: MemoryMode) {
        if let Ok(mut model) = self.take_turn(&CancelToken::new()) {
            model.set_memory_mode(mode);
        }
    }

    /// Sets whether frames larger than those of training pass the autoencoder in overlapping tiles where a request does not
    /// say ([`TextToVideoRequest::vae_tiling`]): less memory, slightly different frames. Off at first.
    pub fn set_vae_tiling(&self, tiled: bool) {
        self.settings.vae_tiling.store(tiled, Ordering::Relaxed);
    }

    /// Reads all weights now. In the sequential memory mode they are read, checked and dropped.
    ///
    /// # Errors
    /// Weights that are missing, damaged, or don't fit the configuration.
    pub fn preload(&self) -> Result<(), PipelineError> {
        self.preload_with(GenerateOptions::default())
    }

    /// As [`preload`](Self::preload), watched and stoppable: of `options` the progress and the cancel token count.
    ///
    /// ```no_run
    /// # use t2v_pipeline::{Device, GenerateOptions, Pipeline, PipelineError};
    /// # fn main() -> Result<(), PipelineError> {
    /// let pipeline = Pipeline::from_dir("models/zeroscope", &Device::flex())?;
    /// pipeline.preload_with(GenerateOptions::default().with_progress(|progress| {
    ///     let network = progress.component.unwrap_or_default();
    ///     println!("{network}: {} of {} bytes", progress.done, progress.total);
    /// }))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`preload`](Self::preload), and [`PipelineError::Cancelled`]: what was loaded before stays.
    pub fn preload_with(&self, options: GenerateOptions<'_>) -> Result<(), PipelineError> {
        self.take_turn(&options.cancel)?
            .guard(|model| Run::new(model, options).preload())
    }

    /// Bytes of the weights that are in memory now.
    #[must_use]
    pub fn loaded_bytes(&self) -> usize {
        self.loaded_bytes.load(Ordering::Relaxed)
    }

    /// Teaches the model a learnt word, for every generation from now on. Waits for generations under way.
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
        self.take_turn(&CancelToken::new())?.add_textual_inversion(embedding)?;
        self.settings.add_word(embedding.token(), false);
        Ok(())
    }

    /// Makes a LoRA known under a name, by which requests ask for it ([`TextToVideoRequest::with_lora`]); one that had the
    /// name before is forgotten. Whether it fits the model is found out by the first generation that uses it.
    /// Where a model has two transformers (Wan 2.2's A14B), the name of the file says which one it is for, by `high_noise` or `low_noise`; else it is the first.
    ///
    /// ```no_run
    /// # use t2v_pipeline::{Device, Lora, Pipeline, PipelineError, TextToVideoRequest};
    /// # fn main() -> Result<(), PipelineError> {
    /// let pipeline = Pipeline::from_dir("models/stable-diffusion-v1-5", &Device::flex())?;
    /// pipeline.add_lora("ink", Lora::open("ink.safetensors")?)?;
    /// let video = pipeline.generate(&TextToVideoRequest::new("a heron").with_lora("ink", 0.8))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The file can't be read to its end.
    pub fn add_lora(&self, name: impl Into<String>, lora: Lora) -> Result<(), PipelineError> {
        self.settings.loras.add(name.into(), lora)
    }

    /// Whether there is a LoRA of this name.
    #[must_use]
    pub fn has_lora(&self, name: &str) -> bool {
        self.settings.loras.has(name)
    }

    /// Whether there is a learnt word of this name.
    pub(crate) fn has_word(&self, name: &str) -> bool {
        self.settings.has_registered_word(name)
    }

    /// Adds a learnt word under a name of the registry's.
    pub(crate) fn add_word(&self, name: &str, word: &TextualInversion) -> Result<(), PipelineError> {
        self.add_textual_inversion(word)?;
        self.settings.add_word(name, true);
        Ok(())
    }

    /// Checks a request as [`generate`](Self::generate) does before it starts, without waiting for anything.
    ///
    /// # Errors
    /// All that the request asks for in vain.
    pub fn check(&self, request: &TextToVideoRequest) -> Result<(), PipelineError> {
        self.plan(request, &GenerateOptions::default()).map(drop)
    }

    /// What a generation of a request would use, every default filled in, and a seed drawn if it has none. Like
    /// [`check`](Self::check) it waits for nothing. Prompts are as they stand: they are completed by the generation.
    ///
    /// # Errors
    /// All that the request asks for in vain, given these pictures to start from.
    pub fn resolve(&self, request: &TextToVideoRequest, init: Option<&InitMedia>) -> Result<Report, PipelineError> {
        Ok(Plan::new(&self.checkpoint, request, init, &self.settings)?.report)
    }

    /// The width and height nearest to the given ones, in pixels, that a request to this model can have: of about the same
    /// shape where they are too large.
    #[must_use]
    pub fn nearest_size(&self, [width, height]: [u32; 2]) -> [u32; 2] {
        self.checkpoint.family.geometry().nearest_size([width, height])
    }

    /// The number of frames nearest to the given one that a request to this model can have.
    #[must_use]
    pub fn nearest_frames(&self, frames: u32) -> u32 {
        self.checkpoint.family.geometry().nearest_frames(frames)
    }

    /// The values that the fields of a request to this model may have.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits::of(self.checkpoint.family.geometry())
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
    /// As for [`generate`](Self::generate), and [`PipelineError::Cancelled`], also while it waits for its turn.
    pub fn generate_with(
        &self,
        request: &TextToVideoRequest,
        options: GenerateOptions<'_>,
    ) -> Result<Video, PipelineError> {
        let plan = self.plan(request, &options)?;
        self.take_turn(&options.cancel)?
            .guard(|model| Run::new(model, options).generate(plan))
    }

    /// Makes the video of latents that were kept from an earlier generation with this checkpoint.
    ///
    /// # Errors
    /// Latents of another checkpoint's kind, weights that can't be read, and [`PipelineError::Cancelled`].
    pub fn decode(&self, latents: &Latents, options: GenerateOptions<'_>) -> Result<Video, PipelineError> {
        let (found, expected) = (latents.shape()[1], self.checkpoint.family.geometry().channels);
        if found != expected {
            return Err(PipelineError::Checkpoint(format!(
                "the latents have {found} channels, the VAE takes {expected}"
            )));
        }
        let factor = self.checkpoint.family.geometry().spatial_factor;
        let made = [latents.shape()[4], latents.shape()[3]].map(|side| side * factor);
        let meant = [latents.report().width, latents.report().height];
        if made != meant.map(|side| side as usize) {
            return Err(PipelineError::Checkpoint(format!(
                "the latents are of {}x{} pixels, of which this VAE would make {}x{}: they are another model's",
                meant[0], meant[1], made[0], made[1]
            )));
        }
        self.take_turn(&options.cancel)?
            .guard(|model| Run::new(model, options).decode_latents(latents))
    }

    fn plan(&self, request: &TextToVideoRequest, options: &GenerateOptions<'_>) -> Result<Plan, PipelineError> {
        let mut plan = Plan::new(&self.checkpoint, request, options.init.as_ref(), &self.settings)?;
        plan.report.speed = request.speed.unwrap_or(options.speed);
        Ok(plan)
    }

    fn take_turn(&self, cancel: &CancelToken) -> Result<ModelTurn<'_>, PipelineError> {
        self.model.take(cancel).map(ModelTurn)
    }
}

/// The model, for one user at a time, who leaves behind in memory what the memory mode keeps.
struct ModelTurn<'a>(Turn<'a, Model>);

impl ModelTurn<'_> {
    /// Runs a generation. After a failure of the device nothing of the model stays in its memory: what follows has all of it,
    /// and starts from weights that are whole.
    ///
    /// Backends panic where they have no other way to say that memory is short; any other panic goes on.
    fn guard<T>(&mut self, run: impl FnOnce(&mut Model) -> Result<T, PipelineError>) -> Result<T, PipelineError> {
        let model = &mut *self.0;
        let result = panic::catch_unwind(AssertUnwindSafe(|| run(model)));
        let result = result.unwrap_or_else(|payload| {
            let message = panic_message(&*payload);
            match is_too_large(&message) {
                true => Err(PipelineError::of_device(&message)),
                false => panic::resume_unwind(payload),
            }
        });
        if let Err(PipelineError::TooLarge(_) | PipelineError::DeviceFailed(_)) = result {
            self.0.unload();
        }
        result
    }
}

impl std::ops::Deref for ModelTurn<'_> {
    type Target = Model;

    fn deref(&self) -> &Model {
        &self.0
    }
}

impl std::ops::DerefMut for ModelTurn<'_> {
    fn deref_mut(&mut self) -> &mut Model {
        &mut self.0
    }
}

impl Drop for ModelTurn<'_> {
    fn drop(&mut self) {
        self.0.release();
    }
}

impl fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline")
            .field("name", &self.checkpoint.name)
            .finish_non_exhaustive()
    }
}
