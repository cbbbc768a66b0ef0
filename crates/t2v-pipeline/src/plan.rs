//! A request with every default filled in.

use std::hash::{BuildHasher, Hasher};

use t2v_schedulers::SchedulerKind;

use crate::{
    InitMedia, InitReport, PipelineError, Report, TextToVideoRequest, ValidationError, checkpoint::Checkpoint,
    request::MAX_SIDE,
};

/// What a generation does.
pub(crate) struct Plan {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) num_frames: usize,
    pub(crate) strength: f64,
    pub(crate) enhance_prompt: Option<bool>,
    pub(crate) scheduler: SchedulerKind,
    pub(crate) report: Report,
}

impl Plan {
    /// # Errors
    /// Every fault of the request, those that depend on the model too.
    pub(crate) fn new(
        checkpoint: &Checkpoint,
        request: &TextToVideoRequest,
        init: Option<&InitMedia>,
        vae_tiling: bool,
    ) -> Result<Self, PipelineError> {
        request.validate()?;
        let defaults = &checkpoint.defaults;
        let scheduler = checkpoint.scheduler_kind(request.scheduler.as_deref())?;
        let steps = request.num_inference_steps.unwrap_or(defaults.num_inference_steps);
        let strength = request.strength.unwrap_or(defaults.strength);
        let mut faults = ValidationError::default();
        let [width, height] = size(checkpoint, request, &mut faults);
        checkpoint.family.check(request, &mut faults);
        let num_frames = match init.and_then(InitMedia::num_frames) {
            Some(frames) => frames,
            None => request.num_frames.unwrap_or(defaults.num_frames) as usize,
        };
        checkpoint.family.geometry().check_frames(num_frames, &mut faults);
        match init {
            None if scheduler == SchedulerKind::DdimInverse => faults.add(
                "scheduler",
                format!(
                    "The scheduler {scheduler} turns pictures into noise and back: give an init image or an init video."
                ),
            ),
            Some(_) if kept_steps(steps as usize, strength) == 0 => {
                let least = 1.0 / f64::from(steps);
                let fault =
                    format!("The strength of {strength} leaves none of {steps} steps; it must be at least {least:.3}.");
                faults.add("strength", fault);
            }
            _ => {}
        }
        ValidationError::of(faults)?;
        Ok(Self {
            width,
            height,
            num_frames,
            strength,
            enhance_prompt: request.enhance_prompt,
            scheduler,
            report: Report {
                model_id: checkpoint.name.clone(),
                prompt: request.prompt.clone(),
                original_prompt: None,
                negative_prompt: request.negative_prompt.clone().unwrap_or_default(),
                width: width as u32,
                height: height as u32,
                num_frames: num_frames as u32,
                fps: request.fps.unwrap_or(defaults.fps),
                scheduler: scheduler.to_string(),
                num_inference_steps: steps,
                guidance_scale: request.guidance_scale.unwrap_or(defaults.guidance_scale),
                strength: init.map(|_| strength),
                clip_skip: request.clip_skip.unwrap_or(0),
                seed: request.seed.unwrap_or_else(random_seed),
                prompt_weighting: request.prompt_weighting.unwrap_or_default(),
                long_prompts: request.long_prompts.unwrap_or_default(),
                vae_tiling: request.vae_tiling.unwrap_or(vae_tiling),
                init: init.map(InitReport::of),
                textual_inversions: Vec::new(),
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

/// Width and height: the request's, or the checkpoint's own.
fn size(checkpoint: &Checkpoint, request: &TextToVideoRequest, faults: &mut ValidationError) -> [usize; 2] {
    let geometry = checkpoint.family.geometry();
    let mut side = |field: &str, asked: Option<u32>, default: Option<u32>| {
        let Some(pixels) = asked.or(default).map(|side| side as usize) else {
            let fault = format!("The {field} is required: the model has no default of at most {MAX_SIDE}.");
            faults.add(field, fault);
            return 0;
        };
        geometry.check_side(field, pixels, faults);
        pixels
    };
    let defaults = &checkpoint.defaults;
    [
        side("width", request.width, defaults.width),
        side("height", request.height, defaults.height),
    ]
}

/// A seed from the operating system's randomness.
fn random_seed() -> u32 {
    std::hash::RandomState::new().build_hasher().finish() as u32
}
