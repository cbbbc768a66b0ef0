//! The midpoint method in the logarithm of sigma, k-diffusion's `sample_dpm_2`: the second-order sampler inspired by
//! DPM-Solver-2 (Lu et al., <https://arxiv.org/abs/2206.00927>) and Algorithm 2 of Karras et al.,
//! <https://arxiv.org/abs/2206.00364>.
//!
//! A step has two model calls, one at its start and one at the geometric mean of its two sigmas; the last step, to 0, has
//! only the first. A run that begins later than at timestep 0 begins with a step's first call, at an even index. Follows
//! diffusers' `scheduling_k_dpm_2_discrete.py`.

use burn::tensor::Tensor;
use serde_json::Value;

use crate::betas::{BETA_SCHEDULES, BetaOptions};
use crate::config::ConfigReader;
use crate::float32::log_mean;
use crate::noise_levels::NoiseLevels;
use crate::prediction::{NOISE_OR_VELOCITY, PredictionType};
use crate::scheduler::{NoiseSource, Schedule};
use crate::sigmas::Table;
use crate::spacing::whole_timesteps;
use crate::two_calls::{FirstCall, StepSigmas, TwoCallSampler, TwoCallSolver, interleaved, level_of_call};
use crate::{SchedulerError, SchedulerKind};

/// `KDPM2DiscreteScheduler`.
pub(crate) type Kdpm2Discrete = TwoCallSampler<Midpoint>;

/// The midpoint method.
#[derive(Debug)]
pub(crate) struct Midpoint;

impl Kdpm2Discrete {
    pub(crate) fn from_config(config: &Value) -> Result<Self, SchedulerError> {
        midpoint_sampler(Midpoint, config)
    }
}

/// The scheduler of a midpoint method.
pub(crate) fn midpoint_sampler<S: TwoCallSolver>(
    solver: S,
    config: &Value,
) -> Result<TwoCallSampler<S>, SchedulerError> {
    let reader = ConfigReader::new(S::KIND, config)?;
    let alphas = BetaOptions::read_plain(&reader, 0.00085, 0.012, BETA_SCHEDULES)?.alphas_cumprod();
    let levels = NoiseLevels::read(S::KIND, &reader, &alphas)?;
    let prediction = reader.choice("prediction_type", PredictionType::Epsilon, NOISE_OR_VELOCITY)?;
    Ok(TwoCallSampler::new(solver, prediction, levels))
}

/// The table of a midpoint method, of which the second calls lie between two levels.
pub(crate) fn midpoint_table<S: TwoCallSolver>(
    levels: &NoiseLevels,
    schedule: &Schedule,
) -> Result<Table, SchedulerError> {
    let (mut starts, sigmas) = levels.by_steps(schedule.only_steps(S::KIND)?)?;
    if levels.is_karras() {
        starts = whole_timesteps(starts, true);
    }
    let middles = (0..starts.len() - 1).map(|step| S::step_from(&sigmas, 2 * step).second);
    let timesteps = interleaved(&starts, middles.map(|sigma| levels.timestep_between(sigma)));
    Ok((timesteps, sigmas))
}

impl TwoCallSolver for Midpoint {
    const KIND: SchedulerKind = SchedulerKind::Kdpm2Discrete;

    const LISTED_ONCE: usize = 0;

    fn table(levels: &NoiseLevels, schedule: &Schedule) -> Result<Table, SchedulerError> {
        midpoint_table::<Self>(levels, schedule)
    }

    fn step_from(sigmas: &[f32], call: usize) -> StepSigmas {
        let next = level_of_call(call + 1);
        StepSigmas {
            start: sigmas[level_of_call(call)],
            second: log_mean(sigmas[next], sigmas[next - 1]),
            end: sigmas[next],
            noise: 0.0,
        }
    }

    fn finish(first: FirstCall, slope: Tensor<5>, _noise: &mut dyn NoiseSource) -> Tensor<5> {
        first.sample + slope * (first.sigmas.end - first.sigmas.start)
    }
}
