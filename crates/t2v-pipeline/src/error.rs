//! What can go wrong between a request and its video.

use crate::ValidationError;

/// Why there is no video.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PipelineError {
    /// The request asks for something impossible; every fault is in it.
    #[error(transparent)]
    Request(#[from] ValidationError),
    /// The name of a device is unknown, or its backend was not compiled in.
    #[error("{0}")]
    Device(String),
    /// The components of a checkpoint don't fit together.
    #[error("the checkpoint's components do not fit together: {0}")]
    Checkpoint(String),
    /// Pictures to start from can't be used.
    #[error("cannot use `{path}` to start from: {reason}")]
    InitMedia {
        /// The file or folder.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Latents can't be written or read.
    #[error("cannot use `{path}` for latents: {reason}")]
    Latents {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A bug: the generation's thread panicked. The pipeline can still be used.
    #[error("the generation panicked: {0}")]
    Panicked(String),
    /// A table that completes prompts can't be used.
    #[error("the prompt table `{file}` cannot be used: {reason}")]
    PromptTable {
        /// The file.
        file: String,
        /// The key at fault, and what would be right.
        reason: String,
    },
    /// An enhancer could not complete a prompt.
    #[error("the prompt could not be completed: {0}")]
    Enhancer(String),
    /// The generation was cancelled.
    #[error("the generation was cancelled")]
    Cancelled,
    /// The model folder can't be read.
    #[error(transparent)]
    Weights(#[from] t2v_weights::WeightsError),
    /// The text encoder or its tokenizer can't be used.
    #[error(transparent)]
    TextEncoder(#[from] t2v_text_encoder::TextEncoderError),
    /// The denoiser can't be used.
    #[error(transparent)]
    Denoiser(#[from] t2v_denoiser::DenoiserError),
    /// The scheduler can't be used.
    #[error(transparent)]
    Scheduler(#[from] t2v_schedulers::SchedulerError),
    /// The autoencoder can't be used.
    #[error(transparent)]
    Vae(#[from] t2v_vae::VaeError),
    /// The video can't be written.
    #[error(transparent)]
    Mp4(#[from] t2v_mp4::Mp4Error),
}
