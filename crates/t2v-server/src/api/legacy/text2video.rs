//! Videos from prompts and from pictures.

use std::time::Duration;

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::Value;
use t2v_pipeline::{TextToVideoRequest, TextToVideoResponse};

use super::request::Authorised;
use crate::{
    api::{
        App, Shared,
        error::{Legacy, LegacyError},
        schema::{ImageToVideoBody, TextToVideoBody},
    },
    inputs::Source,
    job::{InitKind, Job, State as JobState},
    service::{ServiceError, Submission},
    worker::engine::Variant,
};

/// The fields that name something to start from.
const INIT: [(&str, InitKind); 2] = [("init_image", InitKind::Image), ("init_video", InitKind::Video)];

/// Makes a video from a prompt. Done within the server's `--wait`, it is answered with `success`, else with `processing`.
///
/// Besides the fields of 2023: `num_frames`, `fps`, `clip_skip`, `init_image` and `init_video` (a URL, a data URL or base64),
/// `temp` (files are removed after a day). Numbers may be texts, switches "yes" or "no"; unknown fields are ignored. With the
/// header `Idempotency-Key` several submissions of the same make one video.
#[utoipa::path(
    post, path = "/api/v1/enterprise/text2video", tag = "enterprise", request_body = TextToVideoBody,
    responses(
        (status = 200, description = "`success` with the URL of the video, or `processing`.", body = Object),
        (status = 400, description = "Faults by field.", body = LegacyError),
        (status = 401, description = "The key is wrong.", body = LegacyError),
        (status = 404, description = "There is no such model.", body = LegacyError),
        (status = 409, description = "The idempotency key was used for another request.", body = LegacyError),
        (status = 413, description = "The body is too large.", body = LegacyError),
        (status = 429, description = "Too many requests or videos; see `Retry-After`.", body = LegacyError),
        (status = 500, description = "`failed`: the generation went wrong.", body = Object),
        (status = 503, description = "Something is missing for now.", body = LegacyError)
    )
)]
pub(super) async fn text2video(State(app): Shared, request: Authorised) -> Result<Response, Legacy> {
    generate(&app, request, "/api/v1/enterprise/video/fetch").await
}

/// The same under the path of version 6.
#[utoipa::path(
    post, path = "/api/v6/video/text2video", tag = "enterprise", request_body = TextToVideoBody,
    responses(
        (status = 200, description = "`success` or `processing`.", body = Object),
        (status = "4XX", description = "As for `/api/v1/enterprise/text2video`.", body = LegacyError),
        (status = "5XX", description = "As for `/api/v1/enterprise/text2video`.", body = Object)
    )
)]
pub(super) async fn text2video_v6(State(app): Shared, request: Authorised) -> Result<Response, Legacy> {
    generate(&app, request, "/api/v6/video/fetch").await
}

/// Makes a video from a picture, `init_image`, and a prompt.
#[utoipa::path(
    post, path = "/api/v1/enterprise/video/img2video", tag = "enterprise", request_body = ImageToVideoBody,
    responses(
        (status = 200, description = "`success` or `processing`.", body = Object),
        (status = "4XX", description = "As for `/api/v1/enterprise/text2video`.", body = LegacyError),
        (status = "5XX", description = "As for `/api/v1/enterprise/text2video`.", body = Object)
    )
)]
pub(super) async fn img2video(State(app): Shared, request: Authorised) -> Result<Response, Legacy> {
    request.required("init_image")?;
    generate(&app, request, "/api/v1/enterprise/video/fetch").await
}

/// The same under the path of version 6.
#[utoipa::path(
    post, path = "/api/v6/video/img2video", tag = "enterprise", request_body = ImageToVideoBody,
    responses(
        (status = 200, description = "`success` or `processing`.", body = Object),
        (status = "4XX", description = "As for `/api/v1/enterprise/text2video`.", body = LegacyError),
        (status = "5XX", description = "As for `/api/v1/enterprise/text2video`.", body = Object)
    )
)]
pub(super) async fn img2video_v6(State(app): Shared, request: Authorised) -> Result<Response, Legacy> {
    request.required("init_image")?;
    generate(&app, request, "/api/v6/video/fetch").await
}

async fn generate(app: &App, request: Authorised, fetch: &str) -> Result<Response, Legacy> {
    let owner = request.owner.clone();
    let job = app.service.submit(&owner, submission(request)?).await?;
    let job = app.service.wait(job, app.wait).await?;
    let response = match job.state {
        JobState::Queued | JobState::Running => processing(app, &job, fetch).await?,
        _ => ended(app, &job),
    };
    let status = match &response {
        TextToVideoResponse::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::OK,
    };
    Ok((status, Json(response)).into_response())
}

/// What a body asks for.
fn submission(request: Authorised) -> Result<Submission, ServiceError> {
    let mut submission = Submission::new(TextToVideoRequest::from_json(&request.body)?);
    submission.idempotency_key = request.idempotency_key.clone();
    submission.pinned = true;
    submission.temporary = request.body.get("temp").is_some_and(is_yes);
    for (field, kind) in INIT {
        if let Some(text) = request.optional(field)? {
            let source = Source::parse(&text).map_err(|error| {
                ServiceError::fault(field, format!("The {} is not usable: {error}", field.replace('_', " ")))
            })?;
            submission.init = Some((field, kind, source));
        }
    }
    Ok(submission)
}

/// Whether a switch says yes, in the ways in which clients write it.
pub(in crate::api) fn is_yes(value: &Value) -> bool {
    match value {
        Value::Bool(value) => *value,
        Value::String(text) => ["yes", "true", "1", "on"].contains(&text.trim().to_lowercase().as_str()),
        _ => false,
    }
}

/// How a job ended, as the API has it.
pub(super) fn ended(app: &App, job: &Job) -> TextToVideoResponse {
    let id = u64::try_from(job.id.0).unwrap_or_default();
    match (job.success(), job.failure()) {
        (Some(success), _) => {
            let url = app.service.outputs.url(&success.output, Variant::Video);
            TextToVideoResponse::success(id, success.generation_time, vec![url])
        }
        (_, Some(failure)) => TextToVideoResponse::failed(Some(id), failure.message.clone()),
        (None, None) => TextToVideoResponse::failed(Some(id), "Failed, Try Again"),
    }
}

async fn processing(app: &App, job: &Job, fetch: &str) -> Result<TextToVideoResponse, ServiceError> {
    let id = u64::try_from(job.id.0).unwrap_or_default();
    let eta = app
        .service
        .outlook(job)
        .await?
        .eta_or(app.wait.max(Duration::from_secs(1)));
    let url = format!("{}{fetch}/{id}", app.public_url);
    Ok(TextToVideoResponse::processing(id, eta, url))
}
