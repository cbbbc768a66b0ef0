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
    /// Weights of a component from disk, where they are not in memory yet.
    Loading,
    /// LoRAs taken off the weights in memory and others added.
    Adapting,
    /// Prompts to embeddings.
    TextEncoding,
    /// Pictures to start from to latents.
    Encoding,
    /// Latents of pictures to noise, with the scheduler `DDIMInverse`.
    Inversion,
    /// The denoising loop.
    Denoising,
    /// Latents to frames.
    Decoding,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stage::Loading => "loading",
            Stage::Adapting => "adapting",
            Stage::TextEncoding => "text encoding",
            Stage::Encoding => "encoding",
            Stage::Inversion => "inversion",
            Stage::Denoising => "denoising",
            Stage::Decoding => "decoding",
        })
    }
}

/// How far a stage is: `done` of `total` model calls or frames, and bytes of weights while a network is loaded.
///
/// Each network that is loaded is a stage [`Loading`](Stage::Loading) of its own. It begins with 0 of 0 bytes, as the headers of
/// the files are not read yet; then come, about ten times a second, the bytes that are read of those that the network takes of
/// its files, and at last all of them, when the network is there. Cancelling ends it within some megabytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// The stage.
    pub stage: Stage,
    /// The network that is being loaded: `text encoder`, `picture encoder`, `denoiser` or `autoencoder`.
    pub component: Option<&'static str>,
    /// Parts that are done: model calls, frames or, of weights, bytes.
    pub done: usize,
    /// Parts in all; 0 where that is not known yet.
    pub total: usize,
    /// Time since the stage began.
    pub elapsed: Duration,
    /// Whether a GPU is at a stage's first part of a size that this pipeline has not had before: it compiles kernels and
    /// measures which are fastest, which takes longer than the part itself.
    pub warming_up: bool,
    /// How much of the time went into a first part of that kind; [`eta`](Self::eta) leaves it out.
    pub warm_up: Duration,
}

impl Progress {
    /// How much of the stage is done, 0 to 100.
    #[must_use]
    pub fn percentage(&self) -> f64 {
        100.0 * self.done as f64 / self.total.max(1) as f64
    }

    /// What is left of the stage at the pace so far; unknown at its start, and after a first part that was a warm-up.
    #[must_use]
    pub fn eta(&self) -> Option<Duration> {
        let measured = self.done.checked_sub(usize::from(!self.warm_up.is_zero()))?;
        let share = self.total.saturating_sub(self.done) as f64 / measured as f64;
        (measured > 0).then(|| self.elapsed.saturating_sub(self.warm_up).mul_f64(share))
    }
}

/// Stops a generation from another thread, within one model call, or within some megabytes of weights.
#[derive(Debug, Clone, Default)]
pub struct CancelToken {
    cancelled: Arc<AtomicBool>,
    /// Those whose cancelling cancels this one, too.
    ancestors: Vec<Arc<AtomicBool>>,
}

impl CancelToken {
    /// A token that has not been used.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A token that is cancelled with this one, while cancelling it leaves this one as it is.
    #[must_use]
    pub fn child_token(&self) -> Self {
        let mut ancestors = self.ancestors.clone();
        ancestors.push(Arc::clone(&self.cancelled));
        Self {
            cancelled: Arc::default(),
            ancestors,
        }
    }

    /// Asks every generation that holds a clone or a child of this token to stop.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Whether [`cancel`](Self::cancel) was called, on this token or one that it is a child of.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        let mut flags = self.ancestors.iter().chain([&self.cancelled]);
        flags.any(|flag| flag.load(Ordering::Relaxed))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(done: usize, elapsed: u64, warm_up: u64) -> Progress {
        Progress {
            stage: Stage::Denoising,
            component: None,
            done,
            total: 10,
            elapsed: Duration::from_secs(elapsed),
            warming_up: false,
            warm_up: Duration::from_secs(warm_up),
        }
    }

    #[test]
    fn the_time_left_is_that_of_the_pace_so_far() {
        assert_eq!(progress(0, 0, 0).eta(), None);
        assert_eq!(progress(2, 4, 0).eta(), Some(Duration::from_secs(16)));
        assert_eq!(progress(10, 20, 0).eta(), Some(Duration::ZERO));
    }

    #[test]
    fn a_warm_up_says_nothing_of_the_time_left() {
        assert_eq!(progress(0, 90, 0).eta(), None);
        assert_eq!(progress(1, 100, 100).eta(), None);
        assert_eq!(progress(2, 102, 100).eta(), Some(Duration::from_secs(16)));
    }
}
