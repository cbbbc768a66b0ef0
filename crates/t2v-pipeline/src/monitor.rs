//! What the user of a generation is told of it, and says to it.

use std::time::{Duration, Instant};

use crate::{
    GenerateOptions, PipelineError, Preview, Progress, Stage, StageTimes, denoise::Call, family::Family,
    preview::Previewer,
};

/// Measures stages, tells progress and previews, and notices when it is to stop.
pub(crate) struct Monitor<'a> {
    pub(crate) options: GenerateOptions<'a>,
    /// The stage under way and its start.
    stage: (Stage, Instant),
    /// The network that is being loaded.
    component: Option<&'static str>,
    pub(crate) times: StageTimes,
    /// Whether the first part of the stage is a warm-up.
    is_cold: bool,
    /// How long that took, once it is over.
    warm_up: Option<Duration>,
    /// A cancelled generation that keeps what it has: it is not to be stopped once more.
    interrupted: bool,
}

impl<'a> Monitor<'a> {
    pub(crate) fn new(options: GenerateOptions<'a>) -> Self {
        Self {
            options,
            stage: (Stage::Loading, Instant::now()),
            component: None,
            times: StageTimes::new(),
            warm_up: None,
            is_cold: false,
            interrupted: false,
        }
    }

    pub(crate) fn begin(&mut self, stage: Stage) {
        self.stage = (stage, Instant::now());
        (self.is_cold, self.warm_up, self.component) = (false, None, None);
    }

    /// As [`begin`](Self::begin), of loading a network.
    pub(crate) fn begin_loading(&mut self, component: &'static str) {
        self.begin(Stage::Loading);
        self.component = Some(component);
    }

    /// As [`begin`](Self::begin), of a stage whose first part takes longer than the others if the device is cold.
    pub(crate) fn begin_cold(&mut self, stage: Stage, is_cold: bool) {
        self.begin(stage);
        self.is_cold = is_cold;
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
        if self.is_cold && done > 0 && self.warm_up.is_none() {
            self.warm_up = Some(start.elapsed());
        }
        if let Some(on_progress) = &mut self.options.on_progress {
            let elapsed = match done {
                0 => Duration::ZERO,
                _ => start.elapsed(),
            };
            on_progress(Progress {
                stage,
                component: self.component,
                done,
                total,
                elapsed,
                warming_up: self.is_cold && done == 0,
                warm_up: self.warm_up.unwrap_or_default(),
            });
        }
        self.check()
    }

    /// Whether it is to go on.
    ///
    /// # Errors
    /// It was cancelled, and not yet stopped for it.
    pub(crate) fn check(&self) -> Result<(), PipelineError> {
        match self.interrupted {
            true => Ok(()),
            false => self.options.cancel.check(),
        }
    }

    pub(crate) fn wants_previews(&self) -> bool {
        self.options.preview_every.is_some() && self.options.on_preview.is_some()
    }

    pub(crate) fn preview(
        &mut self,
        call: &Call<'_>,
        previewer: &Previewer,
        family: &dyn Family,
    ) -> Result<(), PipelineError> {
        let due = self
            .options
            .preview_every
            .is_some_and(|every| call.done.is_multiple_of(every.max(1)));
        if let (true, Some(clean), Some(on_preview)) = (due, call.clean, &mut self.options.on_preview) {
            on_preview(&Preview {
                done: call.done,
                total: call.total,
                frames: previewer.pictures(family.as_clip(clean.clone()))?,
            });
        }
        Ok(())
    }

    /// Whether a failure is a cancellation after which something is to be kept; if so, there is no stopping any more.
    pub(crate) fn keeps(&mut self, error: &PipelineError) -> bool {
        self.interrupted = self.options.keep_on_cancel && matches!(error, PipelineError::Cancelled);
        self.interrupted
    }
}
