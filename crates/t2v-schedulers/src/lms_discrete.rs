//! A linear multistep method (Adams–Bashforth on uneven levels) for the probability-flow ODE in sigma, k-diffusion's
//! `sample_lms`; the ODE: Karras et al., <https://arxiv.org/abs/2206.00364>, equation 1.
//!
//! Follows diffusers' `scheduling_lms_discrete.py`, which integrates the Lagrange polynomials by quadrature in single
//! precision; here they are integrated exactly.

mod lagrange;

use std::collections::VecDeque;

use burn::tensor::{DType, Tensor};
use serde_json::Value;

use crate::betas::{BETA_SCHEDULES, BetaOptions};
use crate::config::ConfigReader;
use crate::noise_levels::{NoiseLevels, scaled, single_precision, with_noise};
use crate::prediction::{PREDICTION_TYPES, PredictionType};
use crate::progress::Progress;
use crate::scheduler::{NoiseSource, Schedule, Scheduler, StepOptions, StepOutput, unsupported};
use crate::{SchedulerError, SchedulerKind};
use lagrange::integrals;

const KIND: SchedulerKind = SchedulerKind::LmsDiscrete;

/// `LMSDiscreteScheduler`.
#[derive(Debug)]
pub(crate) struct LmsDiscrete {
    prediction: PredictionType,
    levels: NoiseLevels,
    options: StepOptions,
    timesteps: Vec<f64>,
    sigmas: Vec<f32>,
    /// Latest first.
    derivatives: VecDeque<Tensor<5>>,
    progress: Progress,
}

impl LmsDiscrete {
    pub(crate) fn from_config(config: &Value) -> Result<Self, SchedulerError> {
        let reader = ConfigReader::new(KIND, config)?;
        let alphas = BetaOptions::read_plain(&reader, 0.0001, 0.02, BETA_SCHEDULES)?.alphas_cumprod();
        let levels = NoiseLevels::read(KIND, &reader, &alphas)?.without_karras_bounds();
        Ok(Self {
            prediction: reader.choice("prediction_type", PredictionType::Epsilon, PREDICTION_TYPES)?,
            sigmas: levels.training().to_vec(),
            levels,
            options: StepOptions::default(),
            timesteps: Vec::new(),
            derivatives: VecDeque::new(),
            progress: Progress::new(KIND),
        })
    }

    /// The weights of the derivatives, latest first, in the step from a level.
    ///
    /// As in diffusers their number is that of the levels since the start of the schedule, also where a run begins later
    /// and there are fewer derivatives: the rest of the weights is then not used.
    fn weights(&self, index: usize) -> Vec<f64> {
        let order = self.options.order.min(index + 1);
        let sigma = f64::from(self.sigmas[index]);
        let offset = |i: usize| f64::from(self.sigmas[i]) - sigma;
        let nodes: Vec<f64> = (0..order).map(|back| offset(index - back)).collect();
        integrals(&nodes, offset(index + 1))
    }
}

impl Scheduler for LmsDiscrete {
    fn kind(&self) -> SchedulerKind {
        KIND
    }

    fn set_schedule(&mut self, schedule: &Schedule) -> Result<(), SchedulerError> {
        let (timesteps, sigmas) = self.levels.by_steps(schedule.only_steps(KIND)?)?;
        (self.timesteps, self.sigmas) = (single_precision(timesteps), sigmas);
        self.derivatives.clear();
        self.progress.restart(self.timesteps.len());
        Ok(())
    }

    fn set_step_options(&mut self, options: StepOptions) {
        self.options = options;
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
        self.derivatives.clear();
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
        _noise: &mut dyn NoiseSource,
    ) -> Result<StepOutput, SchedulerError> {
        let index = self.progress.current()?;
        if self.options.order == 0 {
            return Err(unsupported(KIND, "order", "is 0, expected at least 1"));
        }
        let sigma = self.sigmas[index];
        let dtype = model_output.dtype();
        let (model_output, sample) = (model_output.cast(DType::F32), sample.cast(DType::F32));
        let original = self
            .prediction
            .original_of_unscaled(model_output, sample.clone(), sigma, sigma);
        let derivative = (sample.clone() - original.clone()) / sigma;
        self.derivatives.truncate(self.options.order - 1);
        self.derivatives.push_front(derivative);
        let terms = self.weights(index).into_iter().zip(&self.derivatives);
        let change = terms.map(|(weight, derivative)| derivative.clone() * weight as f32);
        let prev_sample = change
            .reduce(|sum, term| sum + term)
            .map_or(sample.clone(), |c| sample + c);
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
