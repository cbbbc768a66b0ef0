//! A request with every default filled in.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher, Hasher},
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use t2v_schedulers::SchedulerKind;

use crate::{
    InitMedia, InitReport, MaskReport, PipelineError, Report, TextToVideoRequest, ValidationError,
    checkpoint::Checkpoint,
    loras::{ChosenLoras, Loras, listed, unknown},
};

/// What a pipeline was told for all its generations, which may change while they wait.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    /// Where a request does not say.
    pub(crate) vae_tiling: AtomicBool,
    pub(crate) loras: Loras,
    /// Names of learnt words, each with whether the registry has it under that name.
    words: RwLock<BTreeMap<String, bool>>,
}

impl Settings {
    pub(crate) fn add_word(&self, name: impl Into<String>, is_registered: bool) {
        let mut words = self.words.write().unwrap_or_else(PoisonError::into_inner);
        let known = words.entry(name.into()).or_default();
        *known |= is_registered;
    }

    /// Whether there is a word that the registry has under this name.
    pub(crate) fn has_registered_word(&self, name: &str) -> bool {
        let words = self.words.read().unwrap_or_else(PoisonError::into_inner);
        words.get(name).copied().unwrap_or_default()
    }

    /// Adds a fault for each learnt word that the request asks for in vain.
    fn check_words(&self, request: &TextToVideoRequest, faults: &mut ValidationError) {
        let words = self.words.read().unwrap_or_else(PoisonError::into_inner);
        for name in listed(request.embeddings_model.as_deref()) {
            if !words.contains_key(name) {
                let known: Vec<&str> = words.keys().map(String::as_str).collect();
                faults.add("embeddings_model", unknown("learnt word", name, &known));
            }
        }
    }
}

/// What a generation does.
pub(crate) struct Plan {
    pub(crate) scheduler: SchedulerKind,
    pub(crate) enhance_prompt: Option<bool>,
    pub(crate) loras: ChosenLoras,
    /// Everything else, as far as it is known before the generation.
    pub(crate) report: Report,
}

impl Plan {
    /// # Errors
    /// Every fault of the request, those that depend on the model too.
    pub(crate) fn new(
        checkpoint: &Checkpoint,
        request: &TextToVideoRequest,
        init: Option<&InitMedia>,
        settings: &Settings,
    ) -> Result<Self, PipelineError> {
        request.validate()?;
        let mut faults = ValidationError::default();
        let scheduler = checkpoint.scheduler_kind(request.scheduler.as_deref())?;
        let mask = init.and_then(InitMedia::mask);
        // All of what a mask shows, unless it is asked for less.
        let default_strength = mask.map_or(checkpoint.defaults.strength, |_| 1.0);
        let strength = request.strength.unwrap_or(default_strength);
        let [width, height] = size(checkpoint, request, init, &mut faults);
        let num_frames = init.and_then(InitMedia::num_frames);
        let mut report = Report {
            width,
            height,
            num_frames: num_frames.unwrap_or(request.num_frames.unwrap_or(checkpoint.defaults.num_frames)),
            scheduler: scheduler.to_string(),
            flow_shift: request.flow_shift.map(|shift| shift.of_size(width, height)),
            // Pictures that are shown are not noised.
            strength: init
                .filter(|_| checkpoint.family.beginning().is_none())
                .map(|_| strength),
            mask: mask.map(MaskReport::of),
            vae_tiling: request
                .vae_tiling
                .unwrap_or_else(|| settings.vae_tiling.load(Ordering::Relaxed)),
            ..requested(checkpoint, request)
        };
        check_family(checkpoint, &report, &mut faults);
        checkpoint.family.check_init(init, report.num_frames, &mut faults);
        check_second_scale(checkpoint, request, &mut faults);
        check_flow_shift(checkpoint, request, &mut faults);
        let (loras, reports) = settings.loras.choose(&request.loras()?, &mut faults);
        report.loras = reports;
        settings.check_words(request, &mut faults);
        match init.map(InitMedia::check) {
            Some(Err(fault)) => faults.add("init", fault),
            _ => {
                let field = if num_frames.is_some() { "init" } else { "num_frames" };
                let geometry = *checkpoint.family.geometry();
                let geometry = match report.free_noise {
                    Some(_) => geometry.in_windows(),
                    None => geometry,
                };
                geometry.check_frames(field, report.num_frames as usize, &mut faults);
            }
        }
        let steps = report.num_inference_steps as usize;
        check_scheduler(checkpoint, scheduler, &report, &mut faults);
        check_start(scheduler, steps, &report, &mut faults);
        ValidationError::of(faults)?;
        report.init = init.map(InitReport::of);
        Ok(Self {
            scheduler,
            enhance_prompt: request.enhance_prompt,
            loras,
            report,
        })
    }

    /// Denoising steps.
    pub(crate) fn steps(&self) -> usize {
        self.report.num_inference_steps as usize
    }

    /// Steps that are run on init media.
    pub(crate) fn kept_steps(&self) -> usize {
        kept_steps(self.steps(), self.report.strength.unwrap_or(1.0))
    }

    /// Frames, height and width of the clip.
    pub(crate) fn clip(&self) -> [usize; 3] {
        [self.report.num_frames, self.report.height, self.report.width].map(|n| n as usize)
    }
}

/// What the request says, or else the checkpoint, of what depends on nothing else.
fn requested(checkpoint: &Checkpoint, request: &TextToVideoRequest) -> Report {
    let defaults = &checkpoint.defaults;
    let guidance_scale = request.guidance_scale.unwrap_or(defaults.guidance_scale);
    Report {
        model_id: checkpoint.name.clone(),
        prompt: request.prompt.clone(),
        // Blanks say nothing, and a video's own request would not have them.
        negative_prompt: request
            .negative_prompt
            .clone()
            .filter(|text| !text.trim().is_empty())
            .unwrap_or_default(),
        fps: request.fps.unwrap_or(defaults.fps),
        num_inference_steps: request.num_inference_steps.unwrap_or(defaults.num_inference_steps),
        guidance_scale,
        guidance_scale_2: checkpoint
            .family
            .guidance_boundary()
            .map(|_| request.guidance_scale_2.unwrap_or(guidance_scale)),
        clip_skip: request.clip_skip.unwrap_or(0),
        seed: request.seed.unwrap_or_else(random_seed),
        prompt_weighting: request.prompt_weighting.unwrap_or_default(),
        long_prompts: request.long_prompts.unwrap_or_default(),
        guidance_rescale: request.guidance_rescale.unwrap_or_default(),
        free_init: request.free_init(),
        improved_sampling_seed: request.free_init().and(request.improved_sampling_seed),
        free_noise: request.free_noise,
        speed: request.speed.unwrap_or_default(),
        dtype: checkpoint.dtype.to_string(),
        ..Report::default()
    }
}

/// Adds a fault where a weight is asked for that no step would use.
fn check_second_scale(checkpoint: &Checkpoint, request: &TextToVideoRequest, faults: &mut ValidationError) {
    if request.guidance_scale_2.is_some() && checkpoint.family.guidance_boundary().is_none() {
        faults.add(
            "guidance_scale_2",
            "The model has one denoiser for all steps, whose weight is the guidance scale: leave out guidance_scale_2.",
        );
    }
}

/// Adds a fault where a schedule is to be moved that is not of a flow.
fn check_flow_shift(checkpoint: &Checkpoint, request: &TextToVideoRequest, faults: &mut ValidationError) {
    if request.flow_shift.is_some() && !checkpoint.family.predicts_flow() {
        faults.add(
            "flow_shift",
            "The model predicts no flow, whose schedule could be shifted: leave out flow_shift.",
        );
    }
}

/// What FreeInit can't do.
fn check_free_init(report: &Report, faults: &mut ValidationError) {
    let Some(free_init) = report.free_init else { return };
    if report.scheduler == SchedulerKind::DdimInverse.class_name() {
        faults.add(
            "free_init",
            "FreeInit begins with noise, which the scheduler DDIMInverse makes of pictures: leave out one of them.",
        );
    }
    let passes = free_init.passes(report.num_inference_steps as usize, report.strength);
    if passes.first().is_some_and(|(_, run)| *run == 0) {
        faults.add(
            "strength",
            "FreeInit takes the strength of the steps again for each pass, which leaves the first none: give more steps or a greater \
             strength.",
        );
    }
}

/// Adds what the model can't do of a plan.
fn check_family(checkpoint: &Checkpoint, report: &Report, faults: &mut ValidationError) {
    let family = &checkpoint.family;
    check_free_init(report, faults);
    family.check(report, faults);
    if report.mask.is_some() && !family.makes_pictures() {
        faults.add(
            "mask",
            "The model can't paint into a mask: models of Stable Diffusion's pictures can.",
        );
    }
    if report.free_noise.is_some() && family.geometry().windows_to.is_none() {
        faults.add(
            "free_noise",
            "The model has no motion modules: windows of frames are for AnimateDiff's models.",
        );
    }
}

/// Adds why a scheduler can't be had with the settings, or not with so many steps.
fn check_scheduler(checkpoint: &Checkpoint, kind: SchedulerKind, report: &Report, faults: &mut ValidationError) {
    let made = checkpoint.scheduler(kind, report.flow_shift);
    let set = made.and_then(|mut scheduler| Ok(scheduler.set_timesteps(report.num_inference_steps as usize)?));
    if let Err(error) = set {
        faults.add(
            "scheduler",
            format!("The scheduler is not usable: {error}{}.", others(checkpoint, kind)),
        );
    }
}

/// Where the model has no such scheduler whatever the request says: those that it has.
fn others(checkpoint: &Checkpoint, kind: SchedulerKind) -> String {
    let is_usable = |kind: &SchedulerKind| checkpoint.scheduler(*kind, None).is_ok();
    if is_usable(&kind) {
        return String::new();
    }
    let usable: Vec<String> = SchedulerKind::ALL
        .iter()
        .filter(|kind| is_usable(kind))
        .map(ToString::to_string)
        .collect();
    format!("; this model has {}", usable.join(", "))
}

/// Adds what is wrong with where denoising starts; there is a strength where there are pictures.
fn check_start(scheduler: SchedulerKind, steps: usize, report: &Report, faults: &mut ValidationError) {
    if scheduler == SchedulerKind::DdimInverse && report.mask.is_some() {
        faults.add(
            "scheduler",
            format!("The scheduler {scheduler} inverts whole pictures: leave out the mask."),
        );
    }
    match report.strength {
        None if scheduler == SchedulerKind::DdimInverse => faults.add(
            "scheduler",
            format!(
                "The scheduler {scheduler} turns pictures into noise and back: give an init image or an init video."
            ),
        ),
        Some(strength) if kept_steps(steps, strength) == 0 => {
            let least = 1.0 / steps as f64;
            faults.add(
                "strength",
                format!("The strength of {strength} leaves none of {steps} steps; it must be at least {least:.3}."),
            );
        }
        _ => {}
    }
}

/// As diffusers' `get_timesteps` counts them.
pub(crate) fn kept_steps(steps: usize, strength: f64) -> usize {
    ((steps as f64 * strength) as usize).min(steps)
}

/// Width and height: the request's, or those of a picture to start from, or the checkpoint's own.
fn size(
    checkpoint: &Checkpoint,
    request: &TextToVideoRequest,
    init: Option<&InitMedia>,
    faults: &mut ValidationError,
) -> [u32; 2] {
    let geometry = checkpoint.family.geometry();
    let own = match init {
        Some(InitMedia::Image(picture)) if checkpoint.family.makes_pictures() => {
            let multiple = geometry.side_multiple as u32;
            [picture.width(), picture.height()].map(|side| Some(side / multiple * multiple))
        }
        _ => [checkpoint.defaults.width, checkpoint.defaults.height],
    };
    let mut side = |field: &str, asked: Option<u32>, default: Option<u32>| {
        let Some(pixels) = asked.or(default) else {
            let most = geometry.max_side;
            let fault = format!("The {field} is required: the model has no default of at most {most}.");
            faults.add(field, fault);
            return 0;
        };
        if asked.is_none() && !(1..=geometry.max_side).contains(&pixels) {
            let most = geometry.max_side;
            let fault = format!("The {field} of the picture would be {pixels}; give one between 1 and {most}.");
            faults.add(field, fault);
            return 0;
        }
        geometry.check_side(field, pixels as usize, faults);
        pixels
    };
    [
        side("width", request.width, own[0]),
        side("height", request.height, own[1]),
    ]
}

/// A seed from the operating system's randomness.
fn random_seed() -> u32 {
    std::hash::RandomState::new().build_hasher().finish() as u32
}
