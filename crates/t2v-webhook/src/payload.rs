//! What a webhook is told, as the API's documentation has it.

use std::fmt::Display;

use serde::Serialize;
use serde_json::Value;

/// The body of a webhook: the outcome of one generation.
///
/// ```
/// use t2v_webhook::WebhookPayload;
///
/// let payload = WebhookPayload::success(14933666, 8.9, ["https://example.com/videos/1.mp4"])
///     .with_track_id(Some("video_001".into()))
///     .with_meta(serde_json::json!({"prompt": "a red ball", "width": 64, "height": 64}));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct WebhookPayload {
    /// `success` or `failed`.
    pub status: &'static str,
    /// Number of the generation. Receivers tell duplicates by it.
    pub id: String,
    /// Where the video is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Vec<String>>,
    /// Seconds that the generation took.
    #[serde(rename = "generationTime", skip_serializing_if = "Option::is_none")]
    pub generation_time: Option<f64>,
    /// Why there is no video.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The request's own, as it came: a string, a number, a boolean or null.
    pub track_id: Option<Value>,
    /// What was generated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meta: Option<Value>,
}

impl WebhookPayload {
    /// A video that is ready.
    #[must_use]
    pub fn success<S: Into<String>>(
        id: impl Display,
        generation_time: f64,
        output: impl IntoIterator<Item = S>,
    ) -> Self {
        Self {
            output: Some(output.into_iter().map(Into::into).collect()),
            generation_time: Some(generation_time),
            ..Self::new("success", id)
        }
    }

    /// A generation without a video, and why.
    #[must_use]
    pub fn failed(id: impl Display, message: impl Into<String>) -> Self {
        Self {
            message: Some(message.into()),
            ..Self::new("failed", id)
        }
    }

    fn new(status: &'static str, id: impl Display) -> Self {
        Self {
            status,
            id: id.to_string(),
            output: None,
            generation_time: None,
            message: None,
            track_id: None,
            meta: None,
        }
    }

    /// Sets the `track_id` of the request.
    #[must_use]
    pub fn with_track_id(mut self, track_id: Option<Value>) -> Self {
        self.track_id = track_id;
        self
    }

    /// Sets what was generated: prompt, model, size.
    #[must_use]
    pub fn with_meta(mut self, meta: impl Into<Value>) -> Self {
        self.meta = Some(meta.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn has_the_shape_of_the_api() {
        let meta = json!({"prompt": "a ball", "model_id": "tiny-world", "width": 64, "height": 64});
        let success = WebhookPayload::success(14, 45.2, ["https://example.com/x.mp4"])
            .with_track_id(Some("video_001".into()))
            .with_meta(meta.clone());
        let expected = json!({
            "status": "success", "id": "14", "output": ["https://example.com/x.mp4"], "generationTime": 45.2,
            "track_id": "video_001", "meta": meta,
        });
        assert_eq!(serde_json::to_value(success).unwrap(), expected);
        let failed = WebhookPayload::failed("14", "Processing failed: out of memory");
        let expected =
            json!({"status": "failed", "id": "14", "message": "Processing failed: out of memory", "track_id": null});
        assert_eq!(serde_json::to_value(failed).unwrap(), expected);
    }

    #[test]
    fn a_track_id_comes_back_as_it_was() {
        for track_id in [
            json!("x"),
            json!(7),
            json!(18446744073709551615u64),
            json!(1.5),
            json!(true),
            json!(null),
        ] {
            let payload = WebhookPayload::failed(1, "").with_track_id(Some(track_id.clone()));
            assert_eq!(serde_json::to_value(payload).unwrap()["track_id"], track_id);
        }
    }
}
