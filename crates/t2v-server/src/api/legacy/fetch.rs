//! Results that were not ready at once.

use axum::{
    Json,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use serde_json::json;

use super::{answers::ended, request::Authorised};
use crate::{
    api::{
        App, Shared,
        error::{Legacy, LegacyError},
        schema::{FetchBody, KeyBody},
    },
    job::{Job, JobId},
    service::ServiceError,
};

/// The result of a video, or of pictures, by the number in the field `request_id`: `success`, `processing` or `failed`.
#[utoipa::path(
    post, path = "/api/v1/enterprise/fetch", tag = "enterprise", request_body = FetchBody,
    responses(
        (status = 200, description = "`success`, `processing` or `failed`.", body = Object),
        (status = "4XX", description = "The key or the number is wrong.", body = LegacyError),
        (status = "5XX", description = "Something is missing for now.", body = LegacyError)
    )
)]
pub(super) async fn fetch(State(app): Shared, request: Authorised) -> Result<Response, Legacy> {
    let id = request.required("request_id")?;
    answer(&app, &request, &id).await
}

/// The same with the number in the path, for pictures.
#[utoipa::path(
    post, path = "/api/v1/enterprise/fetch/{id}", tag = "enterprise", request_body = KeyBody,
    params(("id" = String, Path, description = "Number of the job.")),
    responses(
        (status = 200, description = "`success`, `processing` or `failed`.", body = Object),
        (status = "4XX", description = "The key or the number is wrong.", body = LegacyError),
        (status = "5XX", description = "Something is missing for now.", body = LegacyError)
    )
)]
pub(super) async fn fetch_by_number(
    State(app): Shared,
    Path(id): Path<String>,
    request: Authorised,
) -> Result<Response, Legacy> {
    answer(&app, &request, &id).await
}

/// The same with the number in the path, for videos.
#[utoipa::path(
    post, path = "/api/v1/enterprise/video/fetch/{id}", tag = "enterprise", request_body = KeyBody,
    params(("id" = String, Path, description = "Number of the video.")),
    responses(
        (status = 200, description = "`success`, `processing` or `failed`.", body = Object),
        (status = "4XX", description = "The key or the number is wrong.", body = LegacyError),
        (status = "5XX", description = "Something is missing for now.", body = LegacyError)
    )
)]
pub(super) async fn fetch_by_path(
    State(app): Shared,
    Path(id): Path<String>,
    request: Authorised,
) -> Result<Response, Legacy> {
    answer(&app, &request, &id).await
}

/// The same under the path of version 6.
#[utoipa::path(
    post, path = "/api/v6/video/fetch/{id}", tag = "enterprise", request_body = KeyBody,
    params(("id" = String, Path, description = "Number of the video.")),
    responses(
        (status = 200, description = "`success`, `processing` or `failed`.", body = Object),
        (status = "4XX", description = "The key or the number is wrong.", body = LegacyError),
        (status = "5XX", description = "Something is missing for now.", body = LegacyError)
    )
)]
pub(super) async fn fetch_v6(
    State(app): Shared,
    Path(id): Path<String>,
    request: Authorised,
) -> Result<Response, Legacy> {
    answer(&app, &request, &id).await
}

async fn answer(app: &App, request: &Authorised, id: &str) -> Result<Response, Legacy> {
    let id: JobId = id.parse().map_err(|()| ServiceError::NotFound)?;
    let job = app.service.job(&request.owner, id).await?;
    if !job.state.is_final() {
        return Ok(Json(not_ready(app, &job).await?).into_response());
    }
    Ok(match ended(app, &job).await? {
        // Without the time, as the API has it.
        t2v_pipeline::TextToVideoResponse::Success(success) => {
            let body = json!({"status": "success", "id": success.id, "output": success.output});
            Json(body).into_response()
        }
        other => Json(other).into_response(),
    })
}

async fn not_ready(app: &App, job: &Job) -> Result<serde_json::Value, ServiceError> {
    let outlook = app.service.outlook(job).await?;
    let place = match outlook.position {
        Some(0) => "It is the next one.".to_owned(),
        Some(position) => format!("{position} are before it."),
        None => "It is being made.".to_owned(),
    };
    let time = outlook
        .eta
        .map_or_else(String::new, |eta| format!(" About {} seconds are left.", eta.ceil()));
    Ok(json!({
        "status": "processing",
        "message": "try again later.",
        "output": "",
        "tip": format!("{place}{time}"),
    }))
}
