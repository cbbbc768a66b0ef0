//! Still pictures from prompts, from pictures, and into masks.

use axum::{extract::State, response::Response};
use serde_json::Value;

use super::{answers::generate, not_built::no_model, request::Authorised, text2video::is_yes};
use crate::{
    api::{
        App, Shared,
        error::{Legacy, LegacyError},
        schema::{ImageToImageBody, InpaintBody, TextToImageBody},
    },
    job::{InitKind, Medium, OutputType},
    service::{ServiceError, Submission},
    worker::engine::MOST_SAMPLES,
};

/// Where the result of a job is asked for, before its number.
const FETCH: &str = "/api/v1/enterprise/fetch";
/// Fields that concern videos alone.
const OF_VIDEOS: [&str; 5] = [
    "num_frames",
    "fps",
    "output_type",
    "use_improved_sampling",
    "improved_sampling_seed",
];

/// How the endpoints differ.
struct Endpoint {
    name: &'static str,
    has_init: bool,
    has_mask: bool,
}

/// Makes 1 to 4 pictures (`samples`) from a prompt, with a model that makes pictures; without `model_id` the first of these. Done
/// within the server's `--wait`, they are answered with `success`, else with `processing`.
#[utoipa::path(
    post, path = "/api/v1/enterprise/text2img", tag = "enterprise", request_body = TextToImageBody,
    responses(
        (status = 200, description = "`success` with the URLs of the pictures, or `processing`.", body = Object),
        (status = 400, description = "Faults by field; a model that makes videos is one, and the fault names those that make pictures.", body = LegacyError),
        (status = 404, description = "There is no such model, or none that makes pictures.", body = LegacyError),
        (status = "4XX", description = "As for `/api/v1/enterprise/text2video`.", body = LegacyError),
        (status = "5XX", description = "As for `/api/v1/enterprise/text2video`.", body = Object)
    )
)]
pub(super) async fn text2img(State(app): Shared, request: Authorised) -> Result<Response, Legacy> {
    let endpoint = Endpoint {
        name: "text2img",
        has_init: false,
        has_mask: false,
    };
    make(&app, request, &endpoint).await
}

/// Makes pictures from a picture, `init_image`, and a prompt; `strength` says how much of it is replaced.
#[utoipa::path(
    post, path = "/api/v1/enterprise/img2img", tag = "enterprise", request_body = ImageToImageBody,
    responses(
        (status = 200, description = "`success` with the URLs of the pictures, or `processing`.", body = Object),
        (status = "4XX", description = "As for `/api/v1/enterprise/text2img`.", body = LegacyError),
        (status = "5XX", description = "As for `/api/v1/enterprise/text2img`.", body = Object)
    )
)]
pub(super) async fn img2img(State(app): Shared, request: Authorised) -> Result<Response, Legacy> {
    let endpoint = Endpoint {
        name: "img2img",
        has_init: true,
        has_mask: false,
    };
    make(&app, request, &endpoint).await
}

/// Paints a part of a picture, `init_image`, anew: where `mask_image` is white.
#[utoipa::path(
    post, path = "/api/v1/enterprise/inpaint", tag = "enterprise", request_body = InpaintBody,
    responses(
        (status = 200, description = "`success` with the URLs of the pictures, or `processing`.", body = Object),
        (status = "4XX", description = "As for `/api/v1/enterprise/text2img`.", body = LegacyError),
        (status = "5XX", description = "As for `/api/v1/enterprise/text2img`.", body = Object)
    )
)]
pub(super) async fn inpaint(State(app): Shared, request: Authorised) -> Result<Response, Legacy> {
    let endpoint = Endpoint {
        name: "inpaint",
        has_init: true,
        has_mask: true,
    };
    make(&app, request, &endpoint).await
}

async fn make(app: &App, request: Authorised, endpoint: &Endpoint) -> Result<Response, Legacy> {
    if app.service.models_for(Medium::Picture).await?.is_empty() {
        return Err(no_model(endpoint.name));
    }
    let submission = submission(&request, endpoint)?;
    generate(app, &request.owner, submission, FETCH).await
}

/// What a body asks for.
fn submission(request: &Authorised, endpoint: &Endpoint) -> Result<Submission, ServiceError> {
    let Some(body) = request.body.as_object() else {
        return Err(ServiceError::fault("body", "The body must be a JSON object."));
    };
    let mut own = body.clone();
    own.retain(|field, _| !OF_VIDEOS.contains(&field.as_str()));
    let mut submission = Submission::read(&own);
    submission.idempotency_key = request.idempotency_key.clone();
    submission.pinned = true;
    submission.temporary = body.get("temp").is_some_and(is_yes);
    submission.has_link = body.get("instant_response").is_some_and(is_yes);
    submission.output_type = match body.get("base64").is_some_and(is_yes) {
        true => OutputType::Base64,
        false => OutputType::Png,
    };
    let faults = &mut submission.faults;
    submission.samples = faults.take(samples(body.get("samples")))?.flatten();
    if endpoint.has_init {
        let source = faults.take(
            request
                .required("init_image")
                .and_then(|_| request.source("init_image")),
        )?;
        submission.init = source.flatten().map(|source| ("init_image", InitKind::Image, source));
    }
    if endpoint.has_mask {
        let source = faults.take(
            request
                .required("mask_image")
                .and_then(|_| request.source("mask_image")),
        )?;
        submission.mask = source.flatten().map(|source| ("mask_image", source));
    }
    Ok(submission)
}

/// How many pictures are wished, if that is said: a number or its digits.
fn samples(value: Option<&Value>) -> Result<Option<u8>, ServiceError> {
    let number = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) if text.trim().is_empty() => return Ok(None),
        Some(Value::String(text)) => text.trim().parse().ok(),
        Some(other) => other.as_u64().and_then(|number| u8::try_from(number).ok()),
    };
    let fault = || {
        let fault = format!("The samples must be a whole number between 1 and {MOST_SAMPLES}.");
        ServiceError::fault("samples", fault)
    };
    let number = number.filter(|number| (1..=MOST_SAMPLES).contains(number));
    number.map(Some).ok_or_else(fault)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn samples_are_one_to_four() {
        assert_eq!(samples(None).unwrap(), None);
        assert_eq!(samples(Some(&json!(null))).unwrap(), None);
        assert_eq!(samples(Some(&json!("4"))).unwrap(), Some(4));
        assert_eq!(samples(Some(&json!(1))).unwrap(), Some(1));
        for wrong in [json!(0), json!(5), json!("two"), json!(1.5), json!([1]), json!(256)] {
            assert!(samples(Some(&wrong)).is_err(), "{wrong}");
        }
    }
}
