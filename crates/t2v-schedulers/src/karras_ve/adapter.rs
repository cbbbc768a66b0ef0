//! Algorithm 2 of Karras et al. for models that predict noise, velocity or sample at discrete timesteps.
//!
//! The configuration's betas give each training timestep the noise level `sigma(t) = sqrt((1 - a) / a)` of the
//! variance-exploding sample `x = original + sigma * noise`. At a level between two of these the model is a denoiser
//! `D(x; sigma)`: it gets `x / sqrt(sigma² + 1)` and the timestep that log-linear interpolation finds, and its output becomes
//! an estimate of the clean sample. A run of `n` steps goes through `sigma_max * (sigma_min / sigma_max)^(i / (n - 1))` to 0,
//! and each step
//!
//! 1. lifts the sample with fresh noise from `sigma` to `sigma_hat = (1 + gamma) * sigma` (churn),
//! 2. goes from there to the next level by Euler's method, on the slope `d = (x - D(x; sigma_hat)) / sigma_hat`,
//! 3. unless that level is 0, repeats it with the mean of `d` and the slope at its end.
//!
//! Deviations from the paper and from [`KarrasVe`](super::KarrasVe):
//!
//! - The levels, `sigma_hat` included, are clipped to those that the model was trained at.
//! - The schedule holds noise levels; that of `KarrasVe` holds their squares and uses them as levels.
//! - Where a step is so long that sigma falls to less than half, the mean of slopes would leave much of the noise in the
//!   sample: from level 14.6 to 0.03 one half of it. There the mean of the two estimates of the clean sample takes the
//!   place of that of the slopes, in `x' = r * x_hat + (1 - r) * D` with `r = sigma_next / sigma_hat`, which is what the
//!   exponential integrators of Lu et al., <https://arxiv.org/abs/2211.01095>, do. Both are of second order.

use burn::tensor::{DType, Tensor};
use serde_json::Value;

use super::KIND;
use super::config::Config;
use crate::betas::BetaOptions;
use crate::churn::{self, gamma};
use crate::config::ConfigReader;
use crate::noise_levels::{scaled, with_noise};
use crate::prediction::{PREDICTION_TYPES, PredictionType};
use crate::progress::Progress;
use crate::scheduler::{NoiseSource, Schedule, Scheduler, StepOutput, unsupported};
use crate::sigmas::{log_sigmas, sigma_to_t_f32, training_sigmas};
use crate::two_calls::{interleaved, level_of_call};
use crate::{SchedulerError, SchedulerKind};

/// A step shorter than this ratio of its sigmas gets Algorithm 2's correction.
const SHORT_STEP: f32 = 0.5;

/// `KarrasVeScheduler` as a [`Scheduler`].
#[derive(Debug)]
pub(crate) struct KarrasVeAdapter {
    config: Config,
    prediction: PredictionType,
    log_training: Vec<f32>,
    /// The noise levels to start from and to end at, before 0.
    max: f32,
    min: f32,
    timesteps: Vec<f64>,
    sigmas: Vec<f32>,
    /// The step's lifted sample, from before its first call on.
    sample_hat: Option<Tensor<5>>,
    /// The estimate of the clean sample from its first call.
    first: Option<Tensor<5>>,
    progress: Progress,
}

impl KarrasVeAdapter {
    pub(crate) fn from_config(config: &Value) -> Result<Self, SchedulerError> {
        let reader = ConfigReader::new(KIND, config)?;
        let training = training_sigmas(&BetaOptions::read(&reader)?.positive_alphas_cumprod());
        let config = Config::read(config)?;
        let (lowest, highest) = (training[0], training[training.len() - 1]);
        let (min, max) = (config.sigma_min as f32, config.sigma_max as f32);
        if min > highest || max < lowest {
            let reason = format!("is {min} (and `sigma_max` {max}), expected levels from {lowest} to {highest}");
            return Err(reader.unsupported("sigma_min", reason));
        }
        Ok(Self {
            config,
            prediction: reader.choice("prediction_type", PredictionType::Epsilon, PREDICTION_TYPES)?,
            log_training: log_sigmas(&training),
            max: max.min(highest),
            min: min.max(lowest),
            timesteps: Vec::new(),
            sigmas: Vec::new(),
            sample_hat: None,
            first: None,
            progress: Progress::new(KIND),
        })
    }

    /// The level that churn lifts a step's start to.
    fn sigma_hat(&self, level: usize) -> f32 {
        let sigma = self.sigmas[level];
        let gamma = gamma(self.config.s_churn, self.sigmas.len() - 1);
        match self.config.churns_at(sigma) {
            true => (sigma * (1.0 + gamma) as f32).min(self.max),
            false => sigma,
        }
    }

    /// Corrects the step to a level, at which there are a first result and the estimate of the clean sample for it.
    fn corrected(
        &self,
        sample_hat: Tensor<5>,
        originals: [Tensor<5>; 2],
        first_result: Tensor<5>,
        level: usize,
    ) -> Tensor<5> {
        let (sigma_hat, sigma) = (self.sigma_hat(level - 1), self.sigmas[level]);
        let ratio = sigma / sigma_hat;
        let [first, second] = originals;
        if ratio < SHORT_STEP {
            return sample_hat * ratio + (first + second) * (0.5 * (1.0 - ratio));
        }
        let slopes = (sample_hat.clone() - first) / sigma_hat + (first_result - second) / sigma;
        sample_hat + slopes * (0.5 * (sigma - sigma_hat))
    }
}

impl Scheduler for KarrasVeAdapter {
    fn kind(&self) -> SchedulerKind {
        KIND
    }

    fn set_schedule(&mut self, schedule: &Schedule) -> Result<(), SchedulerError> {
        let last = schedule.only_steps(KIND)? - 1;
        let sigma_ratio = f64::from(self.min / self.max);
        let level = |i: usize| (f64::from(self.max) * sigma_ratio.powf(i as f64 / last.max(1) as f64)) as f32;
        self.sigmas = (0..=last).map(level).chain([0.0]).collect();
        let timestep = |sigma| sigma_to_t_f32(sigma, &self.log_training);
        let starts: Vec<f64> = (0..=last).map(|i| timestep(self.sigma_hat(i))).collect();
        let ends = self.sigmas[1..=last].iter().map(|&sigma| timestep(sigma));
        self.timesteps = interleaved(&starts, ends);
        (self.sample_hat, self.first) = (None, None);
        self.progress.restart(self.timesteps.len());
        Ok(())
    }

    /// Churn is a part of the configuration here.
    fn timesteps(&self) -> &[f64] {
        &self.timesteps
    }

    fn order(&self) -> usize {
        2
    }

    fn sigmas(&self) -> Vec<f64> {
        self.sigmas.iter().map(|&sigma| f64::from(sigma)).collect()
    }

    fn init_noise_sigma(&self) -> f64 {
        f64::from(self.max)
    }

    fn current_index(&self) -> Result<usize, SchedulerError> {
        self.progress.current()
    }

    fn set_begin_index(&mut self, index: usize) {
        (self.sample_hat, self.first) = (None, None);
        self.progress.begin_at(index);
    }

    fn scale_model_input(
        &mut self,
        sample: Tensor<5>,
        noise: &mut dyn NoiseSource,
    ) -> Result<Tensor<5>, SchedulerError> {
        let level = level_of_call(self.progress.current()?);
        let dtype = sample.dtype();
        if self.first.is_some() {
            return Ok(scaled(sample, self.sigmas[level]));
        }
        let (sigma, sigma_hat) = (self.sigmas[level], self.sigma_hat(level));
        let mut sample = sample.cast(DType::F32);
        if sigma_hat > sigma {
            sample = churn::add(sample, sigma, sigma_hat, self.config.s_noise, noise);
        }
        self.sample_hat = Some(sample.clone());
        Ok(scaled(sample, sigma_hat).cast(dtype))
    }

    fn step(
        &mut self,
        model_output: Tensor<5>,
        sample: Tensor<5>,
        _noise: &mut dyn NoiseSource,
    ) -> Result<StepOutput, SchedulerError> {
        let level = level_of_call(self.progress.current()?);
        let dtype = model_output.dtype();
        let output = model_output.cast(DType::F32);
        let denoised = |output, sample, sigma| self.prediction.original_of_unscaled(output, sample, sigma, sigma);
        let Some(sample_hat) = self.sample_hat.take() else {
            let reason = "needs a call of `scale_model_input` before it";
            return Err(unsupported(KIND, "step", reason));
        };
        let (prev_sample, original) = if let Some(first) = self.first.take() {
            let sample = sample.cast(DType::F32);
            let second = denoised(output, sample.clone(), self.sigmas[level]);
            let originals = [first, second.clone()];
            (self.corrected(sample_hat, originals, sample, level), second)
        } else {
            let sigma_hat = self.sigma_hat(level);
            let original = denoised(output, sample_hat.clone(), sigma_hat);
            let slope = (sample_hat.clone() - original.clone()) / sigma_hat;
            let prev_sample = sample_hat.clone() + slope * (self.sigmas[level + 1] - sigma_hat);
            (self.sample_hat, self.first) = (Some(sample_hat), Some(original.clone()));
            (prev_sample, original)
        };
        self.progress.advance();
        Ok(StepOutput {
            prev_sample: prev_sample.cast(dtype),
            pred_original_sample: Some(original),
        })
    }

    /// Adds noise at the level of a step's start before churn.
    fn add_noise(
        &self,
        original: Tensor<5>,
        noise: Tensor<5>,
        timestep_index: usize,
    ) -> Result<Tensor<5>, SchedulerError> {
        let sigma = self.sigmas[level_of_call(self.progress.check(timestep_index)?)];
        Ok(with_noise(original, noise, sigma))
    }
}
