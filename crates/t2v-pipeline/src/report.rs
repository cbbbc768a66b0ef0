//! What a generation really used.

use serde::{Deserialize, Serialize};
use t2v_mp4::Metadata;

use crate::TextToVideoRequest;

/// The values that a generation really used, defaults and the drawn seed included.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Report {
    /// Name of the model: of its folder, or `tiny-world`.
    pub model_id: String,
    /// The prompt, as completed.
    pub prompt: String,
    /// The prompt of the request, where an enhancer made another of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original_prompt: Option<String>,
    /// The negative prompt, as completed; empty where there was none.
    pub negative_prompt: String,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Frames of the whole video.
    pub num_frames: u32,
    /// Frames a second.
    pub fps: u32,
    /// Class name of the scheduler.
    pub scheduler: String,
    /// Denoising steps.
    pub num_inference_steps: u32,
    /// Weight of the prompt.
    pub guidance_scale: f64,
    /// How much of the pictures to start from was replaced, where there were any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strength: Option<f64>,
    /// Layers of the text encoder that were left out.
    pub clip_skip: u32,
    /// The seed; with it the same request gives the same frames.
    pub seed: u32,
    /// Tokens at the end of the prompt that did not fit the text encoder, or the most chunks of a long prompt.
    pub truncated_tokens: usize,
    /// Whether the generation was cancelled and this is what it had.
    pub interrupted: bool,
}

impl Report {
    /// The request that gives the same video again, given the same model and pictures to start from.
    #[must_use]
    pub fn request(&self) -> TextToVideoRequest {
        TextToVideoRequest {
            model_id: Some(self.model_id.clone()),
            prompt: self.prompt.clone(),
            negative_prompt: Some(self.negative_prompt.clone()),
            width: Some(self.width),
            height: Some(self.height),
            scheduler: Some(self.scheduler.clone()),
            num_inference_steps: Some(self.num_inference_steps),
            enhance_prompt: Some(false),
            guidance_scale: Some(self.guidance_scale),
            strength: self.strength,
            seed: Some(self.seed),
            num_frames: Some(self.num_frames),
            clip_skip: Some(self.clip_skip),
            fps: Some(self.fps),
            ..TextToVideoRequest::default()
        }
    }

    /// What a file says about the video.
    pub(crate) fn metadata(&self) -> Metadata {
        let metadata = Metadata::new()
            .with_model(&self.model_id)
            .with_prompt(&self.prompt)
            .with_negative_prompt(&self.negative_prompt)
            .with_seed(self.seed.into())
            .with_scheduler(&self.scheduler)
            .with_steps(self.num_inference_steps)
            .with_guidance(self.guidance_scale);
        let metadata = match serde_json::to_string(&self.request()) {
            Ok(json) => metadata.with_request(json),
            // Strings and numbers always are JSON.
            Err(_) => metadata,
        };
        match metadata.validate() {
            Ok(()) => metadata,
            // With a prompt of half a megabyte: a video that says nothing is better than none.
            Err(_) => Metadata::new(),
        }
    }
}
