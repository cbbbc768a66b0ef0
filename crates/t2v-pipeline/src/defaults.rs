//! What a checkpoint uses where a request is silent.

use serde::Deserialize;
use t2v_weights::{ModelFolder, WeightsError};

use crate::{TextToVideoRequest, ValidationError, geometry::Geometry};

/// The file of a model folder that overrides its family's defaults, an extension of the diffusers layout.
const FILE: &str = "t2v.json";

/// What a checkpoint uses where a request is silent.
#[derive(Debug, Clone)]
pub(crate) struct Defaults {
    pub(crate) num_frames: u32,
    pub(crate) fps: u32,
    pub(crate) num_inference_steps: u32,
    pub(crate) guidance_scale: f64,
    pub(crate) strength: f64,
    /// Pixels.
    pub(crate) width: Option<u32>,
    pub(crate) height: Option<u32>,
    /// Class name; otherwise the one that the folder names.
    pub(crate) scheduler: Option<String>,
}

/// What [`FILE`] may hold.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Overrides {
    num_frames: Option<u32>,
    fps: Option<u32>,
    num_inference_steps: Option<u32>,
    guidance_scale: Option<f64>,
    strength: Option<f64>,
    width: Option<u32>,
    height: Option<u32>,
    scheduler: Option<String>,
}

impl Defaults {
    /// With what the folder overrides.
    ///
    /// # Errors
    /// A value that no request to this model could have.
    pub(crate) fn read(self, folder: &ModelFolder, geometry: &Geometry) -> Result<Self, WeightsError> {
        let file: Overrides = folder.optional_config(FILE)?.unwrap_or_default();
        let defaults = Self {
            num_frames: file.num_frames.unwrap_or(self.num_frames),
            fps: file.fps.unwrap_or(self.fps),
            num_inference_steps: file.num_inference_steps.unwrap_or(self.num_inference_steps),
            guidance_scale: file.guidance_scale.unwrap_or(self.guidance_scale),
            strength: file.strength.unwrap_or(self.strength),
            width: file.width.or(self.width),
            height: file.height.or(self.height),
            scheduler: file.scheduler.or(self.scheduler),
        };
        defaults.check(geometry).map_err(|faults| WeightsError::Config {
            file: format!("{}/{FILE}", folder.name()),
            reason: faults.to_string(),
        })?;
        Ok(defaults)
    }

    fn check(&self, geometry: &Geometry) -> Result<(), ValidationError> {
        let request = TextToVideoRequest {
            width: self.width,
            height: self.height,
            scheduler: self.scheduler.clone(),
            num_inference_steps: Some(self.num_inference_steps),
            guidance_scale: Some(self.guidance_scale),
            strength: Some(self.strength),
            num_frames: Some(self.num_frames),
            fps: Some(self.fps),
            ..TextToVideoRequest::default()
        };
        request.validate()?;
        let mut faults = ValidationError::default();
        geometry.check_frames("num_frames", self.num_frames as usize, &mut faults);
        for (field, side) in [("width", self.width), ("height", self.height)] {
            if let Some(side) = side {
                geometry.check_side(field, side as usize, &mut faults);
            }
        }
        ValidationError::of(faults)
    }
}
