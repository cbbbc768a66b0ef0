//! How far the stages of a generation are, as one number.

use t2v_pipeline::{Progress, Stage};

use crate::job::JobProgress;

/// Turns the progress of stages into that of a job, which never goes back.
#[derive(Debug, Default)]
pub(super) struct Overall {
    percent: u8,
}

impl Overall {
    pub(super) fn follow(&mut self, progress: Progress) -> JobProgress {
        let (start, end) = share(progress.stage);
        let percent = start + (end - start) * progress.percentage() / 100.0;
        self.percent = self.percent.max(percent.clamp(0.0, 99.0) as u8);
        JobProgress {
            stage: progress.stage.to_string(),
            done: progress.done as u64,
            total: progress.total as u64,
            percent: self.percent,
            eta: progress.eta().map(|eta| eta.as_secs_f64()),
        }
    }
}

/// Where a stage begins and ends within the job, in percent: denoising takes most of the time.
fn share(stage: Stage) -> (f64, f64) {
    match stage {
        Stage::Loading => (0.0, 2.0),
        Stage::TextEncoding => (2.0, 3.0),
        Stage::Encoding => (3.0, 6.0),
        Stage::Inversion => (6.0, 45.0),
        Stage::Denoising => (6.0, 85.0),
        Stage::Decoding => (85.0, 99.0),
        // A stage of a later version.
        _ => (0.0, 0.0),
    }
}
