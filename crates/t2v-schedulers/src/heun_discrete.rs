//! Heun's method on the probability-flow ODE: Karras et al., "Elucidating the Design Space of Diffusion-Based Generative
//! Models", <https://arxiv.org/abs/2206.00364>, Algorithm 1.
//!
//! A step has two model calls, one at its start and one at its end; the last step has only the first. A run that begins
//! later than at timestep 0 begins with a step's first call, at an even index. Follows diffusers'
//! `scheduling_heun_discrete.py`.

use burn::tensor::Tensor;
use serde_json::Value;

use crate::betas::{BetaOptions, BetaSchedule};
use crate::config::ConfigReader;
use crate::noise_levels::{NoiseLevels, single_precision};
use crate::prediction::{PREDICTION_TYPES, PredictionType};
use crate::scheduler::{NoiseSource, Schedule, SchedulePoints, unsupported};
use crate::sigmas::Table;
use crate::thresholding::read_clip;
use crate::two_calls::{FirstCall, StepSigmas, TwoCallSampler, TwoCallSolver, all_twice_but_the_first, level_of_call};
use crate::{SchedulerError, SchedulerKind};

const BETA_SCHEDULES: &[(&str, BetaSchedule)] = &[
    ("linear", BetaSchedule::Linear),
    ("scaled_linear", BetaSchedule::ScaledLinear),
    ("squaredcos_cap_v2", BetaSchedule::SquaredCosine),
    ("exp", BetaSchedule::Exponential),
];

/// `HeunDiscreteScheduler`.
pub(crate) type HeunDiscrete = TwoCallSampler<Heun>;

/// Heun's method.
#[derive(Debug)]
pub(crate) struct Heun {
    clip: Option<f32>,
}

impl HeunDiscrete {
    pub(crate) fn from_config(config: &Value) -> Result<Self, SchedulerError> {
        let reader = ConfigReader::new(Heun::KIND, config)?;
        let alphas = BetaOptions::read_plain(&reader, 0.00085, 0.012, BETA_SCHEDULES)?.alphas_cumprod();
        let levels = NoiseLevels::read(Heun::KIND, &reader, &alphas)?;
        let prediction = reader.choice("prediction_type", PredictionType::Epsilon, PREDICTION_TYPES)?;
        let clip = read_clip(&reader, false)?;
        Ok(Self::new(Heun { clip }, prediction, levels))
    }
}

impl TwoCallSolver for Heun {
    const KIND: SchedulerKind = SchedulerKind::HeunDiscrete;

    const LISTED_ONCE: usize = 1;

    fn table(levels: &NoiseLevels, schedule: &Schedule) -> Result<Table, SchedulerError> {
        schedule.no_mu(Self::KIND)?;
        let (timesteps, sigmas) = match &schedule.points {
            SchedulePoints::Steps(steps) => levels.by_steps(*steps)?,
            SchedulePoints::Timesteps(timesteps) => levels.by_timesteps(timesteps)?,
            SchedulePoints::Sigmas(_) => return Err(unsupported(Self::KIND, "sigmas", "cannot be given explicitly")),
        };
        Ok((all_twice_but_the_first(&single_precision(timesteps)), sigmas))
    }

    fn step_from(sigmas: &[f32], call: usize) -> StepSigmas {
        let next = sigmas[level_of_call(call + 1)];
        StepSigmas {
            start: sigmas[level_of_call(call)],
            second: next,
            end: next,
            noise: 0.0,
        }
    }

    fn finish(first: FirstCall, slope: Tensor<5>, _noise: &mut dyn NoiseSource) -> Tensor<5> {
        let StepSigmas { start, end, .. } = first.sigmas;
        first.sample + (first.slope + slope) * 0.5 * (end - start)
    }

    fn bounded(&self, original: Tensor<5>) -> Tensor<5> {
        match self.clip {
            Some(range) => original.clamp(-range, range),
            None => original,
        }
    }
}
