//! Answers of jobs in the API's shapes, the same for videos and pictures.

use std::time::Duration;

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Value, json};
use t2v_pipeline::{Report, TextToVideoResponse};

use crate::{
    api::{App, error::Legacy},
    auth::Owner,
    job::{Job, Medium, OutputType, State as JobState, Success},
    outputs::StorageError,
    service::{ServiceError, Submission},
    worker::engine::Variant,
};

/// Takes a job in, waits for it as long as the server does, and answers. `fetch`: where its result is asked for later, before
/// its number.
pub(super) async fn generate(
    app: &App,
    owner: &Owner,
    submission: Submission,
    fetch: &str,
) -> Result<Response, Legacy> {
    let wait = match submission.has_link {
        true => Duration::ZERO,
        false => app.wait,
    };
    let job = app.service.submit(owner, submission).await?;
    let job = app.service.wait(job, wait).await?;
    let response = match job.state {
        JobState::Queued | JobState::Running => processing(app, &job, fetch).await?,
        _ => ended(app, &job).await?,
    };
    let status = match &response {
        TextToVideoResponse::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::OK,
    };
    let (is_processing, is_success) = match &response {
        TextToVideoResponse::Processing(_) => (true, false),
        TextToVideoResponse::Success(_) => (false, true),
        _ => (false, false),
    };
    let mut body = serde_json::to_value(response).unwrap_or_default();
    if let Some(link) = job.link.as_deref().filter(|_| is_processing) {
        body["future_links"] = json!(urls(app, &job, link));
    }
    if (is_processing || is_success) && job.output_type.medium() == Medium::Picture {
        let report = job.success().map_or(&job.parameters, |success| &success.report);
        body["meta"] = meta(report, job.samples);
    }
    Ok((status, Json(body)).into_response())
}

/// How a job ended, as the API has it.
pub(super) async fn ended(app: &App, job: &Job) -> Result<TextToVideoResponse, ServiceError> {
    let id = u64::try_from(job.id.0).unwrap_or_default();
    Ok(match (job.success(), job.failure()) {
        (Some(success), _) => match output(app, job, success).await {
            Ok(output) => TextToVideoResponse::success(id, success.generation_time, output),
            Err(StorageError::NotFound) => TextToVideoResponse::failed(Some(id), "The files were removed."),
            Err(error) => return Err(error.into()),
        },
        (_, Some(failure)) => TextToVideoResponse::failed(Some(id), failure.message.clone()),
        (None, None) => TextToVideoResponse::failed(Some(id), "Failed, Try Again"),
    })
}

/// What `output` has: URLs, or the pictures themselves.
async fn output(app: &App, job: &Job, success: &Success) -> Result<Vec<String>, StorageError> {
    if job.output_type != OutputType::Base64 {
        return Ok(urls(app, job, &success.output));
    }
    let mut pictures = Vec::with_capacity(job.samples.into());
    for variant in Variant::answered(job.output_type, job.samples) {
        let bytes = app.service.outputs.bytes(&success.output, variant).await?;
        pictures.push(BASE64_STANDARD.encode(bytes));
    }
    Ok(pictures)
}

fn urls(app: &App, job: &Job, name: &str) -> Vec<String> {
    let variants = Variant::answered(job.output_type, job.samples);
    app.service.outputs.urls(name, &variants)
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

/// What pictures are made with, under the names that the API has for it.
fn meta(report: &Report, samples: u8) -> Value {
    let listed = |parts: Vec<String>| (!parts.is_empty()).then(|| parts.join(","));
    let loras = report.loras.iter();
    json!({
        "prompt": report.prompt,
        "model_id": report.model_id,
        "negative_prompt": report.negative_prompt,
        "scheduler": report.scheduler,
        "W": report.width,
        "H": report.height,
        "guidance_scale": report.guidance_scale,
        "strength": report.strength,
        "seed": report.seed,
        "steps": report.num_inference_steps,
        "n_samples": samples,
        "clip_skip": report.clip_skip,
        "lora": listed(loras.clone().map(|lora| lora.name.clone()).collect()),
        "lora_strength": listed(loras.map(|lora| lora.strength.to_string()).collect()),
        "embeddings": listed(report.textual_inversions.clone()),
    })
}
