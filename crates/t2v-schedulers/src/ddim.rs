//! DDIM: Song, Meng and Ermon, "Denoising Diffusion Implicit Models", <https://arxiv.org/abs/2010.02502>, equation 12.
//!
//! Follows diffusers' `scheduling_ddim.py`.

use burn::tensor::Tensor;
use serde_json::Value;

use crate::betas::BetaOptions;
use crate::config::{ConfigReader, STEPS_OFFSETS};
use crate::level::Level;
use crate::prediction::{PREDICTION_TYPES, PredictionType, epsilon_of};
use crate::progress::Progress;
use crate::scheduler::{NoiseSource, Schedule, Scheduler, StepOptions, StepOutput};
use crate::spacing::{TIMESTEP_SPACINGS, TimestepSpacing};
use crate::thresholding::Bounds;
use crate::{SchedulerError, SchedulerKind};

const KIND: SchedulerKind = SchedulerKind::Ddim;

/// `DDIMScheduler`.
#[derive(Debug)]
pub(crate) struct Ddim {
    prediction: PredictionType,
    spacing: TimestepSpacing,
    steps_offset: usize,
    bounds: Bounds,
    alphas_cumprod: Vec<f32>,
    /// The cumulative product after the last step.
    final_alpha: f32,
    options: StepOptions,
    steps: usize,
    timesteps: Vec<f64>,
    progress: Progress,
}

impl Ddim {
    pub(crate) fn from_config(config: &Value) -> Result<Self, SchedulerError> {
        let reader = ConfigReader::new(KIND, config)?;
        let alphas_cumprod = BetaOptions::read(&reader)?.alphas_cumprod();
        let set_alpha_to_one = reader.flag("set_alpha_to_one", true)?;
        Ok(Self {
            prediction: reader.choice("prediction_type", PredictionType::Epsilon, PREDICTION_TYPES)?,
            spacing: reader.choice("timestep_spacing", TimestepSpacing::Leading, TIMESTEP_SPACINGS)?,
            steps_offset: reader.count("steps_offset", 0, STEPS_OFFSETS)?,
            bounds: Bounds::read(&reader, true)?,
            final_alpha: if set_alpha_to_one { 1.0 } else { alphas_cumprod[0] },
            alphas_cumprod,
            options: StepOptions::default(),
            steps: 0,
            timesteps: Vec::new(),
            progress: Progress::new(KIND),
        })
    }

    /// The cumulative products of a call's timestep and of the one after.
    fn alphas(&self, index: usize) -> (f32, f32) {
        let timestep = self.timesteps[index] as usize;
        let previous = timestep.checked_sub(self.alphas_cumprod.len() / self.steps);
        (
            self.alphas_cumprod[timestep],
            previous.map_or(self.final_alpha, |t| self.alphas_cumprod[t]),
        )
    }
}

impl Scheduler for Ddim {
    fn kind(&self) -> SchedulerKind {
        KIND
    }

    fn set_schedule(&mut self, schedule: &Schedule) -> Result<(), SchedulerError> {
        let steps = schedule.only_steps(KIND)?;
        let train = self.alphas_cumprod.len();
        let timesteps = self.spacing.checked_timesteps(KIND, train, steps, self.steps_offset)?;
        self.steps = steps;
        self.progress.restart(timesteps.len());
        self.timesteps = timesteps;
        Ok(())
    }

    fn set_step_options(&mut self, options: StepOptions) {
        self.options = options;
    }

    fn timesteps(&self) -> &[f64] {
        &self.timesteps
    }

    fn current_index(&self) -> Result<usize, SchedulerError> {
        self.progress.current()
    }

    fn set_begin_index(&mut self, index: usize) {
        self.progress.begin_at(index);
    }

    fn step(
        &mut self,
        model_output: Tensor<5>,
        sample: Tensor<5>,
        noise: &mut dyn NoiseSource,
    ) -> Result<StepOutput, SchedulerError> {
        let index = self.progress.current()?;
        let (alpha, alpha_prev) = self.alphas(index);
        let (root, noise_root) = (alpha.sqrt(), (1.0 - alpha).sqrt());
        let model_output = model_output.cast(sample.dtype());
        let original = self
            .prediction
            .original(model_output.clone(), sample.clone(), root, noise_root);
        let original = self.bounds.apply(original);
        let epsilon = match self.options.use_clipped_model_output {
            false => self.prediction.epsilon(model_output, sample, root, noise_root),
            true => epsilon_of(original.clone(), sample, root, noise_root),
        };
        let variance = (1.0 - alpha_prev) / (1.0 - alpha) * (1.0 - alpha / alpha_prev);
        let deviation = self.options.eta as f32 * variance.sqrt();
        let direction = epsilon * (1.0 - alpha_prev - deviation * deviation).sqrt();
        let mut prev_sample = original.clone() * alpha_prev.sqrt() + direction;
        if self.options.eta > 0.0 {
            let fresh = noise.normal(prev_sample.dims(), &prev_sample.device());
            let dtype = prev_sample.dtype();
            prev_sample = prev_sample + fresh.cast(dtype) * deviation;
        }
        self.progress.advance();
        Ok(StepOutput {
            prev_sample,
            pred_original_sample: Some(original),
        })
    }

    fn add_noise(
        &self,
        original: Tensor<5>,
        noise: Tensor<5>,
        timestep_index: usize,
    ) -> Result<Tensor<5>, SchedulerError> {
        let (alpha, _) = self.alphas(self.progress.check(timestep_index)?);
        Ok(Level::of_product(alpha).add_noise(original, noise))
    }

    fn add_noise_at(
        &self,
        original: Tensor<5>,
        noise: Tensor<5>,
        timestep: usize,
    ) -> Result<Tensor<5>, SchedulerError> {
        Level::of_training(&self.alphas_cumprod, KIND, timestep).map(|level| level.add_noise(original, noise))
    }
}
