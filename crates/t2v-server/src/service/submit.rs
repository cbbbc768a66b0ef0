//! How jobs are taken in: everything that can be known of a request is checked, and all faults are told at once.

use std::time::Duration;

use bytes::Bytes;
use image::GrayImage;
use t2v_pipeline::{InitMedia, Report, TextToVideoRequest, webhook::WebhookSender};

use super::{
    SERVER_SEEN, Service, ServiceError,
    submission::{ANY_PROMPT, Submission, digest},
};
use crate::{
    auth::Owner,
    faults::Faults,
    inputs::{InputError, masked},
    job::{Idempotency, InitKind, Job, NewJob},
    outputs::Outputs,
    store::{QueueLimits, Submitted},
};

/// How long files are kept that are asked for with `temp`.
const TEMPORARY: Duration = Duration::from_secs(24 * 3600);
/// When a full queue may have room again.
const FULL_WAIT: Duration = Duration::from_secs(30);

/// Something to start from that was looked at, and is not kept yet.
struct Opened {
    kind: InitKind,
    bytes: Bytes,
    mask: Option<Bytes>,
    media: InitMedia,
}

impl Service {
    /// Takes a job in: everything that can be known of it is checked before.
    ///
    /// # Errors
    /// All faults of the request; a queue that is full; something that is missing.
    pub async fn submit(&self, owner: &Owner, mut submission: Submission) -> Result<Job, ServiceError> {
        submission.request.key = None;
        let mut faults = std::mem::take(&mut submission.faults);
        faults.take(self.choose_model(&mut submission).await)?;
        faults.take(self.fit(&mut submission).await)?;
        let idempotency = submission.idempotency_key.clone().map(|key| Idempotency {
            key,
            digest: digest(&submission),
        });
        faults.take(self.check_webhook(submission.request.webhook.clone()).await)?;
        let pinned_to = faults.take(self.pinned_to(&submission).await)?.flatten();
        let opened = self.open_init(&mut submission, &mut faults).await?;
        let (parameters, opened) = self.resolve_all(&submission.request, opened, faults).await?;
        let init = match opened {
            Some((kind, bytes, mask)) => Some(self.inputs.keep(kind, bytes, mask).await?),
            None => None,
        };
        let mut request = submission.request;
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
            output_type: submission.output_type,
            samples: submission.samples.unwrap_or(1),
            link: submission.has_link.then(Outputs::draw_name),
        };
        self.store_job(owner, &job).await
    }

    async fn store_job(&self, owner: &Owner, job: &NewJob) -> Result<Job, ServiceError> {
        let limits = QueueLimits {
            per_owner: owner.queued.unwrap_or(self.settings.limits.per_owner),
            ..self.settings.limits
        };
        let too_many = |reason| ServiceError::TooMany {
            reason,
            wait: FULL_WAIT,
        };
        let submitted = self.store.submit(job, limits).await;
        if !matches!(submitted, Ok(Submitted::New(_)))
            && let Some(init) = &job.init
        {
            self.inputs.forget(init).await;
        }
        match submitted? {
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

    /// Turns a size and seconds into what the model can make. Fields of the API of 2023 that say the same come first.
    async fn fit(&self, submission: &mut Submission) -> Result<(), ServiceError> {
        let (size, seconds) = (submission.size, submission.seconds);
        if size.is_none() && seconds.is_none() {
            return Ok(());
        }
        let request = &mut submission.request;
        let mut plain = TextToVideoRequest::new(ANY_PROMPT);
        (plain.model_id, plain.fps) = (request.model_id.clone(), request.fps);
        let usual = match self.resolve(plain, None).await {
            // Told when the whole request is looked at.
            Err(ServiceError::UnknownModel) => return Ok(()),
            usual => usual?,
        };
        let frames = seconds.map(|seconds| (seconds * f64::from(usual.fps)).round().min(f64::from(u32::MAX)) as u32);
        let wanted = (
            size.unwrap_or([usual.width, usual.height]),
            frames.unwrap_or(usual.num_frames),
        );
        let ([width, height], frames) = self.engine.nearest(request.model_id.as_deref(), wanted.0, wanted.1)?;
        if size.is_some() {
            request.width = request.width.or(Some(width));
            request.height = request.height.or(Some(height));
        }
        if seconds.is_some() {
            request.num_frames = request.num_frames.or(Some(frames));
        }
        Ok(())
    }

    async fn check_webhook(&self, url: Option<String>) -> Result<(), ServiceError> {
        match url {
            Some(url) => check_webhook(&self.webhooks, url).await,
            None => Ok(()),
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

    /// What a submission starts from; `None` where that is at fault, which is noted.
    async fn open_init(
        &self,
        submission: &mut Submission,
        faults: &mut Faults,
    ) -> Result<Option<Option<Opened>>, ServiceError> {
        let Some((field, kind, source)) = submission.init.take() else {
            return Ok(Some(None));
        };
        let opened = self.inputs.open(kind, source).await;
        let opened = faults.take(opened.map_err(|error| of_input(field, error)))?;
        let mask: Option<Option<(Bytes, GrayImage)>> = match submission.mask.take() {
            None => Some(None),
            Some((field, source)) => {
                let mask = self.inputs.open_mask(source).await;
                faults.take(mask.map(Some).map_err(|error| of_input(field, error)))?
            }
        };
        Ok(opened.zip(mask).map(|((bytes, media), mask)| {
            let (mask, media) = match mask {
                Some((bytes, mask)) => (Some(bytes), masked(media, mask)),
                None => (None, media),
            };
            Some(Opened {
                kind,
                bytes,
                mask,
                media,
            })
        }))
    }

    /// What a request comes to, with all faults that were found before and by the model; and what it starts from, to be kept.
    /// `opened`: `None` where that is at fault.
    async fn resolve_all(
        &self,
        request: &TextToVideoRequest,
        opened: Option<Option<Opened>>,
        mut faults: Faults,
    ) -> Result<(Report, Option<(InitKind, Bytes, Option<Bytes>)>), ServiceError> {
        let mut request = request.clone();
        if opened.is_none() {
            // Whether it is usable depends on what it was to start from.
            request.scheduler = None;
        }
        let (init, media) = opened
            .flatten()
            .map(|opened| ((opened.kind, opened.bytes, opened.mask), opened.media))
            .unzip();
        let resolved = match self.resolve(request, media).await {
            Err(error @ ServiceError::UnknownModel) if !faults.is_empty() => {
                Err(ServiceError::fault("model_id", format!("{error}.")))
            }
            resolved => resolved,
        };
        let resolved = faults.take(resolved)?;
        Ok((faults.or(resolved)?, init))
    }
}

/// What is wrong with the file of a field.
fn of_input(field: &str, error: InputError) -> ServiceError {
    match error {
        InputError::Unusable(reason) => {
            let spoken = field.replace('_', " ");
            ServiceError::fault(field, format!("The {spoken} is not usable: {reason}"))
        }
        InputError::Storage(error) => error.into(),
    }
}

/// Refuses a webhook that may not be named, by its field.
pub(crate) async fn check_webhook(sender: &WebhookSender, url: String) -> Result<(), ServiceError> {
    let sender = sender.clone();
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
