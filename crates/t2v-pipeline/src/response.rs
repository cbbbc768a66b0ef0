//! The answer of the API's `text2video` endpoint.

use serde::Serialize;

/// What the endpoint answers when a video is ready.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TextToVideoResponse {
    /// `success`
    pub status: &'static str,
    /// Seconds from the start of the generation to the written video.
    #[serde(rename = "generationTime")]
    pub generation_time: f64,
    /// Number of the generation.
    pub id: u64,
    /// Where the video is: URLs, or paths on this machine.
    pub output: Vec<String>,
}

impl TextToVideoResponse {
    /// The answer for a video that is ready.
    #[must_use]
    pub fn success(id: u64, generation_time: f64, output: Vec<String>) -> Self {
        Self {
            status: "success",
            generation_time,
            id,
            output,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_the_shape_of_the_api() {
        let response = TextToVideoResponse::success(14, 8.5, vec!["out.mp4".into()]);
        let json = serde_json::to_value(response).unwrap();
        let expected = serde_json::json!({
            "status": "success", "generationTime": 8.5, "id": 14, "output": ["out.mp4"],
        });
        assert_eq!(json, expected);
    }
}
