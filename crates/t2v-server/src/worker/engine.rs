//! What makes videos: the boundary between jobs and models.

use std::path::PathBuf;

use t2v_pipeline::{CancelToken, InitMedia, Limits, Report, TextToVideoRequest, ValidationError};

use crate::{job::OutputType, store::Live};

/// Makes videos from requests. Methods block, and are called on threads that may.
pub trait Engine: Send + Sync {
    /// Names of the models, the one of requests that name none first.
    fn models(&self) -> Vec<String>;

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

    /// Adds a model by its folder or hub id, in place of one of the same name. Nothing is read yet.
    ///
    /// # Errors
    /// What is wrong with the source, for the client.
    fn add_model(&self, name: &str, source: &str) -> Result<(), String>;

    /// Opens a model, which reads and checks its configuration.
    ///
    /// # Errors
    /// Why it can't be opened, for the operator.
    fn open_model(&self, name: &str) -> Result<(), String>;

    /// Takes a model away; whether there was one. A generation under way goes on.
    fn remove_model(&self, name: &str) -> bool;

    /// Drops what can be had again.
    fn clear_cache(&self);
}

/// A video to make.
pub struct Task<'a> {
    /// What is asked for, with its seed.
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

/// A video that was made.
#[derive(Debug, Clone)]
pub struct Rendered {
    /// What was really used.
    pub report: Report,
    /// The files, by what they are.
    pub files: Vec<(Variant, PathBuf)>,
}

/// The files of a video.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Variant {
    /// H.264 in MP4.
    Video,
    /// A picture of the middle of the video, WebP.
    Thumbnail,
    /// Pictures of the whole video side by side, JPEG.
    Spritesheet,
    /// The video as an animated GIF, where it was asked for.
    Gif,
}

impl Variant {
    /// Every variant.
    pub const ALL: [Self; 4] = [Self::Video, Self::Thumbnail, Self::Spritesheet, Self::Gif];

    /// The files of a job.
    #[must_use]
    pub fn of(output_type: OutputType) -> Vec<Self> {
        let is_made = |variant: &Self| *variant != Self::Gif || output_type == OutputType::Gif;
        Self::ALL.into_iter().filter(is_made).collect()
    }

    /// As OpenAI's API calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Video => "video",
            Self::Thumbnail => "thumbnail",
            Self::Spritesheet => "spritesheet",
            Self::Gif => "gif",
        }
    }

    /// The extension of its files.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::Video => "mp4",
            Self::Thumbnail => "webp",
            Self::Spritesheet => "jpg",
            Self::Gif => "gif",
        }
    }
}

impl From<OutputType> for Variant {
    /// The file that the URLs of the API of 2023 lead to.
    fn from(output_type: OutputType) -> Self {
        match output_type {
            OutputType::Mp4 => Self::Video,
            OutputType::Gif => Self::Gif,
        }
    }
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
