//! Multistep DPM-Solver: Lu et al., "DPM-Solver", <https://arxiv.org/abs/2206.00927>, and "DPM-Solver++",
//! <https://arxiv.org/abs/2211.01095>, of orders 1 to 3, as ODE and (up to order 2 for the former) as SDE.
//!
//! Follows diffusers' `scheduling_dpmsolver_multistep.py`.

mod config;
mod table;
mod update;

use std::collections::VecDeque;

use burn::tensor::{DType, Tensor};
use serde_json::Value;

use self::config::Config;
use self::table::Training;
use self::update::Step;
use crate::dpmsolver::Conversion;
use crate::level::Level;
use crate::progress::Progress;
use crate::scheduler::{NoiseSource, Schedule, Scheduler, StepOutput};
use crate::sigmas::FinalSigma;
use crate::{SchedulerError, SchedulerKind};

const KIND: SchedulerKind = SchedulerKind::DpmSolverMultistep;

/// With `lower_order_final`, runs of fewer timesteps than this end in steps of lower order.
const SHORT_RUN: usize = 15;

/// `DPMSolverMultistepScheduler`.
#[derive(Debug)]
pub(crate) struct DpmSolverMultistep {
    config: Config,
    training: Training,
    timesteps: Vec<f64>,
    sigmas: Vec<f32>,
    /// Converted model outputs, latest first.
    outputs: VecDeque<Tensor<5>>,
    progress: Progress,
}

impl DpmSolverMultistep {
    pub(crate) fn from_config(config: &Value) -> Result<Self, SchedulerError> {
        let config = Config::read(config)?;
        Ok(Self {
            training: Training::new(&config)?,
            config,
            timesteps: Vec::new(),
            sigmas: Vec::new(),
            outputs: VecDeque::new(),
            progress: Progress::new(KIND),
        })
    }

    fn level(&self, index: usize) -> Level {
        Level::of_sigma(self.sigmas[index], self.config.flow_sigmas)
    }

    /// The order of a step, for which there are `known` model outputs.
    fn order_at(&self, index: usize, known: usize) -> usize {
        let (config, count) = (&self.config, self.timesteps.len());
        let lowers = config.lower_order_final && count < SHORT_RUN;
        let last = index + 1 == count;
        let order = config.order.min(known);
        if last && (config.euler_at_final || lowers || config.final_sigma == FinalSigma::Zero) {
            return 1;
        }
        if index + 2 == count && lowers {
            order.min(2)
        } else {
            order
        }
    }
}

impl Scheduler for DpmSolverMultistep {
    fn kind(&self) -> SchedulerKind {
        KIND
    }

    fn set_schedule(&mut self, schedule: &Schedule) -> Result<(), SchedulerError> {
        (self.timesteps, self.sigmas) = self.training.table(&self.config, schedule)?;
        self.outputs.clear();
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
        self.outputs.clear();
        self.progress.begin_at(index);
    }

    fn step(
        &mut self,
        model_output: Tensor<5>,
        sample: Tensor<5>,
        noise: &mut dyn NoiseSource,
    ) -> Result<StepOutput, SchedulerError> {
        let index = self.progress.current()?;
        let (dtype, algorithm) = (model_output.dtype(), self.config.algorithm);
        let sample = sample.cast(DType::F32);
        let conversion = Conversion {
            algorithm,
            prediction: self.config.prediction,
            threshold: self.config.threshold,
            learned_variance: self.config.learned_variance,
        };
        let (level, sigma) = (self.level(index), self.sigmas[index]);
        let output = conversion.apply(model_output.cast(DType::F32), sample.clone(), level, sigma);
        let fresh = algorithm.is_stochastic();
        let fresh = fresh.then(|| noise.normal(sample.dims(), &sample.device()).cast(DType::F32));
        self.outputs.truncate(self.config.order - 1);
        self.outputs.push_front(output.clone());
        let order = self.order_at(index, self.outputs.len());
        let levels: Vec<Level> = (0..order).map(|back| self.level(index - back)).collect();
        let step = Step {
            algorithm,
            solver: self.config.solver,
            target: self.level(index + 1),
            levels: &levels,
        };
        let prev_sample = step.update(sample, self.outputs.make_contiguous(), fresh).cast(dtype);
        self.progress.advance();
        let pred_original_sample = algorithm.predicts_original().then_some(output);
        Ok(StepOutput {
            prev_sample,
            pred_original_sample,
        })
    }

    fn add_noise(
        &self,
        original: Tensor<5>,
        noise: Tensor<5>,
        timestep_index: usize,
    ) -> Result<Tensor<5>, SchedulerError> {
        let level = self.level(self.progress.check(timestep_index)?);
        Ok(level.add_noise(original, noise))
    }
}
