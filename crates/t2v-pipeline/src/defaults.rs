//! What a checkpoint uses where a request is silent.

use serde::Deserialize;
use t2v_weights::{ModelFolder, WeightsError};

use crate::TextToVideoRequest;

/// Defaults of diffusers' `TextToVideoSDPipeline`; a model folder may hold others in [`FILE`].
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Defaults {
    pub(crate) num_frames: u32,
    pub(crate) fps: u32,
    pub(crate) num_inference_steps: u32,
    pub(crate) guidance_scale: f64,
    pub(crate) strength: f64,
    /// Pixels; otherwise the denoiser's sample size times the autoencoder's factor.
    pub(crate) width: Option<u32>,
    pub(crate) height: Option<u32>,
    /// Class name; otherwise the one that the folder names.
    pub(crate) scheduler: Option<String>,
}

/// The file of a model folder that overrides the defaults, an extension of the diffusers layout.
const FILE: &str = "t2v.json";

impl Default for Defaults {
    fn default() -> Self {
        Self {
            num_frames: 16,
            fps: 8,
            num_inference_steps: 50,
            guidance_scale: 9.0,
            strength: 0.6,
            width: None,
            height: None,
            scheduler: None,
        }
    }
}

impl Defaults {
    /// # Errors
    /// A value that no request could have.
    pub(crate) fn read(folder: &ModelFolder) -> Result<Self, WeightsError> {
        let defaults: Self = folder.optional_config(FILE)?.unwrap_or_default();
        defaults
            .as_request()
            .validate()
            .map_err(|faults| WeightsError::Config {
                file: format!("{}/{FILE}", folder.name()),
                reason: faults.to_string(),
            })?;
        Ok(defaults)
    }

    fn as_request(&self) -> TextToVideoRequest {
        TextToVideoRequest {
            width: self.width,
            height: self.height,
            scheduler: self.scheduler.clone(),
            num_inference_steps: Some(self.num_inference_steps),
            guidance_scale: Some(self.guidance_scale),
            strength: Some(self.strength),
            num_frames: Some(self.num_frames),
            fps: Some(self.fps),
            ..TextToVideoRequest::default()
        }
    }
}
