//! What requests to a model may ask for, as numbers: for programs that show a form before there is a request.

use serde::Serialize;

use crate::{
    geometry::Geometry,
    request::{MAX_CLIP_SKIP, MAX_FPS, MAX_FRAMES, MAX_GUIDANCE, MAX_SIDE, MAX_STEPS},
};

/// The values that a field may have: from `minimum` to `maximum`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Limit<T> {
    /// The least.
    pub minimum: T,
    /// The greatest.
    pub maximum: T,
    /// The distance between two values, beginning with the least; `None`: any number will do.
    pub step: Option<T>,
}

/// The values that the fields of a request may have, by the names of the fields.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Limits {
    /// Pixels.
    pub width: Limit<u32>,
    /// Pixels.
    pub height: Limit<u32>,
    /// Frames of the video.
    pub num_frames: Limit<u32>,
    /// Frames a second.
    pub fps: Limit<u32>,
    /// Denoising steps.
    pub num_inference_steps: Limit<u32>,
    /// Weight of the prompt.
    pub guidance_scale: Limit<f64>,
    /// How much is replaced of the pictures to start from.
    pub strength: Limit<f64>,
    /// Layers of the text encoder that are left out; a model may have fewer.
    pub clip_skip: Limit<u32>,
    /// The seed.
    pub seed: Limit<u32>,
}

impl Limits {
    /// Those of a model whose clips have these sizes.
    pub(crate) fn of(geometry: &Geometry) -> Self {
        let multiple = geometry.side_multiple as u32;
        let side = Limit {
            minimum: multiple,
            maximum: MAX_SIDE / multiple * multiple,
            step: Some(multiple),
        };
        Self {
            width: side,
            height: side,
            num_frames: Limit {
                minimum: 1,
                maximum: geometry.nearest_frames(MAX_FRAMES),
                step: Some(geometry.temporal_factor as u32),
            },
            fps: whole(1, MAX_FPS),
            num_inference_steps: whole(1, MAX_STEPS),
            guidance_scale: any(1.0, MAX_GUIDANCE),
            strength: any(0.0, 1.0),
            clip_skip: whole(0, MAX_CLIP_SKIP),
            seed: whole(0, u32::MAX),
        }
    }
}

fn whole(minimum: u32, maximum: u32) -> Limit<u32> {
    let step = Some(1);
    Limit { minimum, maximum, step }
}

fn any(minimum: f64, maximum: f64) -> Limit<f64> {
    let step = None;
    Limit { minimum, maximum, step }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{TextToVideoRequest, ValidationError};

    fn geometry(temporal_factor: usize) -> Geometry {
        Geometry {
            channels: 4,
            spatial_factor: 8,
            side_multiple: 24,
            temporal_factor,
            max_frames: 82,
        }
    }

    fn is_accepted(geometry: &Geometry, request: &TextToVideoRequest) -> bool {
        let mut faults = ValidationError::default();
        for (field, side) in [("width", request.width), ("height", request.height)] {
            side.iter()
                .for_each(|side| geometry.check_side(field, *side as usize, &mut faults));
        }
        request
            .num_frames
            .iter()
            .for_each(|frames| geometry.check_frames("num_frames", *frames as usize, &mut faults));
        request.validate().is_ok() && ValidationError::of(faults).is_ok()
    }

    /// What lies within the limits is accepted, and what lies a step beyond them is not.
    #[test]
    fn limits_are_those_of_the_checks() {
        for geometry in [geometry(1), geometry(4)] {
            let limits = Limits::of(&geometry);
            type Set<T> = fn(&mut TextToVideoRequest, T);
            let whole: [(Limit<u32>, Set<u32>); 6] = [
                (limits.width, |request, value| request.width = Some(value)),
                (limits.height, |request, value| request.height = Some(value)),
                (limits.num_frames, |request, value| request.num_frames = Some(value)),
                (limits.fps, |request, value| request.fps = Some(value)),
                (limits.num_inference_steps, |request, value| {
                    request.num_inference_steps = Some(value)
                }),
                (limits.clip_skip, |request, value| request.clip_skip = Some(value)),
            ];
            for (number, (limit, set)) in whole.into_iter().enumerate() {
                let step = limit.step.unwrap();
                let asks = |value| {
                    let mut request = TextToVideoRequest::new("a ball");
                    set(&mut request, value);
                    is_accepted(&geometry, &request)
                };
                assert!(
                    asks(limit.minimum) && asks(limit.minimum + step) && asks(limit.maximum),
                    "{number}"
                );
                assert!(!asks(limit.maximum + step), "{number}");
                assert!(limit.minimum == 0 || !asks(limit.minimum - 1), "{number}");
                assert!(step == 1 || !asks(limit.minimum + 1), "{number}");
            }
            let any: [(Limit<f64>, Set<f64>); 2] = [
                (limits.guidance_scale, |request, value| {
                    request.guidance_scale = Some(value)
                }),
                (limits.strength, |request, value| request.strength = Some(value)),
            ];
            for (limit, set) in any {
                let asks = |value| {
                    let mut request = TextToVideoRequest::new("a ball");
                    set(&mut request, value);
                    is_accepted(&geometry, &request)
                };
                assert!(asks(limit.minimum) && asks(limit.maximum));
                assert!(!asks(limit.minimum - 0.01) && !asks(limit.maximum + 0.01));
            }
        }
    }
}
