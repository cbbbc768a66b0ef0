//! The API's limits.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;
use t2v_schedulers::SchedulerKind;

use super::TextToVideoRequest;
use crate::{FlowShift, flow_shift};

/// Pixels, of any model; each says how many it can do.
pub(crate) const MAX_SIDE: u32 = 2048;
/// Pixels that most models can do, and the limit of the API.
pub(crate) const USUAL_SIDE: u32 = 1024;
pub(crate) const MAX_STEPS: u32 = 50;
pub(crate) const MAX_GUIDANCE: f64 = 20.0;
/// Of any model; each says how many it can do.
pub(crate) const MAX_FRAMES: u32 = 1024;
pub(crate) const MAX_FPS: u32 = 60;
pub(crate) const MAX_CLIP_SKIP: u32 = 8;

/// Faults of a request, by field: the `message` of the API's validation errors.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct ValidationError {
    faults: BTreeMap<String, Vec<String>>,
}

impl std::error::Error for ValidationError {}

impl fmt::Display for ValidationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<&str> = self.faults.values().flatten().map(String::as_str).collect();
        f.write_str(&all.join(" "))
    }
}

impl ValidationError {
    /// The faults as they are, where there are any.
    pub(crate) fn of(faults: Self) -> Result<(), Self> {
        if faults.faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    pub(crate) fn add(&mut self, field: &str, fault: impl Into<String>) {
        self.faults.entry(field.into()).or_default().push(fault.into());
    }

    /// Adds the faults of `other` in fields that have none yet.
    pub(crate) fn merge(&mut self, other: Self) {
        for (field, faults) in other.faults {
            self.faults.entry(field).or_insert(faults);
        }
    }

    /// Field names and what is wrong with each.
    pub fn faults(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.faults
            .iter()
            .map(|(field, faults)| (field.as_str(), faults.as_slice()))
    }

    fn check_range<T: PartialOrd + fmt::Display>(&mut self, field: &str, value: Option<T>, min: T, max: T) {
        if let Some(value) = value
            && !(value >= min && value <= max)
        {
            self.add(
                field,
                format!("The {} must be between {min} and {max}, not {value}.", spoken(field)),
            );
        }
    }
}

/// `num_inference_steps` as the API's messages write it.
pub(super) fn spoken(field: &str) -> String {
    field.replace('_', " ")
}

pub(super) fn faults(request: &TextToVideoRequest) -> ValidationError {
    let mut faults = ValidationError::default();
    for (field, side) in [("width", request.width), ("height", request.height)] {
        match side {
            Some(side) if side > MAX_SIDE => {
                faults.add(
                    field,
                    format!("The {field} may not be greater than {MAX_SIDE}, not {side}."),
                );
            }
            Some(0) => faults.add(field, format!("The {field} must be at least 1.")),
            _ => {}
        }
    }
    faults.check_range("num_inference_steps", request.num_inference_steps, 1, MAX_STEPS);
    faults.check_range("guidance_scale", request.guidance_scale, 1.0, MAX_GUIDANCE);
    faults.check_range("guidance_scale_2", request.guidance_scale_2, 1.0, MAX_GUIDANCE);
    faults.check_range("strength", request.strength, 0.0, 1.0);
    faults.check_range("num_frames", request.num_frames, 1, MAX_FRAMES);
    faults.check_range("clip_skip", request.clip_skip, 0, MAX_CLIP_SKIP);
    faults.check_range("fps", request.fps, 1, MAX_FPS);
    faults.check_range("guidance_rescale", request.guidance_rescale, 0.0, 1.0);
    if let Some(FlowShift::Of(shift)) = request.flow_shift {
        faults.check_range("flow_shift", Some(shift), flow_shift::MIN, flow_shift::MAX);
    }
    if let Err(wrong) = request.loras() {
        faults.merge(wrong);
    }
    if let Some(free_init) = &request.free_init {
        free_init.check(&mut faults);
    }
    if let Some(name) = &request.scheduler
        && let Err(error) = name.parse::<SchedulerKind>()
    {
        faults.add("scheduler", format!("The scheduler is not usable: {error}."));
    }
    faults
}
