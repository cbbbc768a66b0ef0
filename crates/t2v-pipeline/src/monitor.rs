//! What the user of a generation is told of it, and says to it.

use std::time::{Duration, Instant};

use crate::{
    GenerateOptions, PipelineError, Preview, Progress, Stage, StageTimes, denoise::Call, family::Family,
    preview::LatentToRgb,
};

/// Measures stages, tells progress and previews, and notices when it is to stop.
pub(crate) struct Monitor<'a> {
    pub(crate) options: GenerateOptions<'a>,
    /// The stage under way and its start.
    stage: (Stage, Instant),
    pub(crate) times: StageTimes,
    /// A cancelled generation that keeps what it has: it is not to be stopped once more.
    interrupted: bool,
}

impl<'a> Monitor<'a> {
    pub(crate) fn new(options: GenerateOptions<'a>) -> Self {
        Self {
            options,
            stage: (Stage::Loading, Instant::now()),
            times: StageTimes::new(),
            interrupted: false,
        }
    }

    pub(crate) fn begin(&mut self, stage: Stage) {
        self.stage = (stage, Instant::now());
    }

    pub(crate) fn end(&mut self) {
        let (stage, start) = self.stage;
        match self.times.iter_mut().find(|(known, _)| *known == stage) {
            Some((_, time)) => *time += start.elapsed(),
            None => self.times.push((stage, start.elapsed())),
        }
    }

    /// Reports progress, and stops here if that was asked for.
    pub(crate) fn advance(&mut self, done: usize, total: usize) -> Result<(), PipelineError> {
        let (stage, start) = self.stage;
        if let Some(on_progress) = &mut self.options.on_progress {
            let elapsed = match done {
                0 => Duration::ZERO,
                _ => start.elapsed(),
            };
            on_progress(Progress {
                stage,
                done,
                total,
                elapsed,
            });
        }
        match self.interrupted {
            true => Ok(()),
            false => self.options.cancel.check(),
        }
    }

    pub(crate) fn wants_previews(&self) -> bool {
        self.options.preview_every.is_some() && self.options.on_preview.is_some()
    }

    pub(crate) fn preview(&mut self, call: &Call<'_>, projection: &LatentToRgb, family: &dyn Family) {
        let due = self
            .options
            .preview_every
            .is_some_and(|every| call.done.is_multiple_of(every.max(1)));
        if let (true, Some(clean), Some(on_preview)) = (due, call.clean, &mut self.options.on_preview) {
            on_preview(&Preview {
                done: call.done,
                total: call.total,
                frames: projection.pictures(family.as_clip(clean.clone())),
            });
        }
    }

    /// Whether a failure is a cancellation after which something is to be kept; if so, there is no stopping any more.
    pub(crate) fn keeps(&mut self, error: &PipelineError) -> bool {
        self.interrupted = self.options.keep_on_cancel && matches!(error, PipelineError::Cancelled);
        self.interrupted
    }
}
