//! Predictor-corrector sampling of the variance-exploding SDE: Song et al., "Score-Based Generative Modeling through
//! Stochastic Differential Equations", <https://arxiv.org/abs/2011.13456>, Algorithms 2 and 4.
//!
//! [`ScoreSdeVe`] follows diffusers' `scheduling_sde_ve.py`, with its calls, for models of the score. What
//! [`crate::from_config`] gives for other models is in `score_sde_ve/sampler.rs`.

mod sampler;

use std::ops::RangeInclusive;

use burn::tensor::{DType, Tensor};
use serde_json::Value;

use crate::config::{ConfigReader, TRAIN_TIMESTEPS};
use crate::float32::{exp, linspace};
use crate::noise_levels::with_noise;
use crate::scheduler::{NoiseSource, checked_steps};
use crate::{SchedulerError, SchedulerKind};

pub(crate) use self::sampler::ScoreSdeVeSampler;

const KIND: SchedulerKind = SchedulerKind::ScoreSdeVe;

/// The range of `correct_steps`.
const CORRECT_STEPS: RangeInclusive<usize> = 0..=100;

/// The options of diffusers' `ScoreSdeVeScheduler`.
#[derive(Clone, Copy, Debug)]
struct SdeVeOptions {
    /// The ratio of signal to noise of a corrector call.
    snr: f64,
    sigma_min: f64,
    sigma_max: f64,
    /// The last time.
    sampling_eps: f64,
    correct_steps: usize,
}

impl SdeVeOptions {
    fn read(reader: &ConfigReader) -> Result<Self, SchedulerError> {
        let options = Self {
            snr: reader.number("snr", 0.15)?,
            sigma_min: reader.optional_number("sigma_min")?.unwrap_or(0.01),
            sigma_max: reader.optional_number("sigma_max")?.unwrap_or(1348.0),
            sampling_eps: reader.number("sampling_eps", 1e-5)?,
            correct_steps: reader.count("correct_steps", 1, CORRECT_STEPS)?,
        };
        if options.sigma_min <= 0.0 {
            let reason = format!("is {}, expected a positive number", options.sigma_min);
            return Err(reader.unsupported("sigma_min", reason));
        }
        if options.sigma_max < options.sigma_min {
            let reason = format!("is {}, expected at least `sigma_min`", options.sigma_max);
            return Err(reader.unsupported("sigma_max", reason));
        }
        if !(0.0..=1.0).contains(&options.sampling_eps) {
            let reason = format!("is {}, expected a time from 0 to 1", options.sampling_eps);
            return Err(reader.unsupported("sampling_eps", reason));
        }
        Ok(options)
    }
}

/// Diffusers' `ScoreSdeVeScheduler`, for a model of the score: the gradient of the logarithmic density of
/// `original + sigma * noise`, by the sample.
///
/// It has no single `step`. Its loop is
///
/// ```text
/// scheduler.set_timesteps(n, None); scheduler.set_sigmas(n, None, None, None)
/// x = noise * init_noise_sigma
/// for (t, sigma) in timesteps and sigmas:
///     repeat correct_steps times: x = step_correct(model(x, sigma), x)
///     (x, mean) = step_pred(model(x, sigma), t, x)
/// the result is the last mean
/// ```
#[derive(Clone, Debug)]
pub struct ScoreSdeVe {
    options: SdeVeOptions,
    timesteps: Vec<f64>,
    sigmas: Vec<f64>,
    /// Levels in geometric progression, ascending, that the predictor goes down.
    discrete_sigmas: Vec<f32>,
}

/// What the predictor returns.
#[derive(Clone, Debug)]
pub struct SdeVeOutput {
    /// The sample of the next timestep.
    pub prev_sample: Tensor<5>,
    /// The same without fresh noise.
    pub prev_sample_mean: Tensor<5>,
}

impl ScoreSdeVe {
    /// Reads `num_train_timesteps`, `snr`, `sigma_min`, `sigma_max`, `sampling_eps` and `correct_steps` from a
    /// `scheduler_config.json`. Timesteps and sigmas are those of `num_train_timesteps` steps.
    ///
    /// # Errors
    ///
    /// A value of a wrong type, or out of its range: the levels must be positive and rise.
    pub fn from_config(config: &Value) -> Result<Self, SchedulerError> {
        let reader = ConfigReader::new(KIND, config)?;
        let train = reader.count("num_train_timesteps", 2000, TRAIN_TIMESTEPS)?;
        let mut scheduler = Self {
            options: SdeVeOptions::read(&reader)?,
            timesteps: Vec::new(),
            sigmas: Vec::new(),
            discrete_sigmas: Vec::new(),
        };
        scheduler.set_timesteps(train, None)?;
        scheduler.set_sigmas(train, None, None, None)?;
        Ok(scheduler)
    }

    /// Spreads the times evenly from 1 to `sampling_eps`, which is the configuration's if it is `None`.
    ///
    /// # Errors
    ///
    /// No steps, or more than 100,000.
    pub fn set_timesteps(&mut self, steps: usize, sampling_eps: Option<f64>) -> Result<(), SchedulerError> {
        let last = sampling_eps.unwrap_or(self.options.sampling_eps);
        let times = linspace(1.0, last, checked_steps(KIND, steps)?);
        self.timesteps = times.into_iter().map(f64::from).collect();
        Ok(())
    }

    /// Computes the noise levels of the present timesteps, and the `steps` levels that the predictor goes down. What is
    /// `None` is the configuration's.
    ///
    /// `_sampling_eps` is diffusers' argument, which has no effect there either once there are timesteps.
    ///
    /// # Errors
    ///
    /// No steps, or more than 100,000.
    pub fn set_sigmas(
        &mut self,
        steps: usize,
        sigma_min: Option<f64>,
        sigma_max: Option<f64>,
        _sampling_eps: Option<f64>,
    ) -> Result<(), SchedulerError> {
        let min = sigma_min.unwrap_or(self.options.sigma_min);
        let max = sigma_max.unwrap_or(self.options.sigma_max);
        let logs = linspace(min.ln(), max.ln(), checked_steps(KIND, steps)?);
        self.discrete_sigmas = logs.into_iter().map(exp).collect();
        let sigmas = self.timesteps.iter().map(|&time| f64::from(sigma_at(time, min, max)));
        self.sigmas = sigmas.collect();
        Ok(())
    }

    /// The times, descending from 1.
    pub fn timesteps(&self) -> &[f64] {
        &self.timesteps
    }

    /// The noise level of each timestep, for the model.
    pub fn sigmas(&self) -> &[f64] {
        &self.sigmas
    }

    /// Corrector calls a step.
    pub fn correct_steps(&self) -> usize {
        self.options.correct_steps
    }

    /// The standard deviation of the noise to start from, `sigma_max`.
    pub fn init_noise_sigma(&self) -> f64 {
        self.options.sigma_max
    }

    /// The predictor: a step of the reverse SDE, to the next lower of the levels.
    ///
    /// # Errors
    ///
    /// A `timestep` that none of the levels belongs to.
    pub fn step_pred(
        &self,
        model_output: Tensor<5>,
        timestep: f64,
        sample: Tensor<5>,
        noise: &mut dyn NoiseSource,
    ) -> Result<SdeVeOutput, SchedulerError> {
        let index = (timestep as f32 * (self.timesteps.len() - 1) as f32) as usize;
        let sigma = self.level(index)?;
        let below = match index {
            0 => 0.0,
            _ => self.level(index - 1)?,
        };
        let diffusion = (sigma * sigma - below * below).sqrt();
        let output = model_output.cast(sample.dtype());
        let fresh = noise.normal(sample.dims(), &sample.device()).cast(sample.dtype());
        let prev_sample_mean = sample + output * (diffusion * diffusion);
        Ok(SdeVeOutput {
            prev_sample: prev_sample_mean.clone() + fresh * diffusion,
            prev_sample_mean,
        })
    }

    /// The corrector: a step of Langevin dynamics at the present level, as long as `snr` says.
    pub fn step_correct(&self, model_output: Tensor<5>, sample: Tensor<5>, noise: &mut dyn NoiseSource) -> Tensor<5> {
        let fresh = noise.normal(sample.dims(), &sample.device());
        langevin(model_output, sample, fresh, self.options.snr, f32::INFINITY)
    }

    /// `original` with `noise` of one of the ascending levels, of which there are as many as steps.
    ///
    /// # Errors
    ///
    /// An index beyond the levels.
    pub fn add_noise(&self, original: Tensor<5>, noise: Tensor<5>, index: usize) -> Result<Tensor<5>, SchedulerError> {
        let sigma = self.level(index)?;
        Ok(with_noise(original, noise, sigma))
    }

    fn level(&self, index: usize) -> Result<f32, SchedulerError> {
        let len = self.discrete_sigmas.len();
        let sigma = self.discrete_sigmas.get(index).copied();
        sigma.ok_or(SchedulerError::IndexOutOfRange { kind: KIND, index, len })
    }
}

/// The noise level at a time of 0 to 1, in geometric progression.
fn sigma_at(time: f64, min: f64, max: f64) -> f32 {
    let growth = f64::from((max / min) as f32).powf(time) as f32;
    min as f32 * growth
}

/// A step of Langevin dynamics (Algorithm 4). Its length follows from the ratio of the norms of noise and score, which are
/// means over the batch, and at most `max_ratio`; where the score is 0, there is no step.
fn langevin(score: Tensor<5>, sample: Tensor<5>, noise: Tensor<5>, snr: f64, max_ratio: f32) -> Tensor<5> {
    let dtype = sample.dtype();
    let (score, noise) = (score.cast(DType::F32), noise.cast(DType::F32));
    let norm = |tensor: &Tensor<5>| {
        let batch = tensor.dims()[0];
        let squares = tensor.clone().reshape([batch as i32, -1]).powi_scalar(2);
        squares.sum_dim(1).sqrt().mean()
    };
    let score_norm = norm(&score);
    let no_score = score_norm.clone().equal_elem(0.0);
    let ratio = (norm(&noise) / score_norm).clamp_max(max_ratio);
    let step = (ratio * snr).powi_scalar(2) * 2.0;
    let step: Tensor<5> = step.mask_fill(no_score, 0.0).reshape([1, 1, 1, 1, 1]);
    let dims = sample.dims();
    let drift = score * step.clone().expand(dims);
    let diffusion = noise * (step * 2.0).sqrt().expand(dims);
    (sample.cast(DType::F32) + drift + diffusion).cast(dtype)
}
