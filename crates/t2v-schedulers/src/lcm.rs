//! Multistep consistency sampling: Luo et al., "Latent Consistency Models", <https://arxiv.org/abs/2310.04378>, Algorithm 3.
//!
//! Follows diffusers' `scheduling_lcm.py`. The timesteps are picked from the grid of `original_inference_steps` that the
//! model was distilled on, so there cannot be more steps than that. `timestep_spacing`, `steps_offset` and
//! `set_alpha_to_one` have no effect, as there. Explicit timesteps with a strength below 1 lose their first ones, and noise
//! is then added in the last step too, as there; [`Scheduler::set_begin_index`] gives the last step none.

use burn::tensor::Tensor;
use serde_json::Value;

use crate::betas::{BETA_SCHEDULES, BetaOptions, BetaSchedule};
use crate::config::{ConfigReader, TRAIN_TIMESTEPS};
use crate::ddpm::explicit_timesteps;
use crate::level::Level;
use crate::prediction::{PREDICTION_TYPES, PredictionType};
use crate::progress::Progress;
use crate::scheduler::{NoiseSource, Schedule, SchedulePoints, Scheduler, StepOutput};
use crate::scheduler::{checked_steps, unsupported};
use crate::thresholding::Bounds;
use crate::{SchedulerError, SchedulerKind};

const KIND: SchedulerKind = SchedulerKind::Lcm;

/// The standard deviation of the data in the boundary condition.
const SIGMA_DATA: f32 = 0.5;

/// `LCMScheduler`.
#[derive(Debug)]
pub(crate) struct Lcm {
    prediction: PredictionType,
    bounds: Bounds,
    alphas_cumprod: Vec<f32>,
    original_inference_steps: usize,
    timestep_scaling: f32,
    /// The number of steps asked for, before a strength cuts explicit timesteps.
    steps: usize,
    timesteps: Vec<f64>,
    progress: Progress,
}

impl Lcm {
    pub(crate) fn from_config(config: &Value) -> Result<Self, SchedulerError> {
        let reader = ConfigReader::new(KIND, config)?;
        let betas = BetaOptions {
            start: reader.number("beta_start", 0.00085)?,
            end: reader.number("beta_end", 0.012)?,
            schedule: reader.choice("beta_schedule", BetaSchedule::ScaledLinear, BETA_SCHEDULES)?,
            ..BetaOptions::read(&reader)?
        };
        Ok(Self {
            prediction: reader.choice("prediction_type", PredictionType::Epsilon, PREDICTION_TYPES)?,
            bounds: Bounds::read(&reader, false)?,
            alphas_cumprod: betas.alphas_cumprod(),
            original_inference_steps: reader.count("original_inference_steps", 50, TRAIN_TIMESTEPS)?,
            timestep_scaling: reader.number("timestep_scaling", 10.0)? as f32,
            steps: 0,
            timesteps: Vec::new(),
            progress: Progress::new(KIND),
        })
    }

    /// Steps of the distillation's grid.
    fn grid_steps(&self, schedule: &Schedule) -> Result<usize, SchedulerError> {
        let (steps, train) = (
            schedule
                .original_inference_steps
                .unwrap_or(self.original_inference_steps),
            self.alphas_cumprod.len(),
        );
        if (1..=train).contains(&steps) {
            return Ok(steps);
        }
        let reason = format!("is {steps}, expected 1 to `num_train_timesteps`, {train}");
        Err(unsupported(KIND, "original_inference_steps", reason))
    }

    /// `steps` timesteps of the part of the grid that `strength` leaves.
    fn picked(&self, steps: usize, grid_steps: usize, strength: f64) -> Result<Vec<f64>, SchedulerError> {
        let ratio = self.alphas_cumprod.len() / grid_steps;
        let count = (grid_steps as f64 * strength) as usize;
        if steps > count {
            let reason = format!("{grid_steps} at strength {strength} gives at most {count} steps, not {steps}");
            return Err(unsupported(KIND, "original_inference_steps", reason));
        }
        let stride = count as f64 / steps as f64;
        let pick = |i: usize| ((count - (i as f64 * stride).floor() as usize) * ratio - 1) as f64;
        Ok((0..steps).map(pick).collect())
    }

    fn alpha(&self, index: usize) -> f32 {
        self.alphas_cumprod[self.timesteps[index] as usize]
    }
}

impl Scheduler for Lcm {
    fn kind(&self) -> SchedulerKind {
        KIND
    }

    fn set_schedule(&mut self, schedule: &Schedule) -> Result<(), SchedulerError> {
        schedule.no_mu(KIND)?;
        let grid_steps = self.grid_steps(schedule)?;
        let strength = schedule.strength;
        if !(0.0..=1.0).contains(&strength) {
            let reason = format!("is {strength}, expected 0 to 1");
            return Err(unsupported(KIND, "strength", reason));
        }
        match &schedule.points {
            SchedulePoints::Steps(steps) => {
                self.timesteps = self.picked(checked_steps(KIND, *steps)?, grid_steps, strength)?;
                self.steps = *steps;
            }
            SchedulePoints::Timesteps(timesteps) => {
                let mut timesteps = explicit_timesteps(KIND, timesteps, self.alphas_cumprod.len())?;
                self.steps = timesteps.len();
                let kept = checked_steps(KIND, (self.steps as f64 * strength) as usize)?;
                timesteps.drain(..self.steps - kept);
                self.timesteps = timesteps;
            }
            SchedulePoints::Sigmas(_) => return Err(unsupported(KIND, "sigmas", "cannot be given explicitly")),
        }
        self.progress.restart(self.timesteps.len());
        Ok(())
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
        let alpha = self.alpha(index);
        let (root, noise_root) = (alpha.sqrt(), (1.0 - alpha).sqrt());
        let output = model_output.cast(sample.dtype());
        let original = self.prediction.original(output, sample.clone(), root, noise_root);
        let time = self.timesteps[index] as f32 * self.timestep_scaling;
        let variance = time * time + SIGMA_DATA * SIGMA_DATA;
        let (skip, keep) = (SIGMA_DATA * SIGMA_DATA / variance, time / variance.sqrt());
        let denoised = self.bounds.apply(original) * keep + sample * skip;
        let prev_sample = if index + 1 == self.steps {
            denoised.clone()
        } else {
            let alpha = self.alpha((index + 1).min(self.timesteps.len() - 1));
            let fresh = noise.normal(denoised.dims(), &denoised.device());
            Level::of_product(alpha).add_noise(denoised.clone(), fresh)
        };
        self.progress.advance();
        Ok(StepOutput {
            prev_sample,
            pred_original_sample: Some(denoised),
        })
    }

    fn add_noise(
        &self,
        original: Tensor<5>,
        noise: Tensor<5>,
        timestep_index: usize,
    ) -> Result<Tensor<5>, SchedulerError> {
        let alpha = self.alpha(self.progress.check(timestep_index)?);
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
