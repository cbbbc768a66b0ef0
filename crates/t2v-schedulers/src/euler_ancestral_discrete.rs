//! Euler's method with ancestral noise: Song et al., "Score-Based Generative Modeling through Stochastic Differential
//! Equations", <https://arxiv.org/abs/2011.13456>, as k-diffusion's `sample_euler_ancestral`.
//!
//! Follows diffusers' `scheduling_euler_ancestral_discrete.py`.

use burn::tensor::{DType, Tensor};
use serde_json::Value;

use crate::ancestral::down_and_up;
use crate::betas::BetaOptions;
use crate::config::ConfigReader;
use crate::noise_levels::{NoiseLevels, scaled, with_noise};
use crate::prediction::{NOISE_OR_VELOCITY, PredictionType};
use crate::progress::Progress;
use crate::scheduler::{NoiseSource, Schedule, Scheduler, StepOutput};
use crate::{SchedulerError, SchedulerKind};

const KIND: SchedulerKind = SchedulerKind::EulerAncestralDiscrete;

/// `EulerAncestralDiscreteScheduler`.
#[derive(Debug)]
pub(crate) struct EulerAncestralDiscrete {
    prediction: PredictionType,
    levels: NoiseLevels,
    timesteps: Vec<f64>,
    sigmas: Vec<f32>,
    progress: Progress,
}

impl EulerAncestralDiscrete {
    pub(crate) fn from_config(config: &Value) -> Result<Self, SchedulerError> {
        let reader = ConfigReader::new(KIND, config)?;
        let alphas = BetaOptions::read(&reader)?.positive_alphas_cumprod();
        let levels = NoiseLevels::read_plain(KIND, &reader, &alphas)?;
        Ok(Self {
            prediction: reader.choice("prediction_type", PredictionType::Epsilon, NOISE_OR_VELOCITY)?,
            sigmas: levels.training().to_vec(),
            levels,
            timesteps: Vec::new(),
            progress: Progress::new(KIND),
        })
    }
}

impl Scheduler for EulerAncestralDiscrete {
    fn kind(&self) -> SchedulerKind {
        KIND
    }

    fn set_schedule(&mut self, schedule: &Schedule) -> Result<(), SchedulerError> {
        (self.timesteps, self.sigmas) = self.levels.by_steps(schedule.only_steps(KIND)?)?;
        self.progress.restart(self.timesteps.len());
        Ok(())
    }

    fn timesteps(&self) -> &[f64] {
        &self.timesteps
    }

    fn sigmas(&self) -> Vec<f64> {
        self.sigmas.iter().map(|&sigma| f64::from(sigma)).collect()
    }

    fn init_noise_sigma(&self) -> f64 {
        self.levels.init_noise_sigma(&self.sigmas)
    }

    fn current_index(&self) -> Result<usize, SchedulerError> {
        self.progress.current()
    }

    fn set_begin_index(&mut self, index: usize) {
        self.progress.begin_at(index);
    }

    fn scale_model_input(
        &mut self,
        sample: Tensor<5>,
        _noise: &mut dyn NoiseSource,
    ) -> Result<Tensor<5>, SchedulerError> {
        let index = self.progress.current()?;
        Ok(scaled(sample, self.sigmas[index]))
    }

    fn step(
        &mut self,
        model_output: Tensor<5>,
        sample: Tensor<5>,
        noise: &mut dyn NoiseSource,
    ) -> Result<StepOutput, SchedulerError> {
        let index = self.progress.current()?;
        let (sigma, next) = (self.sigmas[index], self.sigmas[index + 1]);
        let dtype = model_output.dtype();
        let (model_output, sample) = (model_output.cast(DType::F32), sample.cast(DType::F32));
        let original = self
            .prediction
            .original_of_unscaled(model_output, sample.clone(), sigma, sigma);
        let derivative = (sample.clone() - original.clone()) / sigma;
        let (down, up) = down_and_up(sigma, next);
        let fresh = noise.normal(sample.dims(), &sample.device()).cast(DType::F32);
        let prev_sample = sample + derivative * (down - sigma) + fresh * up;
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
        let sigma = self.sigmas[self.progress.check(timestep_index)?];
        Ok(with_noise(original, noise, sigma))
    }
}
