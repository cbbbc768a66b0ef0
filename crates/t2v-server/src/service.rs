//! What clients can have done, whatever the API that they speak.

mod medium;
mod outlook;
mod submission;
mod submit;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

pub use submission::Submission;
pub(crate) use submit::check_webhook;
use t2v_pipeline::{InitMedia, Limits, Report, TextToVideoRequest, webhook::WebhookSender};
use tokio::{
    sync::{broadcast, watch},
    time::Instant,
};

use crate::{
    auth::Owner,
    document::Document,
    events::Events,
    inputs::Inputs,
    job::{Job, JobId},
    outputs::{Outputs, StorageError},
    shutdown::Shutdown,
    store::{Change, Live, Page, QueueLimits, Store, StoreError},
    worker::engine::{Engine, EngineError},
};

/// How soon who waits for a job looks again, in case that nobody told of a change.
const POLL: Duration = Duration::from_secs(1);
/// Servers seen within this time count as there.
pub(crate) const SERVER_SEEN: Duration = Duration::from_secs(30);

/// Why something is not done. Messages are for clients.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// Faults of the request, by field.
    #[error("{}", .0.values().flatten().cloned().collect::<Vec<_>>().join(" "))]
    Faults(BTreeMap<String, Vec<String>>),
    /// There is no such model.
    #[error("Model id not found")]
    UnknownModel,
    /// There is no such job, or it is somebody else's.
    #[error("There is no such video.")]
    NotFound,
    /// The idempotency key was used for another request.
    #[error("The idempotency key was used for another request.")]
    Conflict,
    /// Too many jobs, or requests.
    #[error("{reason}")]
    TooMany {
        /// What there is too much of.
        reason: &'static str,
        /// When to try again.
        wait: Duration,
    },
    /// The job has no output, or not yet, or not any more.
    #[error("{0}")]
    NoVideo(&'static str),
    /// Something is missing that the server needs, and may come back.
    #[error("The server cannot do this now; try again later.")]
    Unavailable(String),
}

impl ServiceError {
    /// A fault of one field.
    #[must_use]
    pub fn fault(field: &str, fault: impl Into<String>) -> Self {
        Self::Faults(BTreeMap::from([(field.to_owned(), vec![fault.into()])]))
    }
}

impl From<StoreError> for ServiceError {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<StorageError> for ServiceError {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::NotFound => Self::NotFound,
            other => Self::Unavailable(other.to_string()),
        }
    }
}

impl From<EngineError> for ServiceError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Request(faults) => faults.into(),
            EngineError::UnknownModel(_) => Self::UnknownModel,
            other => Self::Unavailable(other.to_string()),
        }
    }
}

impl From<t2v_pipeline::ValidationError> for ServiceError {
    fn from(error: t2v_pipeline::ValidationError) -> Self {
        let faults = error
            .faults()
            .map(|(field, faults)| (field.to_owned(), faults.to_vec()));
        Self::Faults(faults.collect())
    }
}

/// How a service behaves.
#[derive(Debug, Clone)]
pub struct ServiceSettings {
    /// What the server is called.
    pub server: String,
    /// Generations at once here.
    pub workers: usize,
    /// How often a job may be begun.
    pub max_attempts: u32,
    /// How many jobs may wait.
    pub limits: QueueLimits,
    /// How long files are kept; `None`: as long as there is room.
    pub keep: Option<Duration>,
}

/// Does what clients wish.
pub struct Service {
    /// Where jobs are.
    pub store: Arc<dyn Store>,
    /// What knows models.
    pub engine: Arc<dyn Engine>,
    /// Where files are.
    pub outputs: Arc<Outputs>,
    /// What takes in files.
    pub inputs: Arc<Inputs>,
    /// What jobs here tell.
    pub events: Events,
    /// What knows which webhooks may be named.
    pub webhooks: WebhookSender,
    /// Whether the server stops.
    pub shutdown: Shutdown,
    /// How it behaves.
    pub settings: ServiceSettings,
}

impl Service {
    /// What a request comes to.
    ///
    /// # Errors
    /// All its faults.
    pub async fn resolve(&self, request: TextToVideoRequest, init: Option<InitMedia>) -> Result<Report, ServiceError> {
        let engine = Arc::clone(&self.engine);
        let resolved = tokio::task::spawn_blocking(move || engine.resolve(&request, init.as_ref())).await;
        resolved
            .map_err(|error| ServiceError::Unavailable(error.to_string()))?
            .map_err(Into::into)
    }

    /// What requests to a model get where they say nothing, and the values that their fields may have. Reads the model's
    /// configuration, where that was not done yet.
    ///
    /// # Errors
    /// A model that there is not, or can't be opened.
    pub async fn model(&self, name: &str) -> Result<(Report, Option<Limits>), ServiceError> {
        let plain = TextToVideoRequest::new("").with_model_id(name);
        let defaults = self.resolve(plain, None).await?;
        Ok((defaults, self.engine.limits(name)?))
    }

    /// A job of an owner.
    ///
    /// # Errors
    /// There is none of the number, or it is somebody else's, which looks the same.
    pub async fn job(&self, owner: &Owner, id: JobId) -> Result<Job, ServiceError> {
        let job = self.store.job(id).await?.filter(|job| job.owner == owner.id);
        job.ok_or(ServiceError::NotFound)
    }

    /// Jobs of an owner, and whether there are more.
    ///
    /// # Errors
    /// A database that is gone.
    pub async fn list(&self, owner: &Owner, page: Page) -> Result<(Vec<Job>, bool), ServiceError> {
        Ok(self.store.list(&owner.id, page).await?)
    }

    /// Cancels a job.
    ///
    /// # Errors
    /// As for [`job`](Self::job).
    pub async fn cancel(&self, owner: &Owner, id: JobId) -> Result<Job, ServiceError> {
        self.store.cancel(id, &owner.id).await?.ok_or(ServiceError::NotFound)
    }

    /// Cancels the jobs of an owner that wait; how many.
    ///
    /// # Errors
    /// A database that is gone.
    pub async fn cancel_queued(&self, owner: &Owner) -> Result<u64, ServiceError> {
        Ok(self.store.cancel_queued(&owner.id).await?)
    }

    /// Forgets a job and its files.
    ///
    /// # Errors
    /// As for [`job`](Self::job).
    pub async fn delete(&self, owner: &Owner, id: JobId) -> Result<(), ServiceError> {
        match self.store.delete(id, &owner.id).await? {
            true => Ok(()),
            false => Err(ServiceError::NotFound),
        }
    }

    /// Waits until a job has ended, or for as long as `wait`, or until the server stops; the job as it is then.
    ///
    /// # Errors
    /// A job that is deleted meanwhile, a database that is gone.
    pub async fn wait(&self, job: Job, wait: Duration) -> Result<Job, ServiceError> {
        let deadline = Instant::now() + wait;
        let (id, mut job) = (job.id, job);
        let mut changes = self.store.changes();
        while !job.state.is_final() && Instant::now() < deadline && !self.shutdown.is_draining() {
            tokio::select! {
                () = finished(&mut changes, id) => {}
                () = tokio::time::sleep_until(deadline.min(Instant::now() + POLL)) => {}
                () = self.shutdown.draining() => {}
            }
            job = self.store.job(id).await?.ok_or(ServiceError::NotFound)?;
        }
        Ok(job)
    }

    /// The document of a job.
    ///
    /// # Errors
    /// A database that is gone.
    pub async fn document(&self, job: &Job) -> Result<Document, ServiceError> {
        let live = self.events.of(job.id).map(|live| live.borrow().clone());
        let outlook = self.outlook(job).await?;
        Ok(Document::of(job, live.as_ref(), outlook, &self.outputs))
    }

    /// The output that a link leads to.
    ///
    /// # Errors
    /// None, or not yet, or not any more; a database that is gone.
    pub async fn linked_output(&self, link: &str) -> Result<String, ServiceError> {
        self.store.linked_output(link).await?.ok_or(ServiceError::NotFound)
    }

    /// What a running job tells, if it runs here.
    #[must_use]
    pub fn live(&self, id: JobId) -> Option<watch::Receiver<Live>> {
        self.events.of(id)
    }
}

/// Waits for the end of a job, or for as long as changes are heard completely.
async fn finished(changes: &mut broadcast::Receiver<Change>, id: JobId) {
    use broadcast::error::RecvError;
    loop {
        match changes.recv().await {
            Ok(Change::Finished(finished)) if finished == id => return,
            Err(RecvError::Lagged(_)) => return,
            Ok(_) => {}
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}
