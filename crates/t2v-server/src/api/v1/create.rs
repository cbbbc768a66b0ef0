//! New videos.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Request, State},
    http::StatusCode,
};
use serde_json::Value;
use t2v_pipeline::TextToVideoRequest;

use super::{
    Bearer,
    form::{Form, REFERENCE},
};
use crate::{
    api::{
        App, Shared,
        error::{OpenAi, OpenAiError},
        legacy::{idempotency_key, is_yes},
        schema::CreateBody,
    },
    document::Document,
    service::{Service, ServiceError, Submission},
};

/// Queues a video.
///
/// OpenAI's fields are `prompt`, `model`, `seconds`, `size` and `input_reference` (a file of a multipart form, a URL, or a
/// data URL). Size and seconds become the nearest that the model can make; the answer says which. Beside them all fields of
/// the API of 2023 are taken, but `key`. With the header `Idempotency-Key` several submissions of the same make one video.
#[utoipa::path(
    post, path = "/v1/videos", tag = "videos", security(("key" = [])), request_body = CreateBody,
    responses(
        (status = 200, description = "The video is queued.", body = Document),
        (status = 400, description = "The request asks for what can't be done.", body = OpenAiError),
        (status = 401, description = "The key is missing or wrong.", body = OpenAiError),
        (status = 404, description = "There is no such model.", body = OpenAiError),
        (status = 409, description = "The idempotency key was used for another request.", body = OpenAiError),
        (status = 413, description = "The body is too large.", body = OpenAiError),
        (status = 429, description = "Too many requests or videos; see `Retry-After`.", body = OpenAiError),
        (status = 503, description = "Something is missing for now.", body = OpenAiError)
    )
)]
pub(super) async fn create(
    State(app): Shared,
    Bearer(owner): Bearer,
    request: Request,
) -> Result<(StatusCode, Json<Document>), OpenAi> {
    let idempotency_key = idempotency_key(request.headers())?;
    let form = Form::read(request, &app).await?;
    let mut submission = submission(&app, form).await?;
    submission.idempotency_key = idempotency_key;
    let job = app.service.submit(&owner, submission).await?;
    Ok((StatusCode::OK, Json(app.service.document(&job).await?)))
}

/// What a form asks for.
async fn submission(app: &Arc<App>, form: Form) -> Result<Submission, ServiceError> {
    let Form { mut fields, reference } = form;
    fields.remove("key");
    if let Some(model) = fields.remove("model").filter(|model| !is_blank(model)) {
        fields.insert("model_id".into(), model);
    }
    let size = fields
        .remove("size")
        .filter(|size| !is_blank(size))
        .map(|size| parse_size(&size))
        .transpose()?;
    let seconds = fields.remove("seconds").filter(|seconds| !is_blank(seconds));
    let seconds = seconds.map(|seconds| parse_seconds(&seconds)).transpose()?;
    let temporary = fields.get("temp").is_some_and(is_yes);
    let mut request = TextToVideoRequest::from_json(&Value::Object(fields))?;
    fit(&app.service, &mut request, size, seconds).await?;
    let mut submission = Submission::new(request);
    submission.temporary = temporary;
    submission.init = reference.map(|(kind, source)| (REFERENCE, kind, source));
    Ok(submission)
}

fn is_blank(value: &Value) -> bool {
    value.is_null() || value.as_str().is_some_and(|text| text.trim().is_empty())
}

/// Turns a size and seconds into what the model can make. Fields of the API of 2023 that say the same come first.
async fn fit(
    service: &Service,
    request: &mut TextToVideoRequest,
    size: Option<[u32; 2]>,
    seconds: Option<f64>,
) -> Result<(), ServiceError> {
    if size.is_none() && seconds.is_none() {
        return Ok(());
    }
    let mut plain = TextToVideoRequest::new("");
    (plain.model_id, plain.fps) = (request.model_id.clone(), request.fps);
    let usual = service.resolve(plain, None).await?;
    let frames = seconds.map(|seconds| (seconds * f64::from(usual.fps)).round().min(f64::from(u32::MAX)) as u32);
    let wanted = (
        size.unwrap_or([usual.width, usual.height]),
        frames.unwrap_or(usual.num_frames),
    );
    let ([width, height], frames) = service
        .engine
        .nearest(request.model_id.as_deref(), wanted.0, wanted.1)?;
    if size.is_some() {
        request.width = request.width.or(Some(width));
        request.height = request.height.or(Some(height));
    }
    if seconds.is_some() {
        request.num_frames = request.num_frames.or(Some(frames));
    }
    Ok(())
}

fn parse_size(value: &Value) -> Result<[u32; 2], ServiceError> {
    let sides = value.as_str().and_then(|text| {
        let (width, height) = text.trim().split_once(['x', 'X'])?;
        Some([width.parse().ok()?, height.parse().ok()?])
    });
    let fault = "The size must be width and height in pixels, such as \"512x512\".";
    sides
        .filter(|sides: &[u32; 2]| !sides.contains(&0))
        .ok_or_else(|| ServiceError::fault("size", fault))
}

fn parse_seconds(value: &Value) -> Result<f64, ServiceError> {
    let seconds = match value {
        Value::String(text) => text.trim().parse().ok(),
        other => other.as_f64(),
    };
    let fault = "The seconds must be a number above 0, such as \"4\".";
    seconds
        .filter(|seconds: &f64| seconds.is_finite() && *seconds > 0.0)
        .ok_or_else(|| ServiceError::fault("seconds", fault))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn sizes_and_seconds_are_texts_or_numbers() {
        assert_eq!(parse_size(&json!("1280x720")).unwrap(), [1280, 720]);
        for wrong in [
            json!("1280"),
            json!("0x720"),
            json!("-1x2"),
            json!(5),
            json!("axb"),
            json!("1x2x3"),
        ] {
            assert!(parse_size(&wrong).is_err(), "{wrong}");
        }
        assert_eq!(parse_seconds(&json!("4")).unwrap(), 4.0);
        assert_eq!(parse_seconds(&json!(2.5)).unwrap(), 2.5);
        for wrong in [
            json!("0"),
            json!(-1),
            json!("NaN"),
            json!("inf"),
            json!("four"),
            json!([]),
        ] {
            assert!(parse_seconds(&wrong).is_err(), "{wrong}");
        }
        assert!(is_blank(&json!(" ")) && is_blank(&Value::Null) && !is_blank(&json!("4")));
    }
}
