//! What is kept for how long: outputs that are expired, deleted, too much, or nobody's are removed, and old jobs are forgotten.

use std::{sync::Arc, time::Duration};

use crate::{
    job::{InitObject, Job},
    outputs::{Outputs, StorageError},
    shutdown::Shutdown,
    store::Store,
};

/// Jobs that are looked at in one go.
const BATCH: u32 = 100;
/// How old a file has to be that belongs to no job: its attempt may still be about to end.
const ORPHAN_AGE: Duration = Duration::from_secs(24 * 3600);
/// Rounds from one look for old jobs and files of no job to the next.
const SLOW_ROUNDS: u64 = 60;

/// Removes what is not to be kept.
pub struct Retention {
    /// Where jobs are.
    pub store: Arc<dyn Store>,
    /// Where their files are.
    pub outputs: Arc<Outputs>,
    /// The most bytes of all outputs; the oldest go first.
    pub most_bytes: Option<u64>,
    /// How long a job is known after its end. One whose video is kept is known as long as that.
    pub keep_jobs: Duration,
}

impl Retention {
    /// Removes what is not to be kept every `interval` until the shutdown.
    pub(crate) async fn run(self, interval: Duration, shutdown: Shutdown) {
        let mut round = 0u64;
        while shutdown.sleep(interval).await {
            self.remove_old().await;
            if round.is_multiple_of(SLOW_ROUNDS) {
                self.forget_old().await;
                if let Err(error) = self.remove_orphans(ORPHAN_AGE).await {
                    tracing::warn!(%error, "files of no job cannot be looked for");
                }
            }
            round += 1;
        }
    }

    /// Removes outputs that are expired, deleted or too much; how many jobs that were.
    pub async fn remove_old(&self) -> usize {
        let jobs = match self.store.removable(self.most_bytes, BATCH).await {
            Ok(jobs) => jobs,
            Err(error) => {
                tracing::warn!(%error, "outputs to remove cannot be looked for");
                return 0;
            }
        };
        let mut removed = 0;
        for job in jobs {
            if let Err(error) = self.remove_files(&job).await {
                tracing::warn!(job = %job.id, %error, "files cannot be removed yet");
                continue;
            }
            match self.store.purged(job.id).await {
                Ok(()) => removed += 1,
                Err(error) => tracing::warn!(job = %job.id, %error, "a removal cannot be noted yet"),
            }
        }
        removed
    }

    /// Forgets jobs that ended long ago, and their webhooks; how many jobs. Never one whose webhook is still due.
    pub async fn forget_old(&self) -> u64 {
        let mut forgotten = 0;
        loop {
            match self.store.trim(self.keep_jobs, BATCH).await {
                Ok(count) => {
                    forgotten += count;
                    if count < u64::from(BATCH) {
                        return forgotten;
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "old jobs cannot be forgotten yet");
                    return forgotten;
                }
            }
        }
    }

    async fn remove_files(&self, job: &Job) -> Result<(), StorageError> {
        if let Some(success) = job.success() {
            self.outputs.remove(&success.output).await?;
        }
        for path in job.init.iter().flat_map(InitObject::paths) {
            self.outputs.remove_input(path).await?;
        }
        Ok(())
    }

    /// Removes outputs that belong to no job: of attempts whose process was killed.
    ///
    /// # Errors
    /// A storage or database that is gone.
    pub async fn remove_orphans(&self, age: Duration) -> Result<usize, StorageError> {
        let mut removed = 0;
        for name in self.outputs.older_than(age).await? {
            if matches!(self.store.is_output(&name).await, Ok(false)) {
                self.outputs.remove(&name).await?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}
