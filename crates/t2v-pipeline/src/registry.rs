//! Models by name: registered ones, the embedded one, those of the Hugging Face Hub.
//!
//! A name is looked up and never joined to a path, so a `model_id` that comes with a request opens only what was
//! registered.

mod additions;
mod lru;
mod source;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
};

use additions::Additions;
use lru::Lru;
pub use source::{FolderModel, ModelSource};
pub(crate) use source::{MotionAdapter, OpenedModel};
use t2v_hub::{Hub, HubModel};

use crate::{GenerateOptions, InitMedia, Pipeline, PipelineError, Placement, Report, TextToVideoRequest, Video};

/// Name of the checkpoint inside this crate.
#[cfg(feature = "embedded")]
pub(crate) const EMBEDDED: &str = "tiny-world";

/// Models by name, loaded when they are first asked for and shared from then on.
///
/// The checkpoint inside this crate is registered as `tiny-world`. Everything may be called from any number of threads:
/// a model that two ask for at once is loaded once.
///
/// ```no_run
/// use t2v_pipeline::{Device, FolderModel, HubModel, ModelRegistry, TextToVideoRequest};
///
/// # fn main() -> Result<(), t2v_pipeline::PipelineError> {
/// let registry = ModelRegistry::new(&Device::flex())
///     .with_model("zeroscope", FolderModel::new("models/zeroscope_v2_576w").with_variant("fp16"))
///     .with_model("modelscope", HubModel::new("ali-vilab/text-to-video-ms-1.7b")?.with_variant("fp16"))
///     .with_memory_budget(16 << 30);
/// let request = TextToVideoRequest::new("a red ball").with_model_id("zeroscope");
/// registry.generate(&request)?.save("ball.mp4")?;
/// # Ok(())
/// # }
/// ```
pub struct ModelRegistry {
    placement: Placement,
    sources: RwLock<BTreeMap<String, ModelSource>>,
    additions: Additions,
    default: Option<String>,
    hub: Hub,
    any_hub_model: bool,
    loaded: Lru<Pipeline>,
}

impl ModelRegistry {
    /// A registry of the embedded checkpoint alone, whose models run on a device, in the type that a [`Placement`] says.
    #[must_use]
    pub fn new(on: impl Into<Placement>) -> Self {
        let registry = Self {
            placement: on.into(),
            sources: RwLock::default(),
            additions: Additions::default(),
            default: None,
            hub: Hub::from_env(),
            any_hub_model: false,
            loaded: Lru::new(None),
        };
        #[cfg(feature = "embedded")]
        registry.insert(EMBEDDED, ModelSource::Embedded);
        registry
    }

    /// Registers a model folder or a [`HubModel`] under a name, in place of what had the name before. Nothing is read
    /// yet.
    #[must_use]
    pub fn with_model(self, name: impl Into<String>, source: impl Into<ModelSource>) -> Self {
        self.insert(name, source);
        self
    }

    /// Sets the model of requests without a `model_id`; otherwise it is `tiny-world`, or else the only one there is.
    #[must_use]
    pub fn with_default_model(mut self, name: impl Into<String>) -> Self {
        self.default = Some(name.into());
        self
    }

    /// Keeps loaded models up to this many bytes of parameters; without a budget all are kept.
    ///
    /// Room is made before a model is loaded: the least recently used ones are dropped. One that is in use is dropped
    /// when its users are done, so the memory in use may exceed the budget for that long.
    #[must_use]
    pub fn with_memory_budget(mut self, bytes: u64) -> Self {
        self.loaded = Lru::new(Some(bytes));
        self
    }

    /// Sets how models of the Hugging Face Hub are reached; otherwise as [`Hub::from_env`] says.
    #[must_use]
    pub fn with_hub(mut self, hub: Hub) -> Self {
        self.hub = hub;
        self
    }

    /// Takes any hub id `owner/name` for a model, registered or not. A request can then have a model downloaded.
    #[must_use]
    pub fn with_any_hub_model(mut self) -> Self {
        self.any_hub_model = true;
        self
    }

    /// Like [`with_model`](Self::with_model), while the registry is in use.
    pub fn insert(&self, name: impl Into<String>, source: impl Into<ModelSource>) {
        let name = name.into();
        let mut sources = self.sources.write().unwrap_or_else(PoisonError::into_inner);
        self.loaded.remove(&name);
        sources.insert(name, source.into());
    }

    /// Takes a name away; whether there was one. A generation under way goes on.
    pub fn remove(&self, name: &str) -> bool {
        let mut sources = self.sources.write().unwrap_or_else(PoisonError::into_inner);
        self.loaded.remove(name);
        t2v_kernels::release_memory(self.placement.device());
        sources.remove(name).is_some()
    }

    /// The registered names, sorted.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let sources = self.sources.read().unwrap_or_else(PoisonError::into_inner);
        sources.keys().cloned().collect()
    }

    /// Names of the open models, each with the bytes that its parameters take once all are loaded, which is what the
    /// memory budget counts. [`Pipeline::loaded_bytes`] tells how many are in memory.
    #[must_use]
    pub fn loaded(&self) -> Vec<(String, u64)> {
        self.loaded.loaded()
    }

    /// Drops every open model; those in use when their users are done.
    pub fn clear(&self) {
        self.loaded.clear();
        t2v_kernels::release_memory(self.placement.device());
    }

    /// The model `id`, loaded if it is not yet.
    ///
    /// # Errors
    /// An unknown id, which lists the names that are known; a model that can't be loaded.
    pub fn pipeline(&self, id: &str) -> Result<Arc<Pipeline>, PipelineError> {
        // Before anything is kept under the name, since it may come from anybody.
        self.source(id)?;
        self.loaded.get_or_load(id, || {
            let folder = self.source(id)?.open(&self.hub)?;
            let bytes = folder.weight_bytes(&self.placement)?;
            Ok((bytes, move || Pipeline::open(folder, id, &self.placement)))
        })
    }

    /// The model of a request: that of its `model_id`, or the default.
    ///
    /// # Errors
    /// As for [`pipeline`](Self::pipeline); LoRAs and learnt words that the request names and that are unknown or can't be read.
    pub fn pipeline_for(&self, request: &TextToVideoRequest) -> Result<Arc<Pipeline>, PipelineError> {
        let pipeline = self.model_of(request)?;
        self.additions.add_to(&pipeline, request)?;
        Ok(pipeline)
    }

    /// What a generation of a request would use with the model that it names, as [`Pipeline::resolve`] tells it.
    ///
    /// # Errors
    /// As for [`pipeline_for`](Self::pipeline_for) and [`Pipeline::resolve`]; faults of the request are told all at once.
    pub fn resolve(&self, request: &TextToVideoRequest, init: Option<&InitMedia>) -> Result<Report, PipelineError> {
        let pipeline = self.model_of(request)?;
        let mut faults = match self.additions.add_to(&pipeline, request) {
            Ok(()) => return pipeline.resolve(request, init),
            Err(PipelineError::Request(faults)) => faults,
            Err(other) => return Err(other),
        };
        // Of names the registry knows more than the pipeline, so what it says of them stays.
        if let Err(PipelineError::Request(others)) = pipeline.resolve(request, init) {
            faults.merge(others);
        }
        Err(faults.into())
    }

    fn model_of(&self, request: &TextToVideoRequest) -> Result<Arc<Pipeline>, PipelineError> {
        match &request.model_id {
            Some(id) => self.pipeline(id),
            None => self.pipeline(&self.default_name()?),
        }
    }

    /// Registers a LoRA under a name, by which requests ask for it of any model. Nothing is read yet.
    #[must_use]
    pub fn with_lora(self, name: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        self.insert_lora(name, path);
        self
    }

    /// Like [`with_lora`](Self::with_lora), while the registry is in use. Models that are open keep one that had the name before.
    pub fn insert_lora(&self, name: impl Into<String>, path: impl Into<PathBuf>) {
        self.additions.insert_lora(name.into(), path.into());
    }

    /// Registers a learnt word under a name, by which requests ask for it of any model. Nothing is read yet.
    #[must_use]
    pub fn with_textual_inversion(self, name: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        self.insert_textual_inversion(name, path);
        self
    }

    /// Like [`with_textual_inversion`](Self::with_textual_inversion), while the registry is in use.
    pub fn insert_textual_inversion(&self, name: impl Into<String>, path: impl Into<PathBuf>) {
        self.additions.insert_textual_inversion(name.into(), path.into());
    }

    /// Takes the name of a LoRA away; whether there was one. Models that are open keep it until [`clear`](Self::clear).
    pub fn remove_lora(&self, name: &str) -> bool {
        self.additions.remove_lora(name)
    }

    /// Takes the name of a learnt word away; whether there was one. Models that are open keep it until [`clear`](Self::clear).
    pub fn remove_textual_inversion(&self, name: &str) -> bool {
        self.additions.remove_textual_inversion(name)
    }

    /// Names of the registered LoRAs, sorted.
    #[must_use]
    pub fn loras(&self) -> Vec<String> {
        self.additions.loras()
    }

    /// Names of the registered learnt words, sorted.
    #[must_use]
    pub fn textual_inversions(&self) -> Vec<String> {
        self.additions.textual_inversions()
    }

    /// Generates the video of a request with the model that it names.
    ///
    /// # Errors
    /// As for [`pipeline`](Self::pipeline) and [`Pipeline::generate`]; the request's own faults come first.
    pub fn generate(&self, request: &TextToVideoRequest) -> Result<Video, PipelineError> {
        self.generate_with(request, GenerateOptions::default())
    }

    /// Like [`generate`](Self::generate), watched, stoppable, or from given pictures.
    ///
    /// # Errors
    /// As for [`generate`](Self::generate), and [`PipelineError::Cancelled`].
    pub fn generate_with(
        &self,
        request: &TextToVideoRequest,
        options: GenerateOptions<'_>,
    ) -> Result<Video, PipelineError> {
        request.validate()?;
        self.pipeline_for(request)?.generate_with(request, options)
    }

    fn source(&self, id: &str) -> Result<ModelSource, PipelineError> {
        let sources = self.sources.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(source) = sources.get(id) {
            return Ok(source.clone());
        }
        if self.any_hub_model && t2v_hub::is_hub_id(id) {
            return Ok(HubModel::new(id)?.into());
        }
        let mut known: Vec<&str> = sources.keys().map(String::as_str).collect();
        if self.any_hub_model {
            known.push("owner/name of the Hugging Face Hub");
        }
        Err(PipelineError::unknown_model(id, &known))
    }

    fn default_name(&self) -> Result<String, PipelineError> {
        if let Some(name) = &self.default {
            return Ok(name.clone());
        }
        let names = self.names();
        #[cfg(feature = "embedded")]
        if names.iter().any(|name| name == EMBEDDED) {
            return Ok(EMBEDDED.into());
        }
        match names.as_slice() {
            [name] => Ok(name.clone()),
            _ => {
                let mut faults = crate::ValidationError::default();
                let known = names.join(", ");
                faults.add("model_id", format!("The model id is required; known are {known}."));
                Err(faults.into())
            }
        }
    }
}
