//! What requests to a model may ask for, as numbers: for programs that show a form before there is a request.

use serde::Serialize;

use crate::{
    geometry::Geometry,
    request::{MAX_CLIP_SKIP, MAX_FPS, MAX_FRAMES, MAX_GUIDANCE, MAX_STEPS},
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
            maximum: geometry.max_side / multiple * multiple,
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
