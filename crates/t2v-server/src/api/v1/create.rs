//! New videos.

use axum::{
    Json,
    extract::{Request, State},
    http::StatusCode,
};
use serde_json::Value;

use super::{
    Bearer,
    form::{Form, REFERENCE},
};
use crate::{
    api::{
        Shared,
        error::{OpenAi, OpenAiError},
        legacy::{idempotency_key, is_yes, output_type},
        schema::CreateBody,
    },
    document::Document,
    service::{ServiceError, Submission},
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
    let mut submission = submission(form)?;
    submission.idempotency_key = idempotency_key;
    let job = app.service.submit(&owner, submission).await?;
    Ok((StatusCode::OK, Json(app.service.document(&job).await?)))
}

/// What a form asks for.
fn submission(form: Form) -> Result<Submission, ServiceError> {
    let Form { mut fields, reference } = form;
    fields.remove("key");
    if let Some(model) = fields.remove("model").filter(|model| !is_blank(model)) {
        fields.insert("model_id".into(), model);
    }
    let mut stated = |field: &str| fields.remove(field).filter(|value| !is_blank(value));
    let (size, seconds, kind) = (stated("size"), stated("seconds"), stated("output_type"));
    let mut submission = Submission::read(&fields);
    submission.temporary = fields.get("temp").is_some_and(is_yes);
    let faults = &mut submission.faults;
    submission.size = faults.take(size.map(|size| parse_size(&size)).transpose())?.flatten();
    submission.seconds = faults
        .take(seconds.map(|seconds| parse_seconds(&seconds)).transpose())?
        .flatten();
    let kind = kind.map(|kind| kind.as_str().unwrap_or_default().to_owned());
    submission.output_type = faults.take(output_type(kind.as_deref()))?.flatten().unwrap_or_default();
    let reference = faults.take(reference)?.flatten();
    submission.init = reference.map(|(kind, source)| (REFERENCE, kind, source));
    Ok(submission)
}

fn is_blank(value: &Value) -> bool {
    value.is_null() || value.as_str().is_some_and(|text| text.trim().is_empty())
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
