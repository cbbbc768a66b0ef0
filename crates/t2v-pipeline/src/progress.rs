//! How a generation is watched and stopped.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::PipelineError;

/// The parts of a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// Prompts to embeddings.
    TextEncoding,
    /// Pictures to start from to latents.
    Encoding,
    /// The denoising loop.
    Denoising,
    /// Latents to frames.
    Decoding,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stage::TextEncoding => "text encoding",
            Stage::Encoding => "encoding",
            Stage::Denoising => "denoising",
            Stage::Decoding => "decoding",
        })
    }
}

/// How far a stage is: `done` of `total` model calls or frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The stage.
    pub stage: Stage,
    /// Parts that are done.
    pub done: usize,
    /// Parts in all.
    pub total: usize,
}

/// Stops a generation from another thread, within one model call.
#[derive(Debug, Clone, Default)]
pub struct CancelToken(Arc<AtomicBool>);

impl CancelToken {
    /// A token that has not been used.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks every generation that holds a clone of this token to stop.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether [`cancel`](Self::cancel) was called.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn check(&self) -> Result<(), PipelineError> {
        if self.is_cancelled() {
            Err(PipelineError::Cancelled)
        } else {
            Ok(())
        }
    }
}

/// How long each stage took, in the order they ran.
pub type StageTimes = Vec<(Stage, Duration)>;
