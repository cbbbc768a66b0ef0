//! Files under names that nobody can guess: no key is asked for.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Path, State},
    http::HeaderMap,
    response::Response,
    routing::get,
};

use super::{App, Shared, error::OpenAi, range};
use crate::{outputs::StorageError, service::ServiceError, worker::engine::Variant};

pub(super) fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/generations/{file}", get(output))
        .route("/uploads/{file}", get(upload))
}

/// A file of a job, by its name and extension.
async fn output(State(app): Shared, Path(file): Path<String>, headers: HeaderMap) -> Result<Response, OpenAi> {
    let (name, variant) = Variant::of_file(&file).ok_or(ServiceError::NotFound)?;
    let is_name = name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_name {
        return Err(ServiceError::NotFound.into());
    }
    let (outputs, wanted) = (&app.service.outputs, range::wanted(&headers));
    let content = match outputs.output(name, variant, &wanted).await {
        // A name that was given out before the video was there.
        Err(StorageError::NotFound) => {
            let name = app.service.linked_output(name).await?;
            outputs.output(&name, variant, &wanted).await
        }
        found => found,
    };
    Ok(range::answer(
        content.map_err(of_storage)?,
        content_type(variant.extension()),
    ))
}

/// A picture that was uploaded.
async fn upload(State(app): Shared, Path(file): Path<String>, headers: HeaderMap) -> Result<Response, OpenAi> {
    let content = app.service.outputs.upload(&file, &range::wanted(&headers)).await;
    let extension = file.rsplit_once('.').map_or("", |(_, extension)| extension);
    Ok(range::answer(content.map_err(of_storage)?, content_type(extension)))
}

fn of_storage(error: StorageError) -> ServiceError {
    error.into()
}

pub(super) fn content_type(extension: &str) -> &'static str {
    match extension {
        "mp4" => "video/mp4",
        "webp" => "image/webp",
        "jpg" => "image/jpeg",
        "png" => "image/png",
        "gif" => "image/gif",
        _ => "application/octet-stream",
    }
}
