//! A request with every default filled in.

use std::hash::{BuildHasher, Hasher};

use t2v_schedulers::SchedulerKind;

use crate::{InitMedia, PipelineError, Report, TextToVideoRequest, ValidationError, model::Model};

/// What a generation does.
pub(crate) struct Plan {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) num_frames: usize,
    pub(crate) strength: f64,
    pub(crate) clip_skip: usize,
    pub(crate) enhance_prompt: Option<bool>,
    pub(crate) scheduler: SchedulerKind,
    pub(crate) report: Report,
}

impl Plan {
    /// # Errors
    /// Every fault of the request, those that depend on the model too.
    pub(crate) fn new(
        model: &Model,
        request: &TextToVideoRequest,
        init: Option<&InitMedia>,
    ) -> Result<Self, PipelineError> {
        request.validate()?;
        let defaults = &model.defaults;
        let scheduler = model.scheduler_kind(request.scheduler.as_deref())?;
        let steps = request
            .num_inference_steps
            .map_or(defaults.num_inference_steps, |n| n as usize);
        let strength = request.strength.unwrap_or(defaults.strength);
        let mut faults = ValidationError::default();
        let [width, height] = size(model, request, &mut faults);
        let clip_skip = model.clip_skip(request, &mut faults);
        match init {
            None if scheduler == SchedulerKind::DdimInverse => faults.add(
                "scheduler",
                format!(
                    "The scheduler {scheduler} turns pictures into noise and back: give an init image or an init video."
                ),
            ),
            Some(_) if kept_steps(steps, strength) == 0 => {
                let least = 1.0 / steps as f64;
                let fault =
                    format!("The strength of {strength} leaves none of {steps} steps; it must be at least {least:.3}.");
                faults.add("strength", fault);
            }
            _ => {}
        }
        if let Some(Err(fault)) = init.map(InitMedia::check) {
            faults.add("init", fault);
        }
        ValidationError::of(faults)?;
        let num_frames = init.and_then(InitMedia::num_frames);
        let num_frames =
            num_frames.unwrap_or_else(|| request.num_frames.map_or(defaults.num_frames, |count| count as usize));
        Ok(Self {
            width,
            height,
            num_frames,
            strength,
            clip_skip,
            enhance_prompt: request.enhance_prompt,
            scheduler,
            report: Report {
                model_id: model.name().to_owned(),
                prompt: request.prompt.clone(),
                original_prompt: None,
                negative_prompt: request.negative_prompt.clone().unwrap_or_default(),
                width: width as u32,
                height: height as u32,
                num_frames: num_frames as u32,
                fps: request.fps.unwrap_or(defaults.fps),
                scheduler: scheduler.to_string(),
                num_inference_steps: steps as u32,
                guidance_scale: request.guidance_scale.unwrap_or(defaults.guidance_scale),
                strength: init.map(|_| strength),
                clip_skip: clip_skip as u32,
                seed: request.seed.unwrap_or_else(random_seed),
                truncated_tokens: 0,
                interrupted: false,
            },
        })
    }

    /// Denoising steps.
    pub(crate) fn steps(&self) -> usize {
        self.report.num_inference_steps as usize
    }

    /// Steps that are run on init media.
    pub(crate) fn kept_steps(&self) -> usize {
        kept_steps(self.steps(), self.strength)
    }
}

/// As diffusers' `get_timesteps` counts them.
fn kept_steps(steps: usize, strength: f64) -> usize {
    ((steps as f64 * strength) as usize).min(steps)
}

/// Width and height: multiples of the model's factor.
fn size(model: &Model, request: &TextToVideoRequest, faults: &mut ValidationError) -> [usize; 2] {
    let factor = model.scale_factor();
    let mut side = |field: &str, asked: Option<u32>, default: Option<usize>| {
        let Some(pixels) = asked.map(|side| side as usize).or(default) else {
            faults.add(field, format!("The {field} is required: the model has no default."));
            return 0;
        };
        if pixels % factor != 0 {
            let (below, above) = (pixels / factor * factor, pixels.div_ceil(factor) * factor);
            let nearest = match below {
                0 => above.to_string(),
                _ => format!("{below} or {above}"),
            };
            let fault = format!("The {field} must be a multiple of {factor}, such as {nearest}, not {pixels}.");
            faults.add(field, fault);
        }
        pixels
    };
    let default = model.default_size();
    let width = side("width", request.width, default.map(|[width, _]| width));
    let height = side("height", request.height, default.map(|[_, height]| height));
    [width, height]
}

/// A seed from the operating system's randomness.
fn random_seed() -> u32 {
    std::hash::RandomState::new().build_hasher().finish() as u32
}
