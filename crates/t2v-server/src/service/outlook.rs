//! When jobs are expected to end: what they have to compute, at the pace of the last ones with their model at their speed.

use super::{Service, ServiceError};
use crate::{
    document::Outlook,
    job::{Job, JobId, State, work},
    store::{Ahead, Counts},
};

/// How much of the jobs that run is left, as they are met at any time.
const LEFT_OF_RUNNING: f64 = 0.5;

impl Service {
    /// When a job is expected to end. Size, frames, steps and speed count, of this job and of those before it.
    ///
    /// # Errors
    /// A database that is gone.
    pub async fn outlook(&self, job: &Job) -> Result<Outlook, ServiceError> {
        if job.state.is_final() {
            return Ok(Outlook::default());
        }
        let pace = self.store.pace(&job.parameters.model_id, job.parameters.speed).await?;
        let own = pace.map(|pace| pace * work(&job.parameters, job.samples) as f64);
        if job.state == State::Running {
            let percent = job.progress.as_ref().map_or(0, |progress| progress.percent);
            let left = 1.0 - f64::from(percent) / 100.0;
            return Ok(Outlook {
                position: None,
                eta: own.map(|own| own * left),
            });
        }
        let ahead = self.store.ahead(job.id).await?;
        let before = self.time(&ahead).await?;
        Ok(Outlook {
            position: Some(ahead.iter().map(|ahead| ahead.queued).sum()),
            eta: own.zip(before.complete()).map(|(own, before)| before + own),
        })
    }

    /// How many jobs there are, and seconds until the queue is expected to be empty, as far as models were measured.
    ///
    /// # Errors
    /// A database that is gone.
    pub async fn load(&self) -> Result<(Counts, f64), ServiceError> {
        let counts = self.store.counts().await?;
        let ahead = self.store.ahead(JobId(i64::MAX)).await?;
        Ok((counts, self.time(&ahead).await?.measured))
    }

    /// How long this server's workers take for jobs.
    async fn time(&self, ahead: &[Ahead]) -> Result<Time, ServiceError> {
        let at_once = self.settings.workers.max(1) as f64;
        let mut time = Time::default();
        for jobs in ahead {
            let units = jobs.queued_work as f64 + jobs.running_work as f64 * LEFT_OF_RUNNING;
            match self.store.pace(&jobs.model, jobs.speed).await? {
                Some(pace) => time.measured += pace * units / at_once,
                None => time.has_unknown = true,
            }
        }
        Ok(time)
    }
}

/// Seconds, as far as they are known.
#[derive(Debug, Default)]
struct Time {
    measured: f64,
    has_unknown: bool,
}

impl Time {
    fn complete(&self) -> Option<f64> {
        (!self.has_unknown).then_some(self.measured)
    }
}
