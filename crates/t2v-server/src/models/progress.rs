//! How far the stages of a generation are, as one number.

use t2v_pipeline::{Progress, Stage};

use crate::job::JobProgress;

/// Turns the progress of stages into that of a job, which never goes back.
#[derive(Debug)]
pub(super) struct Overall {
    percent: u8,
    /// Of all generations of the job, those before this one and those in all.
    part: (usize, usize),
}

impl Overall {
    /// Of the generation with a number from 0 of so many.
    pub(super) fn of_part(number: usize, count: usize) -> Self {
        Self {
            percent: 0,
            part: (number, count.max(1)),
        }
    }

    pub(super) fn follow(&mut self, progress: Progress) -> JobProgress {
        let (start, end) = share(progress.stage);
        let percent = start + (end - start) * progress.percentage() / 100.0;
        let (number, count) = self.part;
        let percent = (number as f64 * 100.0 + percent) / count as f64;
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
