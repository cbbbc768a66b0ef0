//! What clients can have done, whatever the API that they speak.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use sha2::{Digest, Sha256};
use t2v_pipeline::{InitMedia, Limits, Report, TextToVideoRequest, webhook::WebhookSender};
use tokio::{
    sync::{broadcast, watch},
    time::Instant,
};

use crate::{
    auth::Owner,
    document::{Document, Outlook},
    events::Events,
    inputs::{InputError, Inputs, Source},
    job::{Idempotency, InitKind, InitObject, Job, JobId, NewJob, State},
    outputs::{Outputs, StorageError},
    shutdown::Shutdown,
    store::{Change, Counts, Live, Page, QueueLimits, Store, StoreError, Submitted},
    worker::engine::{Engine, EngineError},
};

/// How soon who waits for a job looks again, in case that nobody told of a change.
const POLL: Duration = Duration::from_secs(1);
/// How long files are kept that are asked for with `temp`.
const TEMPORARY: Duration = Duration::from_secs(24 * 3600);
/// When a full queue may have room again.
const FULL_WAIT: Duration = Duration::from_secs(30);
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
    /// The job has no video, or not yet, or not any more.
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

/// A video that somebody wishes.
#[derive(Debug, Clone)]
pub struct Submission {
    /// The request; a key in it is left out.
    pub request: TextToVideoRequest,
    /// What it starts from, and the field that said so.
    pub init: Option<(&'static str, InitKind, Source)>,
    /// Whether the files are to be removed after a day.
    pub temporary: bool,
    /// The client's name for it.
    pub idempotency_key: Option<String>,
    /// Whether only this server may make it, as the API of 2023 has it without `loadbalancer`.
    pub pinned: bool,
}

impl Submission {
    /// A request without anything beside it.
    #[must_use]
    pub fn new(request: TextToVideoRequest) -> Self {
        Self {
            request,
            init: None,
            temporary: false,
            idempotency_key: None,
            pinned: false,
        }
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
    /// Takes a job in: everything that can be known of it is checked before.
    ///
    /// # Errors
    /// All faults of the request; a queue that is full; something that is missing.
    pub async fn submit(&self, owner: &Owner, mut submission: Submission) -> Result<Job, ServiceError> {
        submission.request.key = None;
        let idempotency = submission.idempotency_key.clone().map(|key| Idempotency {
            key,
            digest: digest(&submission),
        });
        self.check_webhook(submission.request.webhook.clone()).await?;
        let pinned_to = self.pinned_to(&submission).await?;
        let init = self.take_init(submission.init).await?;
        let (init, media) = init.unzip();
        let mut request = submission.request;
        let parameters = self.resolve(request.clone(), media).await?;
        // A retry makes the same video.
        request.seed = Some(parameters.seed);
        request.model_id = Some(parameters.model_id.clone());
        let keep = match submission.temporary {
            true => Some(self.settings.keep.unwrap_or(TEMPORARY).min(TEMPORARY)),
            false => self.settings.keep,
        };
        let job = NewJob {
            owner: owner.id.clone(),
            request,
            parameters,
            init,
            pinned_to,
            idempotency,
            max_attempts: self.settings.max_attempts,
            keep,
        };
        let limits = QueueLimits {
            per_owner: owner.queued.unwrap_or(self.settings.limits.per_owner),
            ..self.settings.limits
        };
        let too_many = |reason| ServiceError::TooMany {
            reason,
            wait: FULL_WAIT,
        };
        let submitted = self.store.submit(&job, limits).await?;
        if !matches!(submitted, Submitted::New(_))
            && let Some(init) = &job.init
            && let Err(error) = self.outputs.remove_input(&init.path).await
        {
            tracing::warn!(%error, "a file that no job starts from cannot be removed");
        }
        match submitted {
            Submitted::New(job) => {
                tracing::info!(job = %job.id, owner = job.owner, model = job.parameters.model_id, "a job is accepted");
                Ok(*job)
            }
            Submitted::Existing(job) => Ok(*job),
            Submitted::Conflict => Err(ServiceError::Conflict),
            Submitted::OwnerFull => Err(too_many("This key has as many videos in the queue as it may have.")),
            Submitted::QueueFull => Err(too_many("The queue is full.")),
        }
    }

    async fn check_webhook(&self, url: Option<String>) -> Result<(), ServiceError> {
        let Some(url) = url else {
            return Ok(());
        };
        let sender = self.webhooks.clone();
        let checked = tokio::task::spawn_blocking(move || sender.check_host(&url)).await;
        match checked {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(ServiceError::fault(
                "webhook",
                format!("The webhook is not usable: {error}."),
            )),
            Err(error) => Err(ServiceError::Unavailable(error.to_string())),
        }
    }

    /// Where the job has to run, if not anywhere.
    async fn pinned_to(&self, submission: &Submission) -> Result<Option<String>, ServiceError> {
        if submission.request.loadbalancer == Some(true) {
            let servers = self.store.server_seen(&self.settings.server, SERVER_SEEN).await?;
            if servers < 2 {
                let fault = "To use the load balancer, you need to have more than 1 server.";
                return Err(ServiceError::fault("loadbalancer", fault));
            }
            return Ok(None);
        }
        // A server that only serves makes nothing itself.
        let is_pinned = submission.pinned && self.settings.workers > 0;
        Ok(is_pinned.then(|| self.settings.server.clone()))
    }

    async fn take_init(
        &self,
        init: Option<(&'static str, InitKind, Source)>,
    ) -> Result<Option<(InitObject, InitMedia)>, ServiceError> {
        let Some((field, kind, source)) = init else {
            return Ok(None);
        };
        match self.inputs.take(kind, source).await {
            Ok(taken) => Ok(Some(taken)),
            Err(InputError::Unusable(reason)) => {
                let spoken = field.replace('_', " ");
                Err(ServiceError::fault(
                    field,
                    format!("The {spoken} is not usable: {reason}"),
                ))
            }
            Err(InputError::Storage(error)) => Err(error.into()),
        }
    }

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

    /// When a job is expected to end, as measured on earlier ones.
    ///
    /// # Errors
    /// A database that is gone.
    pub async fn outlook(&self, job: &Job) -> Result<Outlook, ServiceError> {
        if job.state.is_final() {
            return Ok(Outlook::default());
        }
        let mean = self.store.mean_generation_time(&job.parameters.model_id).await?;
        let mean = mean.map(|mean| mean.as_secs_f64());
        if job.state == State::Running {
            let progress = job.progress.as_ref().map_or(0, |progress| progress.percent);
            let left = 1.0 - f64::from(progress) / 100.0;
            return Ok(Outlook {
                position: None,
                eta: mean.map(|mean| mean * left),
            });
        }
        let position = self.store.jobs_before(job.id).await?;
        let at_once = self.settings.workers.max(1) as f64;
        Ok(Outlook {
            position: Some(position),
            eta: mean.map(|mean| mean * ((position as f64 / at_once).floor() + 1.0)),
        })
    }

    /// How many jobs there are, and seconds until the queue is expected to be empty.
    ///
    /// # Errors
    /// A database that is gone.
    pub async fn load(&self) -> Result<(Counts, f64), ServiceError> {
        let counts = self.store.counts().await?;
        let model = self.engine.models().into_iter().next().unwrap_or_default();
        let mean = self.store.mean_generation_time(&model).await?.unwrap_or_default();
        let at_once = self.settings.workers.max(1) as f64;
        let time = mean.as_secs_f64() * (counts.queued + counts.running) as f64 / at_once;
        Ok((counts, time))
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

/// What tells one submission from another, before anything is drawn or fetched.
fn digest(submission: &Submission) -> String {
    let mut hash = Sha256::new();
    hash.update(serde_json::to_vec(&submission.request).unwrap_or_default());
    if let Some((field, _, source)) = &submission.init {
        hash.update(field);
        match source {
            Source::Url(url) => hash.update(url),
            Source::Bytes(bytes) => hash.update(bytes),
        }
    }
    hash.update([u8::from(submission.temporary)]);
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
