//! The answers of the API's `text2video` endpoint, in its exact shapes.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{PipelineError, Report, ValidationError};

/// What the endpoint answers, told apart by `status`.
///
/// ```
/// use t2v_pipeline::TextToVideoResponse;
///
/// let response = TextToVideoResponse::success(7, 8.5, vec!["https://example.org/7.mp4".into()]);
/// let json = serde_json::to_string(&response).unwrap();
/// assert_eq!(json, r#"{"status":"success","generationTime":8.5,"id":7,"output":["https://example.org/7.mp4"]}"#);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "lowercase")]
#[non_exhaustive]
pub enum TextToVideoResponse {
    /// The video is ready.
    Success(Success),
    /// The video is not ready yet.
    Processing(Processing),
    /// The request is at fault.
    Error(ErrorResponse),
    /// The generation went wrong.
    Failed(Failed),
}

/// `{"status": "success", …}`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Success {
    /// Seconds from the start of the generation to the written video.
    #[serde(rename = "generationTime")]
    pub generation_time: f64,
    /// Number of the generation.
    pub id: u64,
    /// Where the video is: URLs, or paths on this machine.
    pub output: Vec<String>,
    /// What the video was made with; the endpoint of 2023 leaves it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meta: Option<Box<Report>>,
}

/// `{"status": "processing", …}`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Processing {
    /// Advice to the client; left out where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tip: Option<String>,
    /// Seconds until the video is expected.
    pub eta: f64,
    /// What the client should do. The API's own spelling is `messege`; `message` is understood, too.
    #[serde(rename = "messege", alias = "message")]
    pub message: String,
    /// The URL that gives the result.
    pub fetch_result: String,
    /// Number of the generation.
    pub id: u64,
    /// Empty.
    pub output: Vec<String>,
    /// What the video is being made with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meta: Option<Value>,
}

/// `{"status": "error", …}`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ErrorResponse {
    /// A text, or faults by field: `{"width": ["The width may not be greater than 2048, not 5000."]}`.
    pub message: Value,
    /// Advice to the client; left out where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tip: Option<String>,
}

/// `{"status": "failed", …}`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Failed {
    /// The number of the generation as a text, which the API leaves empty where there is none.
    pub id: String,
    /// What went wrong.
    pub message: String,
    /// Empty.
    pub output: String,
}

impl TextToVideoResponse {
    /// The answer for a video that is ready.
    #[must_use]
    pub fn success(id: u64, generation_time: f64, output: Vec<String>) -> Self {
        Self::Success(Success {
            generation_time,
            id,
            output,
            meta: None,
        })
    }

    /// The answer for a video that is not ready yet: seconds until it is, and the URL to ask again at.
    #[must_use]
    pub fn processing(id: u64, eta: f64, fetch_result: impl Into<String>) -> Self {
        Self::Processing(Processing {
            tip: None,
            eta,
            message: "Try to fetch request after given estimated time".to_owned(),
            fetch_result: fetch_result.into(),
            id,
            output: Vec::new(),
            meta: None,
        })
    }

    /// The answer for a request that can't be done, as it is.
    #[must_use]
    pub fn error(message: impl Into<String>) -> Self {
        Self::Error(ErrorResponse {
            message: Value::String(message.into()),
            tip: None,
        })
    }

    /// The answer for a generation that went wrong; `id` where it has one.
    #[must_use]
    pub fn failed(id: Option<u64>, message: impl Into<String>) -> Self {
        Self::Failed(Failed {
            id: id.map(|id| id.to_string()).unwrap_or_default(),
            message: message.into(),
            output: String::new(),
        })
    }

    /// Adds what the video was made with to a success; other answers stay as they are.
    #[must_use]
    pub fn with_meta(mut self, report: Report) -> Self {
        if let Self::Success(success) = &mut self {
            success.meta = Some(Box::new(report));
        }
        self
    }
}

impl From<&ValidationError> for TextToVideoResponse {
    fn from(error: &ValidationError) -> Self {
        let faults = error
            .faults()
            .map(|(field, faults)| (field.to_owned(), Value::from(faults)));
        Self::Error(ErrorResponse {
            message: Value::Object(faults.collect()),
            tip: None,
        })
    }
}

impl From<&PipelineError> for TextToVideoResponse {
    /// A fault of the request is an `error`, any other a `failed`, with the [message for
    /// clients](PipelineError::public_message).
    fn from(error: &PipelineError) -> Self {
        match error {
            PipelineError::Request(faults) => faults.into(),
            PipelineError::UnknownModel { .. } => Self::error("Model id not found"),
            PipelineError::InitMedia(_) => Self::error(error.public_message()),
            other => Self::failed(None, other.public_message()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn assert_json(response: &TextToVideoResponse, expected: Value) {
        assert_eq!(serde_json::to_value(response).unwrap(), expected);
        assert_eq!(
            &serde_json::from_value::<TextToVideoResponse>(expected).unwrap(),
            response
        );
    }

    #[test]
    fn each_answer_has_the_shape_of_the_api() {
        assert_json(
            &TextToVideoResponse::success(14, 8.5, vec!["out.mp4".into()]),
            json!({"status": "success", "generationTime": 8.5, "id": 14, "output": ["out.mp4"]}),
        );
        assert_json(
            &TextToVideoResponse::processing(13, 21.9, "https://example.org/fetch/13"),
            json!({
                "status": "processing", "eta": 21.9, "messege": "Try to fetch request after given estimated time",
                "fetch_result": "https://example.org/fetch/13", "id": 13, "output": [],
            }),
        );
        assert_json(
            &TextToVideoResponse::error("Model id not found"),
            json!({"status": "error", "message": "Model id not found"}),
        );
        assert_json(
            &TextToVideoResponse::failed(None, "Failed, Try Again"),
            json!({"status": "failed", "id": "", "message": "Failed, Try Again", "output": ""}),
        );
    }

    #[test]
    fn clients_learn_no_paths() {
        let path = || "/srv/models/secret".to_string();
        let weights = || t2v_weights::WeightsError::MissingFolder(path().into());
        let errors = [
            PipelineError::from(weights()),
            t2v_text_encoder::TextEncoderError::from(weights()).into(),
            t2v_denoiser::DenoiserError::from(weights()).into(),
            t2v_vae::VaeError::from(weights()).into(),
            t2v_hub::HubError::from(weights()).into(),
            t2v_media::MediaError::Unusable {
                path: path(),
                reason: "it is empty".into(),
            }
            .into(),
            PipelineError::Latents {
                path: path(),
                reason: path(),
            },
            t2v_prompts::PromptError::Table {
                file: path(),
                reason: String::new(),
            }
            .into(),
            PipelineError::Panicked(path()),
        ];
        for error in errors {
            assert!(error.to_string().contains("/srv/"), "{error}");
            let json = serde_json::to_string(&TextToVideoResponse::from(&error)).unwrap();
            assert!(!json.contains("/srv/"), "{json}");
        }
    }

    #[test]
    fn faults_of_a_request_are_an_error_by_field() {
        let error = crate::TextToVideoRequest::new("x")
            .with_size(5000, 8)
            .validate()
            .unwrap_err();
        let expected = json!({
            "status": "error", "message": {"width": ["The width may not be greater than 2048, not 5000."]},
        });
        assert_json(&(&error).into(), expected.clone());
        assert_json(&(&PipelineError::Request(error)).into(), expected);
        let unknown = PipelineError::unknown_model("x", &["secret-model"]);
        assert_json(
            &(&unknown).into(),
            json!({"status": "error", "message": "Model id not found"}),
        );
        let failed = TextToVideoResponse::from(&PipelineError::Cancelled);
        assert!(matches!(&failed, TextToVideoResponse::Failed(failed) if failed.message.contains("cancelled")));
    }
}
