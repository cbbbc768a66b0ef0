//! Euler's method for flow matching: Esser et al., "Scaling Rectified Flow Transformers for High-Resolution Image
//! Synthesis", <https://arxiv.org/abs/2403.03206>.
//!
//! The model predicts the velocity `noise - original`. Follows diffusers' `scheduling_flow_match_euler_discrete.py`. As
//! there, even steps go between levels that `shift` has moved already and are shifted once more, and the options
//! `base_shift`, `max_shift`, `base_image_seq_len` and `max_image_seq_len` are for a pipeline, which computes `mu`
//! from them.

use burn::tensor::{DType, Tensor};
use serde_json::Value;

use self::table::Config;
use crate::flow_matching::noised;
use crate::progress::Progress;
use crate::scheduler::{NoiseSource, Schedule, Scheduler, StepOutput};
use crate::{SchedulerError, SchedulerKind};

mod table;

const KIND: SchedulerKind = SchedulerKind::FlowMatchEulerDiscrete;

/// `FlowMatchEulerDiscreteScheduler`.
#[derive(Debug)]
pub(crate) struct FlowMatchEulerDiscrete {
    config: Config,
    timesteps: Vec<f64>,
    sigmas: Vec<f32>,
    progress: Progress,
}

impl FlowMatchEulerDiscrete {
    pub(crate) fn from_config(config: &Value) -> Result<Self, SchedulerError> {
        Ok(Self {
            config: Config::read(config)?,
            timesteps: Vec::new(),
            sigmas: Vec::new(),
            progress: Progress::new(KIND),
        })
    }
}

impl Scheduler for FlowMatchEulerDiscrete {
    fn kind(&self) -> SchedulerKind {
        KIND
    }

    fn set_schedule(&mut self, schedule: &Schedule) -> Result<(), SchedulerError> {
        (self.timesteps, self.sigmas) = self.config.table(schedule)?;
        self.progress.restart(self.timesteps.len());
        Ok(())
    }

    fn timesteps(&self) -> &[f64] {
        &self.timesteps
    }

    fn sigmas(&self) -> Vec<f64> {
        self.sigmas.iter().map(|&sigma| f64::from(sigma)).collect()
    }

    fn current_index(&self) -> Result<usize, SchedulerError> {
        self.progress.current()
    }

    fn set_begin_index(&mut self, index: usize) {
        self.progress.begin_at(index);
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
        let prev_sample = if self.config.stochastic_sampling {
            let fresh = noise.normal(sample.dims(), &sample.device()).cast(DType::F32);
            noised(sample - model_output * sigma, fresh, next)
        } else {
            sample + model_output * (next - sigma)
        };
        self.progress.advance();
        Ok(StepOutput {
            prev_sample: prev_sample.cast(dtype),
            pred_original_sample: None,
        })
    }

    /// Diffusers' `scale_noise`.
    fn add_noise(
        &self,
        original: Tensor<5>,
        noise: Tensor<5>,
        timestep_index: usize,
    ) -> Result<Tensor<5>, SchedulerError> {
        let sigma = self.sigmas[self.progress.check(timestep_index)?];
        Ok(noised(original, noise, sigma))
    }
}
