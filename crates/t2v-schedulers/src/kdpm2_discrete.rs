//! The midpoint method in the logarithm of sigma, k-diffusion's `sample_dpm_2`: the second-order sampler inspired by
//! DPM-Solver-2 (Lu et al., <https://arxiv.org/abs/2206.00927>) and Algorithm 2 of Karras et al.,
//! <https://arxiv.org/abs/2206.00364>.
//!
//! A step has two model calls, one at its start and one at the geometric mean of its two sigmas; the last step, to 0, has
//! only the first. A run that begins later than at timestep 0 begins with a step's first call, at an even index. Follows
//! diffusers' `scheduling_k_dpm_2_discrete.py`.

use burn::tensor::{DType, Tensor};
use serde_json::Value;

use crate::betas::{BETA_SCHEDULES, BetaOptions};
use crate::config::ConfigReader;
use crate::float32::log_mean;
use crate::noise_levels::{NoiseLevels, scaled};
use crate::prediction::{NOISE_OR_VELOCITY, PredictionType};
use crate::progress::Progress;
use crate::scheduler::{NoiseSource, Schedule, Scheduler, StepOutput};
use crate::spacing::whole_timesteps;
use crate::two_calls::{interleaved, level_of_call, sigmas_of_calls};
use crate::{SchedulerError, SchedulerKind};

const KIND: SchedulerKind = SchedulerKind::Kdpm2Discrete;

/// `KDPM2DiscreteScheduler`.
#[derive(Debug)]
pub(crate) struct Kdpm2Discrete {
    prediction: PredictionType,
    levels: NoiseLevels,
    timesteps: Vec<f64>,
    sigmas: Vec<f32>,
    /// The sigma that a step's first call left, and its sample.
    first: Option<(f32, Tensor<5>)>,
    progress: Progress,
}

impl Kdpm2Discrete {
    pub(crate) fn from_config(config: &Value) -> Result<Self, SchedulerError> {
        let reader = ConfigReader::new(KIND, config)?;
        let alphas = BetaOptions::read_plain(&reader, 0.00085, 0.012, BETA_SCHEDULES)?.alphas_cumprod();
        let levels = NoiseLevels::read(KIND, &reader, &alphas)?;
        Ok(Self {
            prediction: reader.choice("prediction_type", PredictionType::Epsilon, NOISE_OR_VELOCITY)?,
            sigmas: levels.training().to_vec(),
            levels,
            timesteps: Vec::new(),
            first: None,
            progress: Progress::new(KIND),
        })
    }

    /// The sigma between a level and the one before it.
    fn middle(&self, level: usize) -> f32 {
        log_mean(self.sigmas[level], self.sigmas[level - 1])
    }

    /// The sigma that a call's model input has.
    fn sigma_of_call(&self, call: usize) -> f32 {
        let level = level_of_call(call);
        match self.first {
            None => self.sigmas[level],
            Some(_) => self.middle(level),
        }
    }
}

impl Scheduler for Kdpm2Discrete {
    fn kind(&self) -> SchedulerKind {
        KIND
    }

    fn set_schedule(&mut self, schedule: &Schedule) -> Result<(), SchedulerError> {
        let (mut starts, sigmas) = self.levels.by_steps(schedule.only_steps(KIND)?)?;
        if self.levels.is_karras() {
            starts = whole_timesteps(starts, true);
        }
        self.sigmas = sigmas;
        let middles = (1..starts.len()).map(|level| self.levels.timestep_between(self.middle(level)));
        self.timesteps = interleaved(&starts, middles);
        self.first = None;
        self.progress.restart(self.timesteps.len());
        Ok(())
    }

    fn timesteps(&self) -> &[f64] {
        &self.timesteps
    }

    fn order(&self) -> usize {
        2
    }

    fn sigmas(&self) -> Vec<f64> {
        sigmas_of_calls(&self.sigmas, 0)
    }

    fn init_noise_sigma(&self) -> f64 {
        self.levels.init_noise_sigma(&self.sigmas)
    }

    fn current_index(&self) -> Result<usize, SchedulerError> {
        self.progress.current()
    }

    fn set_begin_index(&mut self, index: usize) {
        self.first = None;
        self.progress.begin_at(index);
    }

    fn scale_model_input(
        &mut self,
        sample: Tensor<5>,
        _noise: &mut dyn NoiseSource,
    ) -> Result<Tensor<5>, SchedulerError> {
        let index = self.progress.current()?;
        Ok(scaled(sample, self.sigma_of_call(index)))
    }

    fn step(
        &mut self,
        model_output: Tensor<5>,
        sample: Tensor<5>,
        _noise: &mut dyn NoiseSource,
    ) -> Result<StepOutput, SchedulerError> {
        let index = self.progress.current()?;
        let sigma = self.sigma_of_call(index);
        let dtype = model_output.dtype();
        let (model_output, sample) = (model_output.cast(DType::F32), sample.cast(DType::F32));
        let original = self
            .prediction
            .original_of_unscaled(model_output, sample.clone(), sigma, sigma);
        let derivative = (sample.clone() - original.clone()) / sigma;
        let prev_sample = match self.first.take() {
            None => {
                let middle = self.middle(level_of_call(index + 1));
                self.first = Some((sigma, sample.clone()));
                sample + derivative * (middle - sigma)
            }
            Some((start, sample)) => sample + derivative * (self.sigmas[level_of_call(index)] - start),
        };
        self.progress.advance();
        Ok(StepOutput {
            prev_sample: prev_sample.cast(dtype),
            pred_original_sample: Some(original),
        })
    }

    fn add_noise(
        &self,
        original: Tensor<5>,
        noise: Tensor<5>,
        timestep_index: usize,
    ) -> Result<Tensor<5>, SchedulerError> {
        let sigma = self.sigmas[level_of_call(self.progress.check(timestep_index)?)];
        let noise = noise.cast(original.dtype());
        Ok(original + noise * sigma)
    }
}
