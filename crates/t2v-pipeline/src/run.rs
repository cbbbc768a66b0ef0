//! One generation: the stages in the order of diffusers' `TextToVideoSDPipeline` and `VideoToVideoSDPipeline`.

use burn::tensor::Tensor;
use t2v_mp4::FrameRate;
use t2v_schedulers::{NoiseSource, Scheduler, SchedulerKind, TorchGenerator};

use crate::{
    GenerateOptions, InitMedia, Latents, PipelineError, Report, Stage, Video,
    conditioning::{Conditioning, Prompts},
    denoise::{Guided, as_clip, by_frame, denoise},
    model::{Model, Network},
    monitor::Monitor,
    plan::Plan,
    preview::LatentToRgb,
};

/// A generation under way.
pub(crate) struct Run<'a> {
    model: &'a mut Model,
    init: Option<InitMedia>,
    monitor: Monitor<'a>,
}

impl<'a> Run<'a> {
    pub(crate) fn new(model: &'a mut Model, mut options: GenerateOptions<'a>) -> Self {
        Self {
            model,
            init: options.init.take(),
            monitor: Monitor::new(options),
        }
    }

    pub(crate) fn generate(mut self, mut plan: Plan) -> Result<Video, PipelineError> {
        self.monitor.options.cancel.check()?;
        self.model.set_vae_tiling(plan.report.vae_tiling);
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
        if let Some(on_latents) = &mut self.monitor.options.on_latents {
            on_latents(&latents)?;
        }
        self.decode(&latents)
    }

    /// Loads a component, which is a stage of its own where it takes time.
    fn load(&mut self, network: Network) -> Result<(), PipelineError> {
        if self.model.is_loaded(network) {
            return Ok(());
        }
        self.model.release();
        self.monitor.begin(Stage::Loading);
        self.monitor.advance(0, 1)?;
        self.model.load(network)?;
        self.monitor.advance(1, 1)?;
        self.monitor.end();
        Ok(())
    }

    fn condition(&mut self, plan: &mut Plan) -> Result<Conditioning, PipelineError> {
        self.load(Network::TextEncoder)?;
        self.monitor.begin(Stage::TextEncoding);
        let prompts = Prompts {
            guided: plan.report.guidance_scale > 1.0,
            clip_skip: plan.clip_skip,
            enhance: plan.enhance_prompt,
            enhancer: self.monitor.options.enhancer.as_deref(),
        };
        let conditioning = self.model.condition(&prompts, &mut plan.report)?;
        self.monitor.end();
        Ok(conditioning)
    }

    fn projection(&mut self) -> Result<Option<LatentToRgb>, PipelineError> {
        if !self.monitor.wants_previews() {
            return Ok(None);
        }
        if self.model.latent_to_rgb.is_none() {
            self.load(Network::Vae)?;
            let device = self.model.device().clone();
            self.model.latent_to_rgb = Some(LatentToRgb::fit(self.model.vae()?, &device));
        }
        Ok(self.model.latent_to_rgb.clone())
    }

    /// Noise as diffusers draws it, for the whole clip at once.
    fn start_from_noise(&self, plan: &Plan, noise: &mut dyn NoiseSource) -> Result<Start, PipelineError> {
        let mut scheduler = self.model.checkpoint.scheduler(plan.scheduler)?;
        scheduler.set_timesteps(plan.steps())?;
        let (factor, channels) = (
            self.model.checkpoint.scale_factor(),
            self.model.checkpoint.unet.in_channels,
        );
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
        let mut scheduler = self.model.checkpoint.scheduler(plan.scheduler)?;
        scheduler.set_timesteps(plan.steps())?;
        let (mean, std) = self.encode(init, plan)?;
        let sampled = mean.clone() + std * generator.normal(mean.dims(), self.model.device());
        let latents = sampled * self.model.checkpoint.vae.scaling_factor;
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
        let latents = self.encode(init, plan)?.0 * self.model.checkpoint.vae.scaling_factor;
        let mut up = self.model.checkpoint.scheduler(SchedulerKind::DdimInverse)?;
        up.set_timesteps(steps)?;
        let mut down = self.model.checkpoint.scheduler(SchedulerKind::Ddim)?;
        down.set_timesteps(steps)?;
        let begin = steps - kept;
        down.set_begin_index(begin);

        self.load(Network::Denoiser)?;
        self.monitor.begin(Stage::Inversion);
        let rows = conditioning.embeddings.dims()[0];
        let guided = Guided {
            denoiser: self.model.denoiser()?,
            embeddings: &conditioning.embeddings.clone().slice_dim(0, rows - 1..rows),
            scale: 1.0,
        };
        let monitor = &mut self.monitor;
        // The way up draws no noise.
        let mut unused = TorchGenerator::new(0);
        let latents = denoise(up.as_mut(), 0..kept, latents, &mut unused, &guided, |call| {
            monitor.advance(call.done, call.total)
        })?;
        self.monitor.end();
        Ok(Start {
            scheduler: down,
            latents,
            begin,
        })
    }

    /// Mean and deviation of the pictures' latents, [by frame](by_frame) and not scaled.
    fn encode(&mut self, init: &InitMedia, plan: &Plan) -> Result<(Tensor<5>, Tensor<5>), PipelineError> {
        self.load(Network::Vae)?;
        self.monitor.begin(Stage::Encoding);
        let pictures = init.tensors(plan.width, plan.height, self.model.device());
        let (mut means, mut stds) = (Vec::new(), Vec::new());
        for (i, picture) in pictures.iter().enumerate() {
            self.monitor.advance(i, pictures.len())?;
            let posterior = self.model.vae()?.encode_frame(picture.clone());
            means.push(posterior.mean.unsqueeze_dim::<5>(2));
            stds.push(posterior.std.unsqueeze_dim::<5>(2));
        }
        self.monitor.advance(pictures.len(), pictures.len())?;
        self.monitor.end();
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
        self.load(Network::Denoiser)?;
        self.monitor.begin(Stage::Denoising);
        let guided = Guided {
            denoiser: self.model.denoiser()?,
            embeddings: &conditioning.embeddings,
            scale: report.guidance_scale,
        };
        let (monitor, mut newest) = (&mut self.monitor, None);
        let mut scheduler = start.scheduler;
        let calls = start.begin..scheduler.timesteps().len();
        let result = denoise(scheduler.as_mut(), calls, start.latents, generator, &guided, |call| {
            if let Some(projection) = projection {
                monitor.preview(&call, projection);
            }
            newest = call.clean.cloned();
            monitor.advance(call.done, call.total)
        });
        self.monitor.end();
        let latents = match (result, newest) {
            (Err(error), Some(estimate)) if self.monitor.keeps(&error) => {
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
        self.model.set_vae_tiling(latents.report().vae_tiling);
        self.load(Network::Vae)?;
        self.monitor.begin(Stage::Decoding);
        let [_, channels, frames, height, width] = latents.shape();
        let clip = latents.tensor(self.model.device()) * (1.0 / self.model.checkpoint.vae.scaling_factor);
        let (mut report, mut values) = (latents.report().clone(), Vec::new());
        let vae = self.model.vae()?;
        for frame in 0..frames {
            match self.monitor.advance(frame, frames) {
                Err(error) if frame > 0 && self.monitor.keeps(&error) => {
                    report.interrupted = true;
                    break;
                }
                advanced => advanced?,
            }
            let latents = clip.clone().slice_dim(2, frame..frame + 1);
            let picture = vae.decode_frame(latents.reshape([1, channels, height, width]));
            append_rgb(picture, &mut values)
                .map_err(|()| PipelineError::not_finite(format!("the values of frame {} of {frames}", frame + 1)))?;
        }
        if values.len() == frames * height * width * self.model.checkpoint.scale_factor().pow(2) * 3 {
            self.monitor.advance(frames, frames)?;
        }
        self.monitor.end();
        let factor = self.model.checkpoint.scale_factor();
        Ok(Video {
            frames: values,
            size: [width * factor, height * factor],
            frame_rate: FrameRate::from(report.fps),
            report,
            stage_times: self.monitor.times,
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

/// Appends a picture of -1..1, `[1, 3, height, width]`, as RGB values in 0..1, row by row.
///
/// # Errors
/// It has a value that is not finite.
fn append_rgb(picture: Tensor<4>, values: &mut Vec<f32>) -> Result<(), ()> {
    let data = picture.permute([0, 2, 3, 1]).into_data();
    for value in data.iter::<f32>() {
        if !value.is_finite() {
            return Err(());
        }
        values.push((value / 2.0 + 0.5).clamp(0.0, 1.0));
    }
    Ok(())
}
