//! The midpoint method in the logarithm of sigma with ancestral noise, k-diffusion's `sample_dpm_2_ancestral`; see
//! `kdpm2_discrete` for the method and `ancestral` for the noise.
//!
//! A step has two model calls, one at its start and one at the geometric mean of its start and of the level that it goes
//! down to; noise comes with the second. The last step, to 0, has only the first. A run that begins later than at timestep
//! 0 begins with a step's first call, at an even index. Follows diffusers' `scheduling_k_dpm_2_ancestral_discrete.py`.

use burn::tensor::{DType, Tensor};
use serde_json::Value;

use crate::ancestral::{down_and_up, exact_down};
use crate::float32::log_mean;
use crate::kdpm2_discrete::{midpoint_sampler, midpoint_table};
use crate::noise_levels::NoiseLevels;
use crate::scheduler::{NoiseSource, Schedule};
use crate::sigmas::Table;
use crate::two_calls::{FirstCall, StepSigmas, TwoCallSampler, TwoCallSolver, level_of_call};
use crate::{SchedulerError, SchedulerKind};

/// `KDPM2AncestralDiscreteScheduler`.
pub(crate) type Kdpm2AncestralDiscrete = TwoCallSampler<AncestralMidpoint>;

/// The midpoint method with ancestral noise.
#[derive(Debug)]
pub(crate) struct AncestralMidpoint;

impl Kdpm2AncestralDiscrete {
    pub(crate) fn from_config(config: &Value) -> Result<Self, SchedulerError> {
        midpoint_sampler(AncestralMidpoint, config)
    }
}

impl TwoCallSolver for AncestralMidpoint {
    const KIND: SchedulerKind = SchedulerKind::Kdpm2AncestralDiscrete;

    const LISTED_ONCE: usize = 0;

    fn table(levels: &NoiseLevels, schedule: &Schedule) -> Result<Table, SchedulerError> {
        midpoint_table::<Self>(levels, schedule)
    }

    fn step_from(sigmas: &[f32], call: usize) -> StepSigmas {
        let level = level_of_call(call);
        let (start, next) = (sigmas[level], sigmas[level + 1]);
        let (down, up) = down_and_up(start, next);
        // Where rounding leaves nothing of the level, diffusers takes the logarithm of 0 and goes on with NaN.
        let down = if down > 0.0 { down } else { exact_down(start, next) };
        StepSigmas {
            start,
            second: if next > 0.0 { log_mean(start, down) } else { 0.0 },
            end: down,
            noise: up,
        }
    }

    fn finish(first: FirstCall, slope: Tensor<5>, noise: &mut dyn NoiseSource) -> Tensor<5> {
        let (
            sample,
            StepSigmas {
                start, end, noise: up, ..
            },
        ) = (first.sample, first.sigmas);
        let fresh = noise.normal(sample.dims(), &sample.device()).cast(DType::F32);
        sample + slope * (end - start) + fresh * up
    }
}
