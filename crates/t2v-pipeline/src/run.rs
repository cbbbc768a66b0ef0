//! One generation: the stages in the order of diffusers' pipelines, which is the same for every family.

mod first_picture;

use std::sync::Arc;

use burn::tensor::Tensor;
use t2v_denoiser::Conditioning;
use t2v_mp4::FrameRate;
use t2v_schedulers::{NoiseSource, Scheduler, SchedulerKind, TorchGenerator};
use t2v_vae::Posterior;

use crate::{
    GenerateOptions, InitMedia, Latents, ModelCalls, PipelineError, Report, Speed, Stage, Video,
    beginning::GivenFrame,
    denoise::{Call, GuidanceScale, Guided, denoise},
    enhance::complete_prompts,
    family::Family,
    init_clip::init_clip,
    inpainting::{Inpainting, Mask},
    loading::watched,
    model::{Model, Slot},
    monitor::Monitor,
    passes::Passes,
    plan::Plan,
    preview::{LatentToRgb, Previewer},
    readback,
};

/// A generation under way.
pub(crate) struct Run<'a> {
    model: &'a mut Model,
    monitor: Monitor<'a>,
}

impl<'a> Run<'a> {
    pub(crate) fn new(model: &'a mut Model, options: GenerateOptions<'a>) -> Self {
        Self {
            model,
            monitor: Monitor::new(options),
        }
    }

    pub(crate) fn generate(mut self, mut plan: Plan) -> Result<Video, PipelineError> {
        self.monitor.options.cancel.check()?;
        self.model.set_vae_tiling(plan.report.vae_tiling);
        self.adapt(&plan)?;
        let mut conditioning = self.condition(&mut plan)?;
        self.prepare_previews()?;
        let mut generator = TorchGenerator::new(u64::from(plan.report.seed));
        let init = self.monitor.options.init.take();
        let start = match (init, self.family().beginning()) {
            (None, _) => self.start_from_noise(&plan, &mut generator)?,
            (Some(init), Some(beginning)) => {
                self.start_with_pictures(beginning, &init, &plan, &mut conditioning, &mut generator)?
            }
            (Some(init), None) if init.mask().is_some() => {
                self.start_inpainting(&init, &plan, &mut conditioning, &mut generator)?
            }
            (Some(init), None) if plan.scheduler == SchedulerKind::DdimInverse => {
                self.invert(&init, &plan, &conditioning)?
            }
            (Some(init), None) => self.start_from(&init, &plan, &mut generator)?,
        };
        let clip = self.denoise(start, &mut plan.report, &conditioning, &mut generator)?;
        if let Some(on_latents) = &mut self.monitor.options.on_latents {
            on_latents(&Latents::new(clip.clone(), plan.report.clone())?)?;
        }
        self.decode(clip, plan.report)
    }

    /// Loads every network that is not in memory yet.
    pub(crate) fn preload(mut self) -> Result<(), PipelineError> {
        for slot in Slot::ALL {
            self.load(slot)?;
            self.model.release();
        }
        Ok(())
    }

    /// The video of latents that were kept.
    pub(crate) fn decode_latents(self, latents: &Latents) -> Result<Video, PipelineError> {
        self.model.set_vae_tiling(latents.report().vae_tiling);
        let clip = latents.tensor(self.model.device());
        self.decode(clip, latents.report().clone())
    }

    fn family(&self) -> &dyn Family {
        &*self.model.checkpoint.family
    }

    /// Loads a network, which is a stage of its own where it takes time.
    fn load(&mut self, slot: Slot) -> Result<(), PipelineError> {
        if self.model.is_loaded(slot) {
            return Ok(());
        }
        self.model.release();
        self.monitor.begin_loading(slot.name());
        let meter = self.model.checkpoint.meter.clone();
        watched(&mut self.monitor, &meter, || self.model.load(slot))?;
        self.monitor.end();
        Ok(())
    }

    /// Gives the networks the plan's LoRAs, where they have others.
    fn adapt(&mut self, plan: &Plan) -> Result<(), PipelineError> {
        if !self.model.has_other_loras(&plan.loras) {
            return Ok(());
        }
        self.monitor.begin(Stage::Adapting);
        self.monitor.advance(0, 1)?;
        self.model.set_loras(&plan.loras)?;
        self.monitor.advance(1, 1)?;
        self.monitor.end();
        Ok(())
    }

    fn condition(&mut self, plan: &mut Plan) -> Result<Conditioning, PipelineError> {
        self.load(Slot::TextConditioner)?;
        self.monitor.begin(Stage::TextEncoding);
        let given = self.monitor.options.enhancer.as_deref();
        let own = self.model.checkpoint.prompt_table.as_ref();
        complete_prompts(&mut plan.report, plan.enhance_prompt, given, own, &*self.model.text)?;
        let guided = self.family().is_guided(&plan.report);
        let mut conditioning = self.model.text.encode(&mut plan.report, guided)?;
        self.family().condition(&mut conditioning, &plan.report);
        self.monitor.end();
        Ok(conditioning)
    }

    /// Has what makes previews at hand, where they are wanted.
    fn prepare_previews(&mut self) -> Result<(), PipelineError> {
        if !self.monitor.wants_previews() || self.model.previewer.is_some() {
            return Ok(());
        }
        let previewer = match self.family().load_preview_decoder()? {
            Some(decoder) => Previewer::Decoder(decoder),
            None => {
                self.load(Slot::Codec)?;
                let (device, channels) = (self.model.device().clone(), self.family().geometry().channels);
                Previewer::Colours(LatentToRgb::fit(self.model.codec()?, channels, &device)?)
            }
        };
        self.model.previewer = Some(previewer);
        Ok(())
    }

    /// The plan's scheduler, at its number of steps.
    fn scheduler(&self, plan: &Plan) -> Result<Box<dyn Scheduler>, PipelineError> {
        let checkpoint = &self.model.checkpoint;
        let mut scheduler = checkpoint.scheduler(plan.scheduler, plan.report.flow_shift)?;
        scheduler.set_timesteps(plan.steps())?;
        Ok(scheduler)
    }

    /// Noise as diffusers draws it, for the whole clip at once.
    fn start_from_noise(&self, plan: &Plan, generator: &mut TorchGenerator) -> Result<Start, PipelineError> {
        let scheduler = self.scheduler(plan)?;
        let shape = self.family().geometry().latent_shape(plan.clip());
        let noise = generator.normal(shape, self.model.device());
        let noise = self.family().arrange_noise(noise, &plan.report, generator);
        let clip = noise * scheduler.init_noise_sigma();
        Ok(Start::new(scheduler, self.family().as_samples(clip), 0))
    }

    /// Latents of the given pictures, noised to where `strength` has denoising begin.
    fn start_from(
        &mut self,
        init: &InitMedia,
        plan: &Plan,
        generator: &mut TorchGenerator,
    ) -> Result<Start, PipelineError> {
        let mut scheduler = self.scheduler(plan)?;
        let clip = self.init_clip(init, plan);
        let samples = self.latents_of(clip, plan, generator)?;
        let noise = self.family().noise_for(&samples, generator);
        let begin = (plan.steps() - plan.kept_steps()) * scheduler.order();
        scheduler.set_begin_index(begin);
        let samples = scheduler.add_noise(samples, noise, begin)?;
        Ok(Start::new(scheduler, samples, begin))
    }

    /// As [`start_from`](Self::start_from), with what it takes to keep what the mask does not show. At full strength it is
    /// noise alone that denoising begins with. The order of the draws is upstream's, also of those that it has no use for.
    fn start_inpainting(
        &mut self,
        init: &InitMedia,
        plan: &Plan,
        conditioning: &mut Conditioning,
        generator: &mut TorchGenerator,
    ) -> Result<Start, PipelineError> {
        let mut scheduler = self.model.checkpoint.inpainting_scheduler(plan.scheduler)?;
        scheduler.set_timesteps(plan.steps())?;
        let [_, height, width] = plan.clip();
        let mask = match init.mask() {
            Some(mask) => Mask::new(mask, width, height),
            None => return Err(PipelineError::Checkpoint("there is no mask to paint into".into())),
        };
        let picture = self.init_clip(init, plan);
        let is_told = self.family().takes_masked_pictures();
        let begin = (plan.steps() - plan.kept_steps()) * scheduler.order();
        let anew = plan.report.strength == Some(1.0);
        let known = match is_told && anew {
            true => None,
            false => Some(self.latents_of(picture.clone(), plan, generator)?),
        };
        let noise = generator.normal(self.family().geometry().latent_shape(plan.clip()), self.model.device());
        let masked = match is_told {
            true => Some(self.latents_of(mask.cover(picture), plan, generator)?),
            // Drawn all the same.
            false => {
                generator.normal(noise.dims(), self.model.device());
                None
            }
        };
        let [.., height, width] = noise.dims();
        let mask = mask.of_latents(height, width, self.model.device());
        scheduler.set_begin_index(begin);
        let samples = match (&known, anew) {
            (Some(known), false) => scheduler.add_noise(known.clone(), noise.clone(), begin)?,
            _ => noise.clone() * scheduler.init_noise_sigma(),
        };
        let mut start = Start::new(scheduler, samples, begin);
        if let Some(masked) = masked {
            let channels = Tensor::cat(vec![mask, masked], 1).cast(conditioning.dtype());
            conditioning.channels = Some(channels);
        } else {
            start.inpainting = known.map(|latents| Inpainting { mask, latents, noise });
        }
        Ok(start)
    }

    /// Latents of the given pictures, inverted to noise without guidance, from which DDIM comes back to them.
    ///
    /// Song, Meng and Ermon, <https://arxiv.org/abs/2010.02502>, section 4.3. `strength` says how far up it goes.
    fn invert(&mut self, init: &InitMedia, plan: &Plan, conditioning: &Conditioning) -> Result<Start, PipelineError> {
        let (steps, kept) = (plan.steps(), plan.kept_steps());
        let clip = self.init_clip(init, plan);
        let mean = self.encode(clip, plan)?.mean;
        let latents = self.model.codec()?.normalize(mean);
        let samples = self.family().as_samples(latents);
        let mut up = self.model.checkpoint.scheduler(SchedulerKind::DdimInverse, None)?;
        up.set_timesteps(steps)?;
        let mut down = self.model.checkpoint.scheduler(SchedulerKind::Ddim, None)?;
        down.set_timesteps(steps)?;
        let begin = steps - kept;
        down.set_begin_index(begin);

        self.load(Slot::Denoiser)?;
        self.monitor.begin(Stage::Inversion);
        let checkpoint = Arc::clone(&self.model.checkpoint);
        let guided = Guided {
            family: &*checkpoint.family,
            denoiser: self.model.denoiser()?,
            conditioning: &conditioning.last(),
            scale: GuidanceScale {
                scale: 1.0,
                below: None,
            },
            rescale: 0.0,
            speed: Speed::Exact,
            given: None,
        };
        let monitor = &mut self.monitor;
        // The way up draws no noise.
        let mut unused = TorchGenerator::new(0);
        let samples = denoise(up.as_mut(), 0..kept, samples, &mut unused, &guided, None, |call| {
            monitor.advance(call.done, call.total)
        })?;
        self.monitor.end();
        Ok(Start::new(down, samples, begin))
    }

    /// The given pictures at the size of the video.
    fn init_clip(&self, init: &InitMedia, plan: &Plan) -> Tensor<5> {
        let [_, height, width] = plan.clip();
        init_clip(init, width, height, self.model.device())
    }

    /// Latents drawn from the distribution of a clip's, [as samples](Family::as_samples).
    fn latents_of(
        &mut self,
        clip: Tensor<5>,
        plan: &Plan,
        generator: &mut TorchGenerator,
    ) -> Result<Tensor<5>, PipelineError> {
        let posterior = self.encode(clip, plan)?;
        let samples = self.family().sample_posterior(posterior, generator);
        Ok(self.model.codec()?.normalize(samples))
    }

    /// Distribution of the latents of a clip, or of a picture, as long as the video.
    fn encode(&mut self, mut clip: Tensor<5>, plan: &Plan) -> Result<Posterior<5>, PipelineError> {
        let [frames, ..] = plan.clip();
        let geometry = *self.family().geometry();
        if geometry.temporal_factor > 1 && clip.dims()[2] == 1 {
            // Only where frames are encoded one by one are the latents of a still clip those of one picture.
            clip = clip.repeat_dim(2, frames);
        }
        let Posterior { mean, std } = self.encode_clip(clip)?;
        let [_, _, wanted, ..] = geometry.latent_shape(plan.clip());
        let whole = |latents: Tensor<5>| {
            let done = latents.dims()[2];
            latents.repeat_dim(2, wanted / done)
        };
        Ok(Posterior {
            mean: whole(mean),
            std: whole(std),
        })
    }

    /// Distribution of the latents of a clip.
    fn encode_clip(&mut self, clip: Tensor<5>) -> Result<Posterior<5>, PipelineError> {
        self.load(Slot::Codec)?;
        self.monitor.begin(Stage::Encoding);
        let geometry = *self.family().geometry();
        let frames = clip.dims()[2];
        let (mut means, mut stds, mut done) = (Vec::new(), Vec::new(), 0);
        self.monitor.advance(done, frames)?;
        for Posterior { mean, std } in self.model.codec()?.encode(clip) {
            done += mean.dims()[2];
            means.push(mean);
            stds.push(std);
            self.monitor.advance(geometry.frames(done), frames)?;
        }
        self.monitor.end();
        Ok(Posterior {
            mean: Tensor::cat(means, 2),
            std: Tensor::cat(stds, 2),
        })
    }

    /// The clean latents as a clip; when cancelled and asked to keep what there is, the newest estimate of them.
    fn denoise(
        &mut self,
        mut start: Start,
        report: &mut Report,
        conditioning: &Conditioning,
        generator: &mut TorchGenerator,
    ) -> Result<Tensor<5>, PipelineError> {
        self.load(Slot::Denoiser)?;
        let is_cold = self.model.is_cold(Slot::Denoiser, start.samples.dims());
        self.monitor.begin_cold(Stage::Denoising, is_cold);
        let checkpoint = Arc::clone(&self.model.checkpoint);
        report.motion_adapter = checkpoint.motion_adapter()?;
        let previewer = self.model.previewer.take();
        let products = report.speed.products();
        let is_multiplied_exactly = products.are_exact(conditioning.dtype(), self.model.device());
        let denoiser = self.model.denoiser()?;
        if is_multiplied_exactly && !denoiser.reuses_features() {
            report.speed = Speed::Exact;
        }
        let given = start.given.take();
        let guided = Guided {
            family: &*checkpoint.family,
            denoiser,
            conditioning,
            scale: GuidanceScale::of(report, &*checkpoint.family),
            rescale: report.guidance_rescale,
            speed: report.speed,
            given: given.as_ref(),
        };
        let (monitor, mut newest, mut calls) = (&mut self.monitor, None, ModelCalls::default());
        let passes = Passes::plan(&start, report, &checkpoint)?;
        let on_call = |call: Call<'_>| {
            if let Some(previewer) = &previewer {
                monitor.preview(&call, previewer, guided.family)?;
            }
            (calls.total, calls.whole) = (call.done, call.whole);
            if let Some(clean) = call.clean {
                newest = Some(clean.clone());
            }
            monitor.advance(call.done, call.total)
        };
        let result = passes.run(start, report, generator, &guided, on_call);
        self.model.previewer = previewer;
        report.model_calls = calls;
        self.monitor.end();
        let samples = match (result, newest) {
            (Err(error), Some(estimate)) if self.monitor.keeps(&error) => {
                report.interrupted = true;
                estimate
            }
            (result, _) => result?,
        };
        Ok(self.family().as_clip(samples))
    }

    /// The frames of a clip of latents, chunk by chunk of what the autoencoder decodes at once.
    fn decode(mut self, clip: Tensor<5>, mut report: Report) -> Result<Video, PipelineError> {
        self.load(Slot::Codec)?;
        let is_cold = self.model.is_cold(Slot::Codec, clip.dims());
        self.monitor.begin_cold(Stage::Decoding, is_cold);
        let [_, _, latent_frames, height, width] = clip.dims();
        let geometry = *self.family().geometry();
        let [width, height] = [width, height].map(|side| side * geometry.spatial_factor);
        let (total, mut done) = (geometry.frames(latent_frames), 0);
        let mut frames = Vec::new();
        let mut chunks = self.model.codec()?.decode(clip);
        while done < total {
            match self.monitor.advance(done, total) {
                Err(error) if done > 0 && self.monitor.keeps(&error) => {
                    report.interrupted = true;
                    break;
                }
                advanced => advanced?,
            }
            let Some(chunk) = chunks.next() else {
                return Err(PipelineError::Checkpoint(format!(
                    "the autoencoder gives {done} frames instead of {total}"
                )));
            };
            if let Some(i) = append_rgb(chunk, &mut frames)? {
                let frame = done + i + 1;
                return Err(PipelineError::not_finite(format!(
                    "the values of frame {frame} of {total}"
                )));
            }
            done = frames.len() / (width * height * 3);
        }
        drop(chunks);
        if done == total {
            self.monitor.advance(total, total)?;
        }
        self.monitor.end();
        Ok(Video {
            frames,
            size: [width, height],
            frame_rate: FrameRate::from(report.fps),
            report,
            stage_times: self.monitor.times,
        })
    }
}

/// What denoising starts with.
pub(crate) struct Start {
    pub(crate) scheduler: Box<dyn Scheduler>,
    /// As [the family's schedulers see them](Family::as_samples).
    pub(crate) samples: Tensor<5>,
    /// The first of the scheduler's timesteps to run.
    pub(crate) begin: usize,
    /// What is kept of a picture.
    pub(crate) inpainting: Option<Inpainting>,
    /// The latent frame that is not to be made.
    pub(crate) given: Option<GivenFrame>,
}

impl Start {
    fn new(scheduler: Box<dyn Scheduler>, samples: Tensor<5>, begin: usize) -> Self {
        Self {
            scheduler,
            samples,
            begin,
            inpainting: None,
            given: None,
        }
    }
}

/// Appends frames of -1..1, `[1, 3, frames, height, width]`, as RGB values in 0..1, row by row. Gives the first frame, counted
/// from 0, that has a value which is not finite.
fn append_rgb(chunk: Tensor<5>, values: &mut Vec<f32>) -> Result<Option<usize>, PipelineError> {
    let [_, channels, _, height, width] = chunk.dims();
    let pixels = readback::values(chunk.permute([0, 2, 3, 4, 1]))?;
    if let Some(i) = pixels.iter().position(|value| !value.is_finite()) {
        return Ok(Some(i / (height * width * channels)));
    }
    values.extend(pixels.iter().map(|value| (value / 2.0 + 0.5).clamp(0.0, 1.0)));
    Ok(None)
}
