//! Heun's method on the probability-flow ODE: Karras et al., "Elucidating the Design Space of Diffusion-Based Generative
//! Models", <https://arxiv.org/abs/2206.00364>, Algorithm 1.
//!
//! A step has two model calls, one at its start and one at its end; the last step has only the first. A run that begins
//! later than at timestep 0 begins with a step's first call, at an even index. Follows diffusers'
//! `scheduling_heun_discrete.py`.

use burn::tensor::{DType, Tensor};
use serde_json::Value;

use crate::betas::{BetaOptions, BetaSchedule};
use crate::config::ConfigReader;
use crate::noise_levels::{NoiseLevels, scaled, single_precision};
use crate::prediction::{PREDICTION_TYPES, PredictionType};
use crate::progress::Progress;
use crate::scheduler::{NoiseSource, Schedule, SchedulePoints, Scheduler, StepOutput, unsupported};
use crate::thresholding::read_clip;
use crate::two_calls::{all_twice_but_the_first, level_of_call, sigmas_of_calls};
use crate::{SchedulerError, SchedulerKind};

const KIND: SchedulerKind = SchedulerKind::HeunDiscrete;

const BETA_SCHEDULES: &[(&str, BetaSchedule)] = &[
    ("linear", BetaSchedule::Linear),
    ("scaled_linear", BetaSchedule::ScaledLinear),
    ("squaredcos_cap_v2", BetaSchedule::SquaredCosine),
    ("exp", BetaSchedule::Exponential),
];

/// What a step's first call leaves for the second.
#[derive(Debug)]
struct FirstCall {
    sample: Tensor<5>,
    derivative: Tensor<5>,
    /// How much sigma changes in the step.
    change: f32,
}

/// `HeunDiscreteScheduler`.
#[derive(Debug)]
pub(crate) struct HeunDiscrete {
    prediction: PredictionType,
    clip: Option<f32>,
    levels: NoiseLevels,
    timesteps: Vec<f64>,
    sigmas: Vec<f32>,
    first: Option<FirstCall>,
    progress: Progress,
}

impl HeunDiscrete {
    pub(crate) fn from_config(config: &Value) -> Result<Self, SchedulerError> {
        let reader = ConfigReader::new(KIND, config)?;
        let alphas = BetaOptions::read_plain(&reader, 0.00085, 0.012, BETA_SCHEDULES)?.alphas_cumprod();
        let levels = NoiseLevels::read(KIND, &reader, &alphas)?;
        Ok(Self {
            prediction: reader.choice("prediction_type", PredictionType::Epsilon, PREDICTION_TYPES)?,
            clip: read_clip(&reader, false)?,
            sigmas: levels.training().to_vec(),
            levels,
            timesteps: Vec::new(),
            first: None,
            progress: Progress::new(KIND),
        })
    }
}

impl Scheduler for HeunDiscrete {
    fn kind(&self) -> SchedulerKind {
        KIND
    }

    fn set_schedule(&mut self, schedule: &Schedule) -> Result<(), SchedulerError> {
        schedule.no_mu(KIND)?;
        let (timesteps, sigmas) = match &schedule.points {
            SchedulePoints::Steps(steps) => self.levels.by_steps(*steps)?,
            SchedulePoints::Timesteps(timesteps) => self.levels.by_timesteps(timesteps)?,
            SchedulePoints::Sigmas(_) => return Err(unsupported(KIND, "sigmas", "cannot be given explicitly")),
        };
        self.timesteps = all_twice_but_the_first(&single_precision(timesteps));
        self.sigmas = sigmas;
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
        sigmas_of_calls(&self.sigmas, 1)
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
        Ok(scaled(sample, self.sigmas[level_of_call(index)]))
    }

    fn step(
        &mut self,
        model_output: Tensor<5>,
        sample: Tensor<5>,
        _noise: &mut dyn NoiseSource,
    ) -> Result<StepOutput, SchedulerError> {
        let index = self.progress.current()?;
        let sigma = self.sigmas[level_of_call(index)];
        let dtype = model_output.dtype();
        let (model_output, sample) = (model_output.cast(DType::F32), sample.cast(DType::F32));
        let original = self
            .prediction
            .original_of_unscaled(model_output, sample.clone(), sigma, sigma);
        let original = match self.clip {
            Some(range) => original.clamp(-range, range),
            None => original,
        };
        let derivative = (sample.clone() - original.clone()) / sigma;
        let prev_sample = match self.first.take() {
            None => {
                let change = self.sigmas[level_of_call(index + 1)] - sigma;
                let prev_sample = sample.clone() + derivative.clone() * change;
                self.first = Some(FirstCall {
                    sample,
                    derivative,
                    change,
                });
                prev_sample
            }
            Some(first) => first.sample + (first.derivative + derivative) * 0.5 * first.change,
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
