//! Videos that there are.

use axum::{
    Json,
    extract::{Path, Query, State, rejection::QueryRejection},
    http::{HeaderMap, HeaderName},
    response::{AppendHeaders, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Bearer;
use crate::{
    api::{
        Shared,
        error::{OpenAi, OpenAiError},
        files::content_type,
        range,
    },
    document::{Document, job_id, public_id},
    job::{Job, JobId, Medium, State as JobState},
    service::ServiceError,
    store::Page,
    worker::engine::Variant,
};

/// The header by which OpenAI's own clients pace themselves.
const POLL_AFTER: HeaderName = HeaderName::from_static("openai-poll-after-ms");
/// Videos on a page, where a client does not say, and at most.
const USUAL_PAGE: u32 = 20;
const LONGEST_PAGE: u32 = 100;

/// Which page of a list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// The id of the video before the first one.
    after: Option<String>,
    /// The most videos, 1 to 100; otherwise 20.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u32>,
    /// `desc`, the newest first, or `asc`.
    #[param(inline)]
    order: Option<Order>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Order {
    Asc,
    Desc,
}

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct List {
    /// Always `list`.
    #[schema(value_type = String)]
    object: &'static str,
    /// The videos.
    data: Vec<Document>,
    /// The id of the first one.
    first_id: Option<String>,
    /// The id of the last one, for `after`.
    last_id: Option<String>,
    /// Whether there are more.
    has_more: bool,
}

/// Videos of the key, the newest first.
#[utoipa::path(
    get, path = "/v1/videos", tag = "videos", security(("key" = [])), params(ListQuery),
    responses(
        (status = 200, description = "A page of them.", body = List),
        (status = "4XX", description = "The key or a parameter is wrong.", body = OpenAiError),
        (status = "5XX", description = "Something is missing for now.", body = OpenAiError)
    )
)]
pub(super) async fn list(
    State(app): Shared,
    Bearer(owner): Bearer,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<List>, OpenAi> {
    let Query(query) = query.map_err(|error| ServiceError::fault("query", error.body_text()))?;
    let limit = query.limit.unwrap_or(USUAL_PAGE);
    if !(1..=LONGEST_PAGE).contains(&limit) {
        return Err(ServiceError::fault(
            "limit",
            format!("The limit must be between 1 and {LONGEST_PAGE}, not {limit}."),
        )
        .into());
    }
    let after = query.after.as_deref().filter(|after| !after.is_empty());
    let after = after
        .map(|after| job_id(after).ok_or_else(|| ServiceError::fault("after", "The after must be the id of a video.")));
    let page = Page {
        after: after.transpose()?,
        limit,
        ascending: query.order == Some(Order::Asc),
    };
    let (jobs, has_more) = app.service.list(&owner, page).await?;
    let mut data = Vec::with_capacity(jobs.len());
    for job in &jobs {
        data.push(app.service.document(job).await?);
    }
    Ok(Json(List {
        object: "list",
        first_id: data.first().map(|video| video.id.clone()),
        last_id: data.last().map(|video| video.id.clone()),
        data,
        has_more,
    }))
}

/// A video. Until it has ended, the header `openai-poll-after-ms` says when to ask again.
#[utoipa::path(
    get, path = "/v1/videos/{id}", tag = "videos", security(("key" = [])),
    params(("id" = String, Path, description = "Its id.")),
    responses(
        (status = 200, description = "The video.", body = Document),
        (status = "4XX", description = "There is none, or the key is wrong.", body = OpenAiError),
        (status = "5XX", description = "Something is missing for now.", body = OpenAiError)
    )
)]
pub(super) async fn retrieve(
    State(app): Shared,
    Bearer(owner): Bearer,
    Path(id): Path<String>,
) -> Result<(Poll, Json<Document>), OpenAi> {
    let job = app.service.job(&owner, parse(&id)?).await?;
    let document = app.service.document(&job).await?;
    let poll = (!job.state.is_final()).then(|| (POLL_AFTER, poll_after(document.eta)));
    Ok((AppendHeaders(poll), Json(document)))
}

/// When to ask again, as a header.
type Poll = AppendHeaders<Option<(HeaderName, u64)>>;

/// Milliseconds after which to ask again: a quarter of what is left, so that nobody waits much longer than it takes.
fn poll_after(eta: Option<f64>) -> u64 {
    let seconds = eta.map_or(1.0, |eta| (eta / 4.0).clamp(0.5, 5.0));
    (seconds * 1e3) as u64
}

/// What is left of a video.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Deleted {
    /// Its id.
    id: String,
    /// Always `video.deleted`.
    #[schema(value_type = String)]
    object: &'static str,
    /// Always true.
    deleted: bool,
}

/// Forgets a video and its files; one that has not ended is cancelled.
#[utoipa::path(
    delete, path = "/v1/videos/{id}", tag = "videos", security(("key" = [])),
    params(("id" = String, Path, description = "Its id.")),
    responses(
        (status = 200, description = "It is forgotten.", body = Deleted),
        (status = "4XX", description = "There is none, or the key is wrong.", body = OpenAiError),
        (status = "5XX", description = "Something is missing for now.", body = OpenAiError)
    )
)]
pub(super) async fn delete(
    State(app): Shared,
    Bearer(owner): Bearer,
    Path(id): Path<String>,
) -> Result<Json<Deleted>, OpenAi> {
    let id = parse(&id)?;
    app.service.delete(&owner, id).await?;
    Ok(Json(Deleted {
        id: public_id(id),
        object: "video.deleted",
        deleted: true,
    }))
}

/// Stops a video: at once where it waits, else within one step of the model.
#[utoipa::path(
    post, path = "/v1/videos/{id}/cancel", tag = "videos", security(("key" = [])),
    params(("id" = String, Path, description = "Its id.")),
    responses(
        (status = 200, description = "The video as it is then; one that had ended stays as it was.", body = Document),
        (status = "4XX", description = "There is none, or the key is wrong.", body = OpenAiError),
        (status = "5XX", description = "Something is missing for now.", body = OpenAiError)
    )
)]
pub(super) async fn cancel(
    State(app): Shared,
    Bearer(owner): Bearer,
    Path(id): Path<String>,
) -> Result<Json<Document>, OpenAi> {
    let job = app.service.cancel(&owner, parse(&id)?).await?;
    Ok(Json(app.service.document(&job).await?))
}

/// Which file of a video.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ContentQuery {
    /// `video` (MP4), `thumbnail` (WebP), `spritesheet` (JPEG), or `gif`, where `output_type` asked for one; `picture` (PNG),
    /// the first of a job that makes pictures. Where nothing is said, the video or the picture.
    #[param(inline)]
    variant: Option<VariantName>,
}

#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum VariantName {
    Video,
    Thumbnail,
    Spritesheet,
    Gif,
    Picture,
}

/// A file of a video, whole or in part (`Range`).
#[utoipa::path(
    get, path = "/v1/videos/{id}/content", tag = "videos", security(("key" = [])),
    params(("id" = String, Path, description = "Its id."), ContentQuery),
    responses(
        (status = 200, description = "The file.", content((Vec<u8> = "video/mp4"), (Vec<u8> = "image/webp"), (Vec<u8> = "image/jpeg"), (Vec<u8> = "image/gif"), (Vec<u8> = "image/png"))),
        (status = 206, description = "A part of it.", content((Vec<u8> = "video/mp4"), (Vec<u8> = "image/webp"), (Vec<u8> = "image/jpeg"), (Vec<u8> = "image/gif"), (Vec<u8> = "image/png"))),
        (status = 416, description = "The part is beyond its end."),
        (status = "4XX", description = "There is none yet, or not any more, or the key is wrong.", body = OpenAiError),
        (status = "5XX", description = "Something is missing for now.", body = OpenAiError)
    )
)]
pub(super) async fn content(
    State(app): Shared,
    Bearer(owner): Bearer,
    Path(id): Path<String>,
    query: Result<Query<ContentQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, OpenAi> {
    let Query(query) = query.map_err(|error| ServiceError::fault("variant", error.body_text()))?;
    let job = app.service.job(&owner, parse(&id)?).await?;
    let variant = match query.variant {
        None => match job.output_type.medium() {
            Medium::Video => Variant::Video,
            Medium::Picture => Variant::Picture(0),
        },
        Some(VariantName::Video) => Variant::Video,
        Some(VariantName::Thumbnail) => Variant::Thumbnail,
        Some(VariantName::Spritesheet) => Variant::Spritesheet,
        Some(VariantName::Gif) => Variant::Gif,
        Some(VariantName::Picture) => Variant::Picture(0),
    };
    let name = output(&job)?;
    let content = app
        .service
        .outputs
        .output(name, variant, &range::wanted(&headers))
        .await;
    let content = content.map_err(ServiceError::from)?;
    Ok(range::answer(content, content_type(variant.extension())))
}

/// The name of a job's files.
fn output(job: &Job) -> Result<&str, ServiceError> {
    match (job.success(), job.state) {
        (Some(_), _) if job.is_purged => Err(ServiceError::NoVideo("The files of this video were removed.")),
        (Some(success), _) => Ok(&success.output),
        (None, JobState::Queued | JobState::Running) => Err(ServiceError::NoVideo("The video is not ready yet.")),
        (None, _) => Err(ServiceError::NoVideo(
            "There is no video: the generation failed or was cancelled.",
        )),
    }
}

pub(super) fn parse(id: &str) -> Result<JobId, ServiceError> {
    job_id(id).ok_or(ServiceError::NotFound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_ask_again_in_good_time() {
        assert_eq!(poll_after(None), 1000);
        assert_eq!(poll_after(Some(0.1)), 500);
        assert_eq!(poll_after(Some(8.0)), 2000);
        assert_eq!(poll_after(Some(1e9)), 5000);
    }
}
