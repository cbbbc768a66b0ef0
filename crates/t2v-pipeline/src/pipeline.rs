//! From a request to its video.

use std::{
    hash::{BuildHasher, Hasher},
    path::Path,
    sync::Mutex,
    time::Instant,
};

use burn::tensor::{DType, Device, Tensor};
use t2v_mp4::FrameRate;
use t2v_schedulers::{NoiseSource, Scheduler, TorchGenerator};
use t2v_weights::ModelFolder;

use crate::{
    CancelToken, InitMedia, PipelineError, Progress, Report, Stage, StageTimes, TextToVideoRequest, ValidationError,
    Video,
    denoise::{as_clip, by_frame, denoise, predict},
    model::Model,
};

/// What a generation may be given besides its request.
#[derive(Default)]
#[non_exhaustive]
pub struct GenerateOptions<'a> {
    /// Pictures to start from.
    pub init: Option<InitMedia>,
    /// Stops the generation.
    pub cancel: CancelToken,
    /// Told how far the generation is.
    pub on_progress: Option<Box<dyn FnMut(Progress) + 'a>>,
}

/// A checkpoint, ready to generate any number of videos.
pub struct Pipeline {
    model: Mutex<Model>,
    device: Device,
}

/// A request with every default filled in.
struct Plan {
    width: usize,
    height: usize,
    num_frames: usize,
    fps: u32,
    strength: f64,
    clip_skip: usize,
    report: Report,
}

impl Pipeline {
    /// Loads a model folder in diffusers' layout onto `device`, in single precision.
    ///
    /// # Errors
    /// A folder or file that is missing, damaged or of an unknown kind.
    pub fn from_dir(path: impl AsRef<Path>, device: &Device) -> Result<Self, PipelineError> {
        Self::from_folder(&ModelFolder::open(path)?, device)
    }

    /// Loads tiny-world, the checkpoint inside this crate.
    ///
    /// # Errors
    /// None that a user can mend.
    #[cfg(feature = "embedded")]
    pub fn embedded(device: &Device) -> Result<Self, PipelineError> {
        Self::from_folder(&ModelFolder::embedded("tiny-world", t2v_tiny_world::FILES)?, device)
    }

    pub(crate) fn from_folder(folder: &ModelFolder, device: &Device) -> Result<Self, PipelineError> {
        Ok(Self {
            model: Mutex::new(Model::load(folder, DType::F32, device)?),
            device: device.clone(),
        })
    }

    /// Generates the video of a request.
    ///
    /// # Errors
    /// A request that asks for something impossible: all its faults at once.
    pub fn generate(&self, request: &TextToVideoRequest) -> Result<Video, PipelineError> {
        self.generate_with(request, GenerateOptions::default())
    }

    /// Generates the video of a request, watched, stoppable, or from given pictures.
    ///
    /// # Errors
    /// As for [`generate`](Self::generate), and [`PipelineError::Cancelled`].
    pub fn generate_with(
        &self,
        request: &TextToVideoRequest,
        options: GenerateOptions<'_>,
    ) -> Result<Video, PipelineError> {
        // A panic in an earlier generation leaves no state behind: a generation only reads the model.
        let model = self.model.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut scheduler = model.scheduler(request.scheduler.as_deref())?;
        let plan = Plan::new(&model, request, options.init.as_ref(), scheduler.as_ref())?;
        let mut run = Run {
            model: &model,
            device: &self.device,
            options,
            times: StageTimes::new(),
        };
        run.generate(plan, scheduler.as_mut())
    }
}

impl Plan {
    fn new(
        model: &Model,
        request: &TextToVideoRequest,
        init: Option<&InitMedia>,
        scheduler: &dyn Scheduler,
    ) -> Result<Self, PipelineError> {
        request.validate()?;
        let defaults = &model.defaults;
        let [width, height] = size(model, request)?;
        let num_frames = match init.and_then(InitMedia::num_frames) {
            Some(frames) => frames,
            None => request.num_frames.map_or(defaults.num_frames, |n| n as usize),
        };
        Ok(Self {
            width,
            height,
            num_frames,
            fps: request.fps.unwrap_or(defaults.fps),
            strength: request.strength.unwrap_or(defaults.strength),
            clip_skip: request.clip_skip.map_or(0, |n| n as usize),
            report: Report {
                prompt: request.prompt.clone(),
                negative_prompt: request.negative_prompt.clone().unwrap_or_default(),
                scheduler: scheduler.kind().to_string(),
                num_inference_steps: request
                    .num_inference_steps
                    .map_or(defaults.num_inference_steps, |n| n as usize),
                guidance_scale: request.guidance_scale.unwrap_or(defaults.guidance_scale),
                seed: request.seed.unwrap_or_else(random_seed),
                truncated_tokens: 0,
            },
        })
    }
}

/// Width and height: multiples of the model's factor, or every fault.
fn size(model: &Model, request: &TextToVideoRequest) -> Result<[usize; 2], PipelineError> {
    let factor = model.scale_factor();
    let mut faults = ValidationError::default();
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
    ValidationError::of(faults)?;
    Ok([width, height])
}

/// A seed from the operating system's randomness.
fn random_seed() -> u32 {
    std::hash::RandomState::new().build_hasher().finish() as u32
}

/// One generation under way.
struct Run<'a> {
    model: &'a Model,
    device: &'a Device,
    options: GenerateOptions<'a>,
    times: StageTimes,
}

impl Run<'_> {
    fn generate(&mut self, mut plan: Plan, scheduler: &mut dyn Scheduler) -> Result<Video, PipelineError> {
        self.options.cancel.check()?;
        let start = Instant::now();
        let report = &plan.report;
        let guided = report.guidance_scale > 1.0;
        let (prompt, negative_prompt) = (&report.prompt, &report.negative_prompt);
        let conditioning = self
            .model
            .condition(prompt, negative_prompt, guided, plan.clip_skip, self.device)?;
        plan.report.truncated_tokens = conditioning.truncated;
        self.end(Stage::TextEncoding, start);

        scheduler.set_timesteps(plan.report.num_inference_steps)?;
        let mut generator = TorchGenerator::new(u64::from(plan.report.seed));
        let (latents, begin) = match self.options.init.take() {
            Some(init) => self.start_from(&init, &plan, scheduler, &mut generator)?,
            None => (self.start_from_noise(&plan, scheduler, &mut generator), 0),
        };

        let start = Instant::now();
        let (denoiser, scale) = (self.model.denoiser.as_ref(), plan.report.guidance_scale);
        let predict = |clip, timestep| predict(denoiser, clip, timestep, &conditioning.embeddings, scale);
        let latents = denoise(scheduler, begin, latents, &mut generator, predict, |done, total| {
            self.tell(Stage::Denoising, done, total)
        })?;
        self.end(Stage::Denoising, start);

        let frames = self.decode(latents)?;
        Ok(Video {
            frames,
            size: [plan.width, plan.height],
            frame_rate: FrameRate::from(plan.fps),
            report: plan.report,
            stage_times: std::mem::take(&mut self.times),
        })
    }

    /// Noise as diffusers draws it, for the whole clip at once; the result is by frame.
    fn start_from_noise(&self, plan: &Plan, scheduler: &dyn Scheduler, noise: &mut dyn NoiseSource) -> Tensor<5> {
        let factor = self.model.scale_factor();
        let channels = self.model.denoiser.in_channels();
        let shape = [1, channels, plan.num_frames, plan.height / factor, plan.width / factor];
        by_frame(noise.normal(shape, self.device) * scheduler.init_noise_sigma())
    }

    /// Latents of the given pictures, noised to where `strength` has denoising begin, as in diffusers'
    /// `VideoToVideoSDPipeline`.
    fn start_from(
        &mut self,
        init: &InitMedia,
        plan: &Plan,
        scheduler: &mut dyn Scheduler,
        generator: &mut TorchGenerator,
    ) -> Result<(Tensor<5>, usize), PipelineError> {
        let steps = plan.report.num_inference_steps;
        let kept = ((steps as f64 * plan.strength) as usize).min(steps);
        if kept == 0 {
            let mut faults = ValidationError::default();
            faults.add(
                "strength",
                format!(
                    "The strength of {} leaves none of {steps} steps; it must be at least {:.3}.",
                    plan.strength,
                    1.0 / steps as f64
                ),
            );
            return Err(faults.into());
        }
        let start = Instant::now();
        let pictures = init.tensors(plan.width, plan.height, self.device);
        let mut means = Vec::new();
        let mut stds = Vec::new();
        for (i, picture) in pictures.iter().enumerate() {
            self.tell(Stage::Encoding, i, pictures.len())?;
            let posterior = self.model.vae.encode_frame(picture.clone());
            means.push(posterior.mean.unsqueeze_dim::<5>(2));
            stds.push(posterior.std.unsqueeze_dim::<5>(2));
        }
        let (mut mean, mut std) = (Tensor::cat(means, 0), Tensor::cat(stds, 0));
        if mean.dims()[0] != plan.num_frames {
            mean = mean.repeat_dim(0, plan.num_frames);
            std = std.repeat_dim(0, plan.num_frames);
        }
        let sampled = mean.clone() + std * generator.normal(mean.dims(), self.device);
        let latents = sampled * self.model.vae.config().scaling_factor;
        let noise = generator.normal(latents.dims(), self.device);
        let begin = (steps - kept) * scheduler.order();
        scheduler.set_begin_index(begin);
        let latents = scheduler.add_noise(latents, noise, begin)?;
        self.tell(Stage::Encoding, pictures.len(), pictures.len())?;
        self.end(Stage::Encoding, start);
        Ok((latents, begin))
    }

    /// Latents by frame to RGB values in 0..1.
    ///
    /// Divides by the scaling factor alone: upstream's text-to-video pipelines know no shift factor.
    fn decode(&mut self, latents: Tensor<5>) -> Result<Vec<f32>, PipelineError> {
        let start = Instant::now();
        let latents = as_clip(latents) * (1.0 / self.model.vae.config().scaling_factor);
        let [_, channels, frames, height, width] = latents.dims();
        let mut values = Vec::new();
        for frame in 0..frames {
            self.tell(Stage::Decoding, frame, frames)?;
            let latents = latents.clone().slice_dim(2, frame..frame + 1);
            let picture = self
                .model
                .vae
                .decode_frame(latents.reshape([1, channels, height, width]));
            let picture = (picture / 2.0 + 0.5).clamp(0.0, 1.0).permute([0, 2, 3, 1]);
            values.extend(picture.into_data().iter::<f32>());
        }
        self.tell(Stage::Decoding, frames, frames)?;
        self.end(Stage::Decoding, start);
        Ok(values)
    }

    fn end(&mut self, stage: Stage, start: Instant) {
        self.times.push((stage, start.elapsed()));
    }

    /// Reports progress, and stops here if that was asked for.
    fn tell(&mut self, stage: Stage, done: usize, total: usize) -> Result<(), PipelineError> {
        if let Some(on_progress) = &mut self.options.on_progress {
            on_progress(Progress { stage, done, total });
        }
        self.options.cancel.check()
    }
}
