//! The stochastic sampler of Karras et al., "Elucidating the Design Space of Diffusion-Based Generative Models",
//! <https://arxiv.org/abs/2206.00364>, Algorithm 2, with the noise levels of variance-exploding models (Table 1).
//!
//! Two forms. [`KarrasVe`] has the calls and the numbers of diffusers' `scheduling_karras_ve.py`, which no pipeline of
//! latent models can drive. `adapter` samples the checkpoints of such pipelines with the same algorithm, behind the trait.

mod adapter;
mod config;

use burn::tensor::Tensor;
use serde_json::Value;

pub(crate) use self::adapter::KarrasVeAdapter;
use self::config::Config;
use crate::churn::{self, gamma};
use crate::scheduler::{NoiseSource, checked_steps};
use crate::{SchedulerError, SchedulerKind};

const KIND: SchedulerKind = SchedulerKind::KarrasVe;

/// `KarrasVeScheduler` with diffusers' own calls.
///
/// It is for a model of variance-exploding diffusion whose output `out` estimates the clean sample as
/// `sample + sigma * out`. [`from_config`](crate::from_config) gives another form, for models that predict noise, velocity
/// or sample. With `sigma_of(t)` as [`schedule`](Self::schedule)`()[t]`, and 0 before `t = 0`:
///
/// ```text
/// x = noise * init_noise_sigma
/// for t in timesteps:
///     sigma, sigma_prev = sigma_of(t), sigma_of(t - 1)
///     x_hat, sigma_hat = add_noise_to_input(x, sigma)
///     result = step(model(x_hat, sigma_hat), sigma_hat, sigma_prev, x_hat)
///     if sigma_prev != 0:
///         out = model(result.prev_sample, sigma_prev)
///         result = step_correct(out, sigma_hat, sigma_prev, x_hat, result.prev_sample, result.derivative)
///     x = result.prev_sample
/// ```
///
/// As in diffusers, the schedule has the paper's squares of the noise levels, from `sigma_max²` to `sigma_min²`, and the
/// loop takes them for the levels themselves, while `init_noise_sigma` is `sigma_max`.
#[derive(Clone, Debug)]
pub struct KarrasVe {
    config: Config,
    schedule: Vec<f32>,
}

/// What [`KarrasVe::step`] and [`KarrasVe::step_correct`] return.
#[derive(Clone, Debug)]
pub struct KarrasVeOutput {
    /// The sample at `sigma_prev`.
    pub prev_sample: Tensor<5>,
    /// The derivative of the sample by sigma at the start of the step.
    pub derivative: Tensor<5>,
    /// The estimate of the clean sample.
    pub pred_original_sample: Tensor<5>,
}

impl KarrasVe {
    /// Reads `sigma_min`, `sigma_max`, `s_noise`, `s_churn`, `s_min` and `s_max` from a `scheduler_config.json`.
    pub fn from_config(config: &Value) -> Result<Self, SchedulerError> {
        Ok(Self {
            config: Config::read(config)?,
            schedule: Vec::new(),
        })
    }

    /// Computes the schedule. For one step, where diffusers divides 0 by 0, it is `sigma_max²`.
    pub fn set_timesteps(&mut self, num_inference_steps: usize) -> Result<(), SchedulerError> {
        let last = checked_steps(KIND, num_inference_steps)? - 1;
        let (max, min) = (self.config.sigma_max.powi(2), self.config.sigma_min.powi(2));
        let ratio = (min / max) as f32;
        let level = |i: usize| {
            let power = if last == 0 { 0.0 } else { i as f32 / last as f32 };
            max as f32 * f64::from(ratio).powf(f64::from(power)) as f32
        };
        self.schedule = (0..=last).rev().map(level).collect();
        Ok(())
    }

    /// The indices into [`schedule`](Self::schedule), descending to 0. Empty before
    /// [`set_timesteps`](Self::set_timesteps).
    pub fn timesteps(&self) -> Vec<usize> {
        (0..self.schedule.len()).rev().collect()
    }

    /// The noise levels by timestep, ascending.
    pub fn schedule(&self) -> &[f32] {
        &self.schedule
    }

    /// The standard deviation of the noise to start from.
    pub fn init_noise_sigma(&self) -> f64 {
        self.config.sigma_max
    }

    /// Lifts a sample from the noise level `sigma` to a higher one, and gives that; between `s_min` and `s_max` by the
    /// share `min(s_churn / steps, √2 - 1)`, elsewhere not at all. Noise is drawn in any case.
    pub fn add_noise_to_input(
        &self,
        sample: Tensor<5>,
        sigma: f32,
        noise: &mut dyn NoiseSource,
    ) -> Result<(Tensor<5>, f32), SchedulerError> {
        let Config { s_churn, s_noise, .. } = self.config;
        let steps = self.schedule.len();
        if steps == 0 {
            return Err(SchedulerError::NoTimesteps { kind: KIND });
        }
        let churns = self.config.churns_at(sigma);
        let gamma = if churns { gamma(s_churn, steps) as f32 } else { 0.0 };
        let sigma_hat = sigma + gamma * sigma;
        Ok((churn::add(sample, sigma, sigma_hat, s_noise, noise), sigma_hat))
    }

    /// A step of Euler's method from `sigma_hat` to `sigma_prev`.
    pub fn step(
        &self,
        model_output: Tensor<5>,
        sigma_hat: f32,
        sigma_prev: f32,
        sample_hat: Tensor<5>,
    ) -> KarrasVeOutput {
        let original = sample_hat.clone() + model_output * sigma_hat;
        let derivative = (sample_hat.clone() - original.clone()) / sigma_hat;
        KarrasVeOutput {
            prev_sample: sample_hat + derivative.clone() * (sigma_prev - sigma_hat),
            derivative,
            pred_original_sample: original,
        }
    }

    /// The second-order correction of a [`step`](Self::step), from the model's output for its result at `sigma_prev`,
    /// which is not 0.
    pub fn step_correct(
        &self,
        model_output: Tensor<5>,
        sigma_hat: f32,
        sigma_prev: f32,
        sample_hat: Tensor<5>,
        sample_prev: Tensor<5>,
        derivative: Tensor<5>,
    ) -> KarrasVeOutput {
        let original = sample_prev.clone() + model_output * sigma_prev;
        let corrected = (sample_prev - original.clone()) / sigma_prev;
        let mean = derivative.clone() * 0.5 + corrected * 0.5;
        KarrasVeOutput {
            prev_sample: sample_hat + mean * (sigma_prev - sigma_hat),
            derivative,
            pred_original_sample: original,
        }
    }
}
