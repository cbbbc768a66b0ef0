//! The server itself.

use axum::{Json, extract::State};
use bytes::Bytes;
use serde_json::{Value, json};

use super::request::{Administration, Authorised};
use crate::{
    api::{
        Shared,
        error::{Legacy, LegacyError},
        schema::{KeyBody, UpdateS3Body, UploadBody},
    },
    inputs::{InputError, Source},
    outputs::StorageSettings,
    service::ServiceError,
};

/// Keeps a picture to start from, the base64 or data URL in the field `image`; answers its URL, for `init_image`.
#[utoipa::path(
    post, path = "/api/v1/enterprise/upload_image", tag = "enterprise", request_body = UploadBody,
    responses((status = 200, description = "Where it is.", body = Object), (status = "4XX", description = "It is no picture, or the key is wrong.", body = LegacyError), (status = "5XX", description = "Something is missing for now.", body = LegacyError))
)]
pub(super) async fn upload_image(State(app): Shared, request: Authorised) -> Result<Json<Value>, Legacy> {
    let field = if request.body.get("image").is_some() {
        "image"
    } else {
        "init_image"
    };
    let source = Source::parse(&request.required(field)?);
    let (bytes, extension) = source.and_then(picture).map_err(|error| {
        let spoken = field.replace('_', " ");
        ServiceError::fault(field, format!("The {spoken} is not usable: {error}"))
    })?;
    let url = app
        .service
        .outputs
        .add_upload(bytes, extension)
        .await
        .map_err(ServiceError::from)?;
    Ok(Json(
        json!({"status": "success", "message": "image uploaded", "image_url": url}),
    ))
}

/// A picture of a format that is served as what it is, and its extension.
fn picture(source: Source) -> Result<(Bytes, &'static str), InputError> {
    let Source::Bytes(bytes) = source else {
        return Err(InputError::Unusable(
            "It must be a data URL with base64, or base64.".into(),
        ));
    };
    let extension = match image::guess_format(&bytes) {
        Ok(image::ImageFormat::Png) => "png",
        Ok(image::ImageFormat::Jpeg) => "jpg",
        Ok(image::ImageFormat::WebP) => "webp",
        Ok(image::ImageFormat::Gif) => "gif",
        _ => {
            return Err(InputError::Unusable(
                "It must be a PNG, JPEG, WebP or GIF picture.".into(),
            ));
        }
    };
    Ok((bytes, extension))
}

/// How many models there are, and seconds until the queue is expected to be empty.
#[utoipa::path(
    post, path = "/api/v1/enterprise/system_details", tag = "enterprise", request_body = KeyBody,
    responses((status = 200, description = "So many.", body = Object), (status = "4XX", description = "The key is wrong.", body = LegacyError), (status = "5XX", description = "Something is missing for now.", body = LegacyError))
)]
pub(super) async fn system_details(State(app): Shared, _request: Authorised) -> Result<Json<Value>, Legacy> {
    let (_, time) = app.service.load().await?;
    let count = app.service.engine.models().len();
    Ok(Json(json!({"model_count": count, "queue_time": time, "status": "ok"})))
}

/// How many videos wait, and seconds until the queue is expected to be empty.
#[utoipa::path(
    post, path = "/api/v1/enterprise/system_load", tag = "enterprise", request_body = KeyBody,
    responses((status = 200, description = "So many.", body = Object), (status = "4XX", description = "The key is wrong.", body = LegacyError), (status = "5XX", description = "Something is missing for now.", body = LegacyError))
)]
pub(super) async fn system_load(State(app): Shared, _request: Authorised) -> Result<Json<Value>, Legacy> {
    let (counts, time) = app.service.load().await?;
    Ok(Json(
        json!({"queue_num": counts.queued, "queue_time": time, "status": "ok"}),
    ))
}

/// Cancels the videos of the key that wait. The server need not be restarted for that, whatever the message of 2023 says.
#[utoipa::path(
    post, path = "/api/v1/enterprise/clear_queue", tag = "enterprise", request_body = KeyBody,
    responses((status = 200, description = "They are cancelled.", body = Object), (status = "4XX", description = "The key is wrong.", body = LegacyError), (status = "5XX", description = "Something is missing for now.", body = LegacyError))
)]
pub(super) async fn clear_queue(State(app): Shared, request: Authorised) -> Result<Json<Value>, Legacy> {
    app.service.cancel_queued(&request.owner).await?;
    Ok(Json(
        json!({"status": "success", "message": "Queue cleared, server is restarting"}),
    ))
}

/// Drops loaded models.
#[utoipa::path(
    post, path = "/api/v1/enterprise/clear_cache", tag = "enterprise", request_body = KeyBody,
    responses((status = 200, description = "They are loaded again when they are needed.", body = Object), (status = "4XX", description = "The key is wrong.", body = LegacyError))
)]
pub(super) async fn clear_cache(State(app): Shared, _request: Administration) -> Json<Value> {
    app.admin.clear_cache();
    Json(json!({"status": "success", "message": "Cache cleared successfully"}))
}

/// Stops the server in order, where something starts it again.
#[utoipa::path(
    post, path = "/api/v1/enterprise/restart_server", tag = "enterprise", request_body = KeyBody,
    responses((status = 200, description = "It stops.", body = Object), (status = "4XX", description = "Nothing would start it again, or the key is wrong.", body = LegacyError))
)]
pub(super) async fn restart_server(State(app): Shared, _request: Administration) -> Result<Json<Value>, Legacy> {
    match app.admin.restart() {
        true => Ok(Json(json!({"message": "server restarting", "status": "success"}))),
        false => {
            let fault = "Nothing is known that would start this server again: restart it where it runs, or set \
                         allow_restart.";
            Err(ServiceError::fault("restart", fault).into())
        }
    }
}

/// Answers that the server is updated where it runs.
#[utoipa::path(
    post, path = "/api/v1/enterprise/update_server", tag = "enterprise", request_body = KeyBody,
    responses((status = "4XX", description = "How it is updated.", body = LegacyError))
)]
pub(super) async fn update_server(_request: Administration) -> Legacy {
    let fault = "This server is updated where it runs: put the new program in the place of the old one and restart it.";
    ServiceError::fault("update", fault).into()
}

/// Writes videos to a bucket from now on: `bucket_name`, `region_name`, `endpoint_url`, `aws_access_key_id`,
/// `aws_secret_access_key`, and `image_directory` for a folder in it. Videos that there are stay where they are.
#[utoipa::path(
    post, path = "/api/v1/enterprise/update_s3", tag = "enterprise", request_body = UpdateS3Body,
    responses((status = 200, description = "It is written to.", body = Object), (status = "4XX", description = "It cannot be written to, or the key is wrong.", body = LegacyError), (status = "5XX", description = "Something is missing for now.", body = LegacyError))
)]
pub(super) async fn update_s3(State(app): Shared, request: Administration) -> Result<Json<Value>, Legacy> {
    let request = request.0;
    let folder = request.optional("image_directory")?.unwrap_or_default();
    let settings = StorageSettings {
        url: format!("s3://{}/{}", request.required("bucket_name")?, folder.trim_matches('/')),
        region: request.optional("region_name")?,
        endpoint: request.optional("endpoint_url")?,
        access_key_id: Some(request.required("aws_access_key_id")?),
        secret_access_key: Some(request.required("aws_secret_access_key")?),
    };
    app.admin.change_storage(&settings).await?;
    Ok(Json(
        json!({"status": "success", "message": "S3 details updated successfully"}),
    ))
}
