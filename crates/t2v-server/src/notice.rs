//! The webhook of a job: what its receiver is told, as bytes that are stored once and sent as they are.

use t2v_pipeline::webhook::WebhookPayload;
use url::Url;

use crate::job::{Failure, Job, Success};

/// A webhook to send. It is stored in the transaction that ends its job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Where to.
    pub url: String,
    /// The receiver's host, of which no more than a few are sent to at once.
    pub host: String,
    /// The JSON body, signed as it is here.
    pub body: String,
}

impl Notice {
    /// What the webhook of a job says of its success, if it has one. `urls`: where the video is.
    #[must_use]
    pub fn of_success(job: &Job, success: &Success, urls: Vec<String>) -> Option<Self> {
        let report = serde_json::to_value(&success.report).unwrap_or_default();
        let payload = WebhookPayload::success(job.id, success.generation_time, urls).with_meta(report);
        Self::of(job, payload)
    }

    /// What the webhook of a job says of its failure, if it has one.
    #[must_use]
    pub fn of_failure(job: &Job, failure: &Failure) -> Option<Self> {
        Self::of(job, WebhookPayload::failed(job.id, failure.message.clone()))
    }

    fn of(job: &Job, payload: WebhookPayload) -> Option<Self> {
        let url = job.request.webhook.clone()?;
        let payload = payload.with_track_id(job.request.track_id.clone());
        Some(Self {
            host: Url::parse(&url).ok()?.host_str()?.to_owned(),
            body: serde_json::to_string(&payload).ok()?,
            url,
        })
    }
}

/// The `webhook-id` of a job's only webhook, the same in every attempt to deliver it.
#[must_use]
pub fn message_id(job: crate::job::JobId) -> String {
    format!("msg_{job}")
}
