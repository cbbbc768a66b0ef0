//! Videos from prompts and from pictures.

use axum::{extract::State, response::Response};
use serde_json::Value;

use super::{answers::generate, request::Authorised};
use crate::{
    api::{
        App, Shared,
        error::{Legacy, LegacyError},
        schema::{ImageToVideoBody, TextToVideoBody},
    },
    job::{InitKind, Medium, OutputType},
    service::{ServiceError, Submission},
};

/// The fields that name something to start from.
const INIT: [(&str, InitKind); 2] = [("init_image", InitKind::Image), ("init_video", InitKind::Video)];

/// How the endpoints differ.
struct Endpoint {
    /// Where the result of a video is asked for, before its number.
    fetch: &'static str,
    /// The output type of requests that say none.
    output_type: OutputType,
    /// The field that must be there besides the prompt.
    required: Option<&'static str>,
}

const TEXT: Endpoint = Endpoint {
    fetch: "/api/v1/enterprise/video/fetch",
    output_type: OutputType::Mp4,
    required: None,
};
const TEXT_V6: Endpoint = Endpoint {
    fetch: "/api/v6/video/fetch",
    output_type: OutputType::Gif,
    required: None,
};
const IMAGE: Endpoint = Endpoint {
    required: Some("init_image"),
    ..TEXT
};
const IMAGE_V6: Endpoint = Endpoint {
    output_type: OutputType::Mp4,
    required: Some("init_image"),
    ..TEXT_V6
};

/// Makes a video from a prompt. Done within the server's `--wait`, it is answered with `success`, else with `processing`.
///
/// Besides the fields of 2023: `num_frames`, `fps`, `clip_skip`, `lora_model`, `lora_strength`, `embeddings_model`,
/// `use_improved_sampling`, `improved_sampling_seed`, `flow_shift`, `speed`, `init_image` and `init_video` (a URL, a data URL or base64),
/// `temp` (files are removed after a day), `output_type` (`mp4` or `gif`: what `output` leads to), and `instant_response` (no
/// waiting: `future_links` has the URL at which the video will be). Numbers may be texts, switches "yes" or "no"; unknown
/// fields are ignored. With the header `Idempotency-Key` several submissions of the same make one video.
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
    make(&app, request, &TEXT).await
}

/// The same under the path of version 6, whose `output_type` is `gif` where nothing is said.
#[utoipa::path(
    post, path = "/api/v6/video/text2video", tag = "enterprise", request_body = TextToVideoBody,
    responses(
        (status = 200, description = "`success` or `processing`.", body = Object),
        (status = "4XX", description = "As for `/api/v1/enterprise/text2video`.", body = LegacyError),
        (status = "5XX", description = "As for `/api/v1/enterprise/text2video`.", body = Object)
    )
)]
pub(super) async fn text2video_v6(State(app): Shared, request: Authorised) -> Result<Response, Legacy> {
    make(&app, request, &TEXT_V6).await
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
    make(&app, request, &IMAGE).await
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
    make(&app, request, &IMAGE_V6).await
}

async fn make(app: &App, request: Authorised, endpoint: &Endpoint) -> Result<Response, Legacy> {
    let owner = request.owner.clone();
    let submission = submission(request, endpoint)?;
    generate(app, &owner, submission, endpoint.fetch).await
}

/// What a body asks for.
fn submission(request: Authorised, endpoint: &Endpoint) -> Result<Submission, ServiceError> {
    let Some(body) = request.body.as_object() else {
        return Err(ServiceError::fault("body", "The body must be a JSON object."));
    };
    let mut submission = Submission::read(body);
    submission.idempotency_key = request.idempotency_key.clone();
    submission.pinned = true;
    submission.temporary = body.get("temp").is_some_and(is_yes);
    submission.has_link = body.get("instant_response").is_some_and(is_yes);
    let faults = &mut submission.faults;
    if let Some(field) = endpoint.required {
        faults.take(request.required(field))?;
    }
    for (field, kind) in INIT {
        let source = faults.take(request.source(field))?.flatten();
        submission.init = source.map(|source| (field, kind, source)).or(submission.init);
    }
    let asked = faults.take(request.optional("output_type"))?.flatten();
    submission.output_type = faults
        .take(output_type(asked.as_deref()))?
        .flatten()
        .unwrap_or(endpoint.output_type);
    Ok(submission)
}

/// The output type of a request, if it says one.
pub(in crate::api) fn output_type(asked: Option<&str>) -> Result<Option<OutputType>, ServiceError> {
    let Some(asked) = asked else {
        return Ok(None);
    };
    let found = asked.trim().parse().ok();
    let found = found.filter(|found: &OutputType| found.medium() == Medium::Video);
    let fault = || ServiceError::fault("output_type", "The output type must be mp4 or gif.");
    found.map(Some).ok_or_else(fault)
}

/// Whether a switch says yes, in the ways in which clients write it.
pub(in crate::api) fn is_yes(value: &Value) -> bool {
    match value {
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() == Some(1.0),
        Value::String(text) => ["yes", "true", "1", "on"].contains(&text.trim().to_lowercase().as_str()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn switches_say_yes_in_the_ways_of_clients() {
        for yes in [
            json!(true),
            json!("yes"),
            json!(" YES "),
            json!("on"),
            json!(1),
            json!(1.0),
            json!("1"),
        ] {
            assert!(is_yes(&yes), "{yes}");
        }
        for no in [
            json!(false),
            json!("no"),
            json!(null),
            json!(0),
            json!(2),
            json!(""),
            json!([1]),
        ] {
            assert!(!is_yes(&no), "{no}");
        }
    }

    #[test]
    fn output_types_are_named_or_left_to_the_endpoint() {
        assert_eq!(output_type(None).unwrap(), None);
        assert_eq!(output_type(Some(" GIF ")).unwrap(), Some(OutputType::Gif));
        let Err(ServiceError::Faults(faults)) = output_type(Some("base64")) else {
            panic!("there is no such type");
        };
        assert_eq!(faults["output_type"], ["The output type must be mp4 or gif."]);
    }
}
