//! What jobs that run in this process tell, at once; the database has the same, as of the last heartbeat.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use crate::{job::JobId, store::Live};

/// The jobs that run here.
#[derive(Debug, Clone, Default)]
pub struct Events {
    running: Arc<Mutex<HashMap<JobId, watch::Receiver<Live>>>>,
}

impl Events {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes what a job tells heard for as long as the guard lives.
    pub(crate) fn publish(&self, job: JobId, live: watch::Receiver<Live>) -> Published {
        self.lock().insert(job, live);
        Published {
            events: self.clone(),
            job,
        }
    }

    /// What a job tells from now on, if it runs here.
    #[must_use]
    pub fn of(&self, job: JobId) -> Option<watch::Receiver<Live>> {
        self.lock().get(&job).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<JobId, watch::Receiver<Live>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A job that is heard.
pub(crate) struct Published {
    events: Events,
    job: JobId,
}

impl Drop for Published {
    fn drop(&mut self) {
        self.events.lock().remove(&self.job);
    }
}
