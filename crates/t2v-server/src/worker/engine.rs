//! What makes videos and pictures: the boundary between jobs and models.

mod entry;
mod variant;

use std::path::PathBuf;

use t2v_pipeline::{CancelToken, InitMedia, Limits, Report, TextToVideoRequest, ValidationError};

pub use entry::{Entry, EntryKind};
pub use variant::{MOST_SAMPLES, Variant};

use crate::{job::Medium, store::Live};

/// Makes videos and pictures from requests. Methods block, and are called on threads that may.
pub trait Engine: Send + Sync {
    /// Names of the models, the one of requests that name none first.
    fn models(&self) -> Vec<String>;

    /// What a model makes.
    ///
    /// # Errors
    /// A model that there is not, or can't be opened.
    fn medium(&self, _model: Option<&str>) -> Result<Medium, EngineError> {
        Ok(Medium::Video)
    }

    /// Names of the models that make videos, or pictures, as far as that is known without a download.
    fn models_for(&self, medium: Medium) -> Vec<String> {
        match medium {
            Medium::Video => self.models(),
            Medium::Picture => Vec::new(),
        }
    }

    /// Everything that has a name: the models, and what requests add to them. Kinds are those of [`Entry`].
    fn names(&self) -> Vec<(String, EntryKind)> {
        let models = self.models().into_iter();
        models.map(|name| (name, EntryKind::Model)).collect()
    }

    /// What a request comes to, every default filled in and its seed drawn.
    ///
    /// # Errors
    /// A model that there is not, or all that the request asks for in vain.
    fn resolve(&self, request: &TextToVideoRequest, init: Option<&InitMedia>) -> Result<Report, EngineError>;

    /// The width, height and number of frames nearest to the given ones that a model can make.
    ///
    /// # Errors
    /// A model that there is not.
    fn nearest(&self, model: Option<&str>, size: [u32; 2], frames: u32) -> Result<([u32; 2], u32), EngineError>;

    /// The values that the fields of a request to a model may have; `None`: this engine can't say.
    ///
    /// # Errors
    /// A model that there is not.
    fn limits(&self, _model: &str) -> Result<Option<Limits>, EngineError> {
        Ok(None)
    }

    /// Whether its models can be opened now.
    ///
    /// # Errors
    /// Why not, for the operator.
    fn check(&self) -> Result<(), String>;

    /// Makes a video.
    ///
    /// # Errors
    /// Why there is none.
    fn render(&self, task: Task<'_>) -> Result<Rendered, EngineError>;

    /// Adds a model, or what requests may add to models, in place of what had the name before. Nothing is read yet.
    ///
    /// # Errors
    /// What is wrong with the source, for the client.
    fn add_model(&self, name: &str, entry: &Entry) -> Result<(), String>;

    /// Opens what has a name: of a model its configuration is read and checked, of anything else the whole file.
    ///
    /// # Errors
    /// Why it can't be opened, for the operator.
    fn open_model(&self, name: &str) -> Result<(), String>;

    /// Takes a name away; whether there was one. A generation under way goes on.
    fn remove_model(&self, name: &str) -> bool;

    /// Drops what can be had again.
    fn clear_cache(&self);
}

/// A video or pictures to make.
pub struct Task<'a> {
    /// What is asked for, with its seed; each further picture has the next one.
    pub request: TextToVideoRequest,
    /// What it starts from.
    pub init: Option<InitMedia>,
    /// An empty folder for the files.
    pub folder: PathBuf,
    /// The files to make.
    pub variants: Vec<Variant>,
    /// Stops it.
    pub cancel: CancelToken,
    /// Is told how far it is.
    pub on_live: Box<dyn FnMut(Live) + Send + 'a>,
}

/// What was made.
#[derive(Debug, Clone)]
pub struct Rendered {
    /// What was really used; of several pictures, for the first.
    pub report: Report,
    /// The files, by what they are.
    pub files: Vec<(Variant, PathBuf)>,
}

/// Why there is no video.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The request asks for what can't be done.
    #[error(transparent)]
    Request(#[from] ValidationError),
    /// There is no such model.
    #[error("the model `{0}` is not known")]
    UnknownModel(String),
    /// The generation went wrong, and would again.
    #[error("{public}")]
    Failed {
        /// For the client: nothing of this machine is in it.
        public: String,
        /// For the log.
        detail: String,
    },
    /// Something that the engine needs is missing, and may come back: the job waits for it.
    #[error("{0}")]
    Unavailable(String),
    /// It was cancelled.
    #[error("the generation was cancelled")]
    Cancelled,
}
