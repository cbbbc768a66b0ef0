//! One generation: the stages in the order of diffusers' `TextToVideoSDPipeline` and `VideoToVideoSDPipeline`.

use std::time::{Duration, Instant};

use burn::tensor::Tensor;
use t2v_mp4::FrameRate;
use t2v_schedulers::{NoiseSource, Scheduler, SchedulerKind, TorchGenerator};

use crate::{
    GenerateOptions, InitMedia, Latents, PipelineError, Preview, Progress, Report, Stage, StageTimes, Video,
    conditioning::{Conditioning, Prompts},
    denoise::{Call, Guided, as_clip, by_frame, denoise},
    model::{Model, Part},
    plan::Plan,
    preview::LatentToRgb,
};

/// A generation under way.
pub(crate) struct Run<'a> {
    model: &'a mut Model,
    init: Option<InitMedia>,
    watch: Watch<'a>,
}

/// What the generation's user hears of it and says to it.
struct Watch<'a> {
    options: GenerateOptions<'a>,
    /// The stage under way and its start.
    stage: (Stage, Instant),
    times: StageTimes,
    /// A cancelled generation that keeps what it has: it is not to be stopped once more.
    interrupted: bool,
}

impl Watch<'_> {
    fn begin(&mut self, stage: Stage) {
        self.stage = (stage, Instant::now());
    }

    fn end(&mut self) {
        let (stage, start) = self.stage;
        match self.times.iter_mut().find(|(known, _)| *known == stage) {
            Some((_, time)) => *time += start.elapsed(),
            None => self.times.push((stage, start.elapsed())),
        }
    }

    /// Reports progress, and stops here if that was asked for.
    fn tell(&mut self, done: usize, total: usize) -> Result<(), PipelineError> {
        let (stage, start) = self.stage;
        if let Some(on_progress) = &mut self.options.on_progress {
            let elapsed = match done {
                0 => Duration::ZERO,
                _ => start.elapsed(),
            };
            on_progress(Progress {
                stage,
                done,
                total,
                elapsed,
            });
        }
        match self.interrupted {
            true => Ok(()),
            false => self.options.cancel.check(),
        }
    }

    fn wants_previews(&self) -> bool {
        self.options.preview_every.is_some() && self.options.on_preview.is_some()
    }

    fn preview(&mut self, call: &Call<'_>, projection: &LatentToRgb) {
        let due = self
            .options
            .preview_every
            .is_some_and(|every| call.done.is_multiple_of(every.max(1)));
        if let (true, Some(clean), Some(on_preview)) = (due, call.clean, &mut self.options.on_preview) {
            on_preview(&Preview {
                done: call.done,
                total: call.total,
                frames: projection.pictures(clean.clone()),
            });
        }
    }

    /// Whether a failure is a cancellation after which something is to be kept; if so, there is no stopping any more.
    fn keeps(&mut self, error: &PipelineError) -> bool {
        self.interrupted = self.options.keep_on_cancel && matches!(error, PipelineError::Cancelled);
        self.interrupted
    }
}

impl<'a> Run<'a> {
    pub(crate) fn new(model: &'a mut Model, mut options: GenerateOptions<'a>) -> Self {
        Self {
            model,
            init: options.init.take(),
            watch: Watch {
                options,
                stage: (Stage::Loading, Instant::now()),
                times: StageTimes::new(),
                interrupted: false,
            },
        }
    }

    pub(crate) fn generate(mut self, mut plan: Plan) -> Result<Video, PipelineError> {
        self.watch.options.cancel.check()?;
        let conditioning = self.condition(&mut plan)?;
        let projection = self.projection()?;
        let mut generator = TorchGenerator::new(u64::from(plan.report.seed));
        let start = match (self.init.take(), plan.scheduler) {
            (Some(init), SchedulerKind::DdimInverse) => self.invert(&init, &plan, &conditioning)?,
            (Some(init), _) => self.start_from(&init, &plan, &mut generator)?,
            (None, _) => self.start_from_noise(&plan, &mut generator)?,
        };
        let clip = self.denoise(
            start,
            &mut plan.report,
            &conditioning,
            projection.as_ref(),
            &mut generator,
        )?;
        let latents = Latents::new(clip, plan.report);
        if let Some(on_latents) = &mut self.watch.options.on_latents {
            on_latents(&latents)?;
        }
        self.decode(&latents)
    }

    /// Loads a component, which is a stage of its own where it takes time.
    fn load(&mut self, part: Part) -> Result<(), PipelineError> {
        if self.model.has(part) {
            return Ok(());
        }
        self.model.release();
        self.watch.begin(Stage::Loading);
        self.watch.tell(0, 1)?;
        self.model.load(part)?;
        self.watch.tell(1, 1)?;
        self.watch.end();
        Ok(())
    }

    fn condition(&mut self, plan: &mut Plan) -> Result<Conditioning, PipelineError> {
        self.load(Part::TextEncoder)?;
        self.watch.begin(Stage::TextEncoding);
        let prompts = Prompts {
            guided: plan.report.guidance_scale > 1.0,
            clip_skip: plan.clip_skip,
            enhance: plan.enhance_prompt,
            options: &self.watch.options,
        };
        let conditioning = self.model.condition(&prompts, &mut plan.report)?;
        self.watch.end();
        Ok(conditioning)
    }

    fn projection(&mut self) -> Result<Option<LatentToRgb>, PipelineError> {
        if !self.watch.wants_previews() {
            return Ok(None);
        }
        if self.model.latent_to_rgb.is_none() {
            self.load(Part::Vae)?;
            let device = self.model.device().clone();
            self.model.latent_to_rgb = Some(LatentToRgb::fit(self.model.vae()?, &device));
        }
        Ok(self.model.latent_to_rgb.clone())
    }

    /// Noise as diffusers draws it, for the whole clip at once.
    fn start_from_noise(&self, plan: &Plan, noise: &mut dyn NoiseSource) -> Result<Start, PipelineError> {
        let mut scheduler = self.model.scheduler(plan.scheduler)?;
        scheduler.set_timesteps(plan.steps())?;
        let (factor, channels) = (self.model.scale_factor(), self.model.unet.in_channels);
        let shape = [1, channels, plan.num_frames, plan.height / factor, plan.width / factor];
        let latents = by_frame(noise.normal(shape, self.model.device()) * scheduler.init_noise_sigma());
        Ok(Start {
            scheduler,
            latents,
            begin: 0,
        })
    }

    /// Latents of the given pictures, noised to where `strength` has denoising begin.
    fn start_from(
        &mut self,
        init: &InitMedia,
        plan: &Plan,
        generator: &mut TorchGenerator,
    ) -> Result<Start, PipelineError> {
        let mut scheduler = self.model.scheduler(plan.scheduler)?;
        scheduler.set_timesteps(plan.steps())?;
        let (mean, std) = self.encode(init, plan)?;
        let sampled = mean.clone() + std * generator.normal(mean.dims(), self.model.device());
        let latents = sampled * self.model.vae.scaling_factor;
        let noise = generator.normal(latents.dims(), self.model.device());
        let begin = (plan.steps() - plan.kept_steps()) * scheduler.order();
        scheduler.set_begin_index(begin);
        let latents = scheduler.add_noise(latents, noise, begin)?;
        Ok(Start {
            scheduler,
            latents,
            begin,
        })
    }

    /// Latents of the given pictures, inverted to noise without guidance, from which DDIM comes back to them.
    ///
    /// Song, Meng and Ermon, <https://arxiv.org/abs/2010.02502>, section 4.3. `strength` says how far up it goes.
    fn invert(&mut self, init: &InitMedia, plan: &Plan, conditioning: &Conditioning) -> Result<Start, PipelineError> {
        let (steps, kept) = (plan.steps(), plan.kept_steps());
        let latents = self.encode(init, plan)?.0 * self.model.vae.scaling_factor;
        let mut up = self.model.scheduler(SchedulerKind::DdimInverse)?;
        up.set_timesteps(steps)?;
        let mut down = self.model.scheduler(SchedulerKind::Ddim)?;
        down.set_timesteps(steps)?;
        let begin = steps - kept;
        down.set_begin_index(begin);

        self.load(Part::Denoiser)?;
        self.watch.begin(Stage::Inversion);
        let rows = conditioning.embeddings.dims()[0];
        let guided = Guided {
            denoiser: self.model.denoiser()?,
            embeddings: &conditioning.embeddings.clone().slice_dim(0, rows - 1..rows),
            scale: 1.0,
        };
        let watch = &mut self.watch;
        // The way up draws no noise.
        let mut unused = TorchGenerator::new(0);
        let latents = denoise(up.as_mut(), 0..kept, latents, &mut unused, &guided, |call| {
            watch.tell(call.done, call.total)
        })?;
        self.watch.end();
        Ok(Start {
            scheduler: down,
            latents,
            begin,
        })
    }

    /// Mean and deviation of the pictures' latents, [by frame](by_frame) and not scaled.
    fn encode(&mut self, init: &InitMedia, plan: &Plan) -> Result<(Tensor<5>, Tensor<5>), PipelineError> {
        self.load(Part::Vae)?;
        self.watch.begin(Stage::Encoding);
        let pictures = init.tensors(plan.width, plan.height, self.model.device());
        let (mut means, mut stds) = (Vec::new(), Vec::new());
        for (i, picture) in pictures.iter().enumerate() {
            self.watch.tell(i, pictures.len())?;
            let posterior = self.model.vae()?.encode_frame(picture.clone());
            means.push(posterior.mean.unsqueeze_dim::<5>(2));
            stds.push(posterior.std.unsqueeze_dim::<5>(2));
        }
        self.watch.tell(pictures.len(), pictures.len())?;
        self.watch.end();
        let repeats = plan.num_frames / pictures.len();
        let by_frame = |parts| Tensor::cat(parts, 0).repeat_dim(0, repeats);
        Ok((by_frame(means), by_frame(stds)))
    }

    /// The clean latents as a clip; when cancelled and asked to keep what there is, the newest estimate of them.
    fn denoise(
        &mut self,
        start: Start,
        report: &mut Report,
        conditioning: &Conditioning,
        projection: Option<&LatentToRgb>,
        generator: &mut TorchGenerator,
    ) -> Result<Tensor<5>, PipelineError> {
        self.load(Part::Denoiser)?;
        self.watch.begin(Stage::Denoising);
        let guided = Guided {
            denoiser: self.model.denoiser()?,
            embeddings: &conditioning.embeddings,
            scale: report.guidance_scale,
        };
        let (watch, mut newest) = (&mut self.watch, None);
        let mut scheduler = start.scheduler;
        let calls = start.begin..scheduler.timesteps().len();
        let result = denoise(scheduler.as_mut(), calls, start.latents, generator, &guided, |call| {
            if let Some(projection) = projection {
                watch.preview(&call, projection);
            }
            newest = call.clean.cloned();
            watch.tell(call.done, call.total)
        });
        self.watch.end();
        let latents = match (result, newest) {
            (Err(error), Some(estimate)) if self.watch.keeps(&error) => {
                report.interrupted = true;
                estimate
            }
            (result, _) => result?,
        };
        Ok(as_clip(latents))
    }

    /// The frames of latents.
    ///
    /// Divides by the scaling factor alone: upstream's text-to-video pipelines know no shift factor.
    pub(crate) fn decode(mut self, latents: &Latents) -> Result<Video, PipelineError> {
        self.load(Part::Vae)?;
        self.watch.begin(Stage::Decoding);
        let [_, channels, frames, height, width] = latents.shape();
        let clip = latents.tensor(self.model.device()) * (1.0 / self.model.vae.scaling_factor);
        let (mut report, mut values) = (latents.report().clone(), Vec::new());
        let vae = self.model.vae()?;
        for frame in 0..frames {
            match self.watch.tell(frame, frames) {
                Err(error) if frame > 0 && self.watch.keeps(&error) => {
                    report.interrupted = true;
                    break;
                }
                told => told?,
            }
            let latents = clip.clone().slice_dim(2, frame..frame + 1);
            let picture = vae.decode_frame(latents.reshape([1, channels, height, width]));
            let picture = (picture / 2.0 + 0.5).clamp(0.0, 1.0).permute([0, 2, 3, 1]);
            values.extend(picture.into_data().iter::<f32>());
        }
        if values.len() == frames * height * width * self.model.scale_factor().pow(2) * 3 {
            self.watch.tell(frames, frames)?;
        }
        self.watch.end();
        self.model.release();
        let factor = self.model.scale_factor();
        Ok(Video {
            frames: values,
            size: [width * factor, height * factor],
            frame_rate: FrameRate::from(report.fps),
            report,
            stage_times: self.watch.times,
        })
    }
}

/// What denoising starts with.
struct Start {
    scheduler: Box<dyn Scheduler>,
    /// [By frame](by_frame).
    latents: Tensor<5>,
    /// The first of the scheduler's timesteps to run.
    begin: usize,
}
