//! Singlestep DPM-Solver: Lu et al., "DPM-Solver", <https://arxiv.org/abs/2206.00927>, and "DPM-Solver++",
//! <https://arxiv.org/abs/2211.01095>, of orders 1 to 3, as ODE and (the latter) as SDE.
//!
//! Follows diffusers' `scheduling_dpmsolver_singlestep.py`. A step of order 2 or 3 goes from the start of its group of
//! model calls to the next timestep; the samples within the group come from steps of lower order. Two of diffusers'
//! habits differ here: a request does not change the option `lower_order_final` for the requests after it, and
//! thresholding works with `algorithm_type` "dpmsolver", where diffusers fails.

mod config;
mod update;

use std::collections::VecDeque;

use burn::tensor::{DType, Tensor};
use serde_json::Value;

use self::config::Config;
use self::update::Step;
use crate::float32::ln;
use crate::level::Level;
use crate::progress::Progress;
use crate::scheduler::{NoiseSource, Schedule, SchedulePoints, Scheduler, StepOutput};
use crate::scheduler::{checked_steps, unsupported};
use crate::sigmas::FinalSigma;
use crate::solver_sigmas::{Points, SolverSigmas};
use crate::spacing::linspace_down;
use crate::{SchedulerError, SchedulerKind};

const KIND: SchedulerKind = SchedulerKind::DpmSolverSinglestep;

/// `DPMSolverSinglestepScheduler`.
#[derive(Debug)]
pub(crate) struct DpmSolverSinglestep {
    config: Config,
    training: SolverSigmas,
    /// The number of training timesteps, less those that `lambda_min_clipped` cuts off.
    unclipped: usize,
    timesteps: Vec<f64>,
    sigmas: Vec<f32>,
    /// The order of each step.
    orders: Vec<usize>,
    /// Converted model outputs, latest first.
    outputs: VecDeque<Tensor<5>>,
    /// The sample at the start of a group of model calls.
    start: Option<Tensor<5>>,
    progress: Progress,
}

impl DpmSolverSinglestep {
    pub(crate) fn from_config(config: &Value) -> Result<Self, SchedulerError> {
        let (config, sigma_options, alphas) = Config::read(config)?;
        let lambda = |&a: &f32| ln(a.sqrt()) - ln((1.0 - a).sqrt());
        let minimum = config.lambda_min_clipped as f32;
        let unclipped = alphas.iter().rposition(|a| lambda(a) >= minimum).map(|index| index + 1);
        let unclipped = unclipped.ok_or_else(|| {
            let reason = format!("{} leaves no timesteps", config.lambda_min_clipped);
            unsupported(KIND, "lambda_min_clipped", reason)
        })?;
        Ok(Self {
            training: SolverSigmas::new(sigma_options, &alphas),
            config,
            unclipped,
            timesteps: Vec::new(),
            sigmas: Vec::new(),
            orders: Vec::new(),
            outputs: VecDeque::new(),
            start: None,
            progress: Progress::new(KIND),
        })
    }

    /// The points of a request. Flow sigmas take only the number of explicit timesteps.
    fn points(&self, schedule: &Schedule) -> Result<Points, SchedulerError> {
        let options = &self.training.options;
        let shift = options.shift(KIND, schedule.mu)?;
        let (steps, explicit) = match &schedule.points {
            SchedulePoints::Steps(steps) => (*steps, None),
            SchedulePoints::Timesteps(timesteps) => (timesteps.len(), Some(timesteps)),
            SchedulePoints::Sigmas(_) => return Err(unsupported(KIND, "sigmas", "cannot be given explicitly")),
        };
        let steps = checked_steps(KIND, steps)?;
        if let Some(shape) = options.shape {
            if explicit.is_some() {
                let reason = format!("cannot be given with `{}`", shape.option());
                return Err(unsupported(KIND, "timesteps", reason));
            }
            return Ok(self.training.by_shape(shape, steps));
        }
        if options.flow {
            return Ok(self.training.by_flow(shift, steps));
        }
        let timesteps = match explicit {
            Some(timesteps) => timesteps.iter().map(|t| t.trunc()).collect(),
            None => {
                let points = linspace_down(self.unclipped as f64 - 1.0, steps + 1);
                points[..steps].iter().map(|t| t.round_ties_even()).collect()
            }
        };
        Ok(self.training.interpolated(timesteps))
    }

    fn level(&self, index: usize) -> Level {
        Level::of_sigma(self.sigmas[index], self.training.options.flow)
    }
}

impl Scheduler for DpmSolverSinglestep {
    fn kind(&self) -> SchedulerKind {
        KIND
    }

    fn set_schedule(&mut self, schedule: &Schedule) -> Result<(), SchedulerError> {
        let last = match self.config.final_sigma {
            FinalSigma::Zero => 0.0,
            FinalSigma::SigmaMin => self.training.sigma_min(),
        };
        (self.timesteps, self.sigmas) = self.training.table(KIND, self.points(schedule)?, last)?;
        self.orders = self.config.orders(self.timesteps.len());
        self.outputs.clear();
        self.start = None;
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
        self.start = None;
        self.progress.begin_at(index);
    }

    fn step(
        &mut self,
        model_output: Tensor<5>,
        sample: Tensor<5>,
        noise: &mut dyn NoiseSource,
    ) -> Result<StepOutput, SchedulerError> {
        let index = self.progress.current()?;
        let (dtype, conversion) = (model_output.dtype(), self.config.conversion);
        let sample = sample.cast(DType::F32);
        let (level, sigma) = (self.level(index), self.sigmas[index]);
        let output = conversion.apply(model_output.cast(DType::F32), sample.clone(), level, sigma);
        self.outputs.truncate(self.config.order - 1);
        self.outputs.push_front(output.clone());
        let fresh = conversion.algorithm.is_stochastic();
        let fresh = fresh.then(|| noise.normal(sample.dims(), &sample.device()).cast(DType::F32));
        let order = self.orders[index].min(self.outputs.len());
        let start = match self.start.take().filter(|_| order > 1) {
            Some(start) => start,
            None => sample,
        };
        self.start = Some(start.clone());
        let levels: Vec<Level> = (0..order).map(|back| self.level(index - back)).collect();
        let step = Step {
            algorithm: conversion.algorithm,
            solver: self.config.solver,
            target: self.level(index + 1),
            levels: &levels,
        };
        let prev_sample = step.update(start, self.outputs.make_contiguous(), fresh).cast(dtype);
        self.progress.advance();
        let pred_original_sample = conversion.algorithm.predicts_original().then_some(output);
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
