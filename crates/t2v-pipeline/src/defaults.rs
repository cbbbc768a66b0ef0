//! What a checkpoint uses where a request is silent.

use serde::Deserialize;
use t2v_weights::{ModelFolder, WeightsError};

/// Defaults of diffusers' `TextToVideoSDPipeline`; a model folder may hold others in [`FILE`].
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Defaults {
    pub(crate) num_frames: usize,
    pub(crate) fps: u32,
    pub(crate) num_inference_steps: usize,
    pub(crate) guidance_scale: f64,
    pub(crate) strength: f64,
    /// Pixels; otherwise the denoiser's sample size times the autoencoder's factor.
    pub(crate) width: Option<usize>,
    pub(crate) height: Option<usize>,
    /// Class name; otherwise the one of `scheduler_config.json`.
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
    pub(crate) fn read(folder: &ModelFolder) -> Result<Self, WeightsError> {
        folder.optional_config(FILE).map(Option::unwrap_or_default)
    }
}
