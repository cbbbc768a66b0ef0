//! Singlestep DPM-Solver: Lu et al., "DPM-Solver", <https://arxiv.org/abs/2206.00927>, and "DPM-Solver++",
//! <https://arxiv.org/abs/2211.01095>, of orders 1 to 3, as ODE and (the latter) as SDE.
//!
//! Follows diffusers' `scheduling_dpmsolver_singlestep.py`. A step of order 2 or 3 goes from the start of its group of
//! model calls to the next timestep; the samples within the group come from steps of lower order. Two of diffusers'
//! habits differ here: a request does not change the option `lower_order_final` for the requests after it, and
//! thresholding works with `algorithm_type` "dpmsolver", where diffusers fails.

mod config;
mod update;

use burn::tensor::{DType, Tensor};
use serde_json::Value;

use self::config::Config;
use self::update::update;
use crate::dpmsolver::Step;
use crate::lambda_sampler::{LambdaSampler, LambdaSolver, Run};
use crate::scheduler::{NoiseSource, Schedule, SchedulePoints, StepOutput, checked_steps, unsupported};
use crate::sigmas::Table;
use crate::solver_sigmas::{Points, SolverSigmas};
use crate::spacing::TimestepSpacing;
use crate::{SchedulerError, SchedulerKind};

const KIND: SchedulerKind = SchedulerKind::DpmSolverSinglestep;

/// `DPMSolverSinglestepScheduler`.
pub(crate) type DpmSolverSinglestep = LambdaSampler<Singlestep>;

/// The solver.
#[derive(Debug)]
pub(crate) struct Singlestep {
    config: Config,
    training: SolverSigmas,
    /// The sample at the start of a group of model calls.
    start: Option<Tensor<5>>,
}

impl DpmSolverSinglestep {
    pub(crate) fn from_config(config: &Value) -> Result<Self, SchedulerError> {
        let (config, sigmas, alphas) = Config::read(config)?;
        let flow = sigmas.flow;
        let solver = Singlestep {
            training: SolverSigmas::clipped(KIND, sigmas, &alphas, config.lambda_min_clipped)?,
            config,
            start: None,
        };
        Ok(Self::new(solver, flow))
    }
}

impl Singlestep {
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
        Ok(match explicit {
            Some(timesteps) => self
                .training
                .interpolated(timesteps.iter().map(|t| t.trunc()).collect()),
            None => self.training.by_spacing(TimestepSpacing::Linspace, steps, 0),
        })
    }
}

impl LambdaSolver for Singlestep {
    const KIND: SchedulerKind = KIND;

    fn table(&mut self, schedule: &Schedule) -> Result<Table, SchedulerError> {
        let last = self.training.final_sigma(self.config.final_sigma);
        self.training.table(KIND, self.points(schedule)?, last)
    }

    fn step(
        &mut self,
        run: &mut Run,
        index: usize,
        model_output: Tensor<5>,
        sample: Tensor<5>,
        noise: &mut dyn NoiseSource,
    ) -> Result<StepOutput, SchedulerError> {
        let (dtype, conversion) = (model_output.dtype(), self.config.conversion);
        let sample = sample.cast(DType::F32);
        let (level, sigma) = (run.level(index), run.sigma(index));
        let output = conversion.apply(model_output.cast(DType::F32), sample.clone(), level, sigma);
        run.keep(output.clone(), self.config.order);
        let fresh = conversion.algorithm.fresh_noise(&sample, noise);
        let order = self.config.order_at(index, run.len()).min(run.outputs().len());
        let start = match self.start.take().filter(|_| order > 1) {
            Some(start) => start,
            None => sample,
        };
        self.start = Some(start.clone());
        let step = Step {
            algorithm: conversion.algorithm,
            solver: self.config.solver,
            target: run.level(index + 1),
            levels: &run.levels(index, order),
        };
        let prev_sample = update(&step, start, run.outputs(), fresh).cast(dtype);
        let pred_original_sample = conversion.algorithm.predicts_original().then_some(output);
        Ok(StepOutput {
            prev_sample,
            pred_original_sample,
        })
    }

    fn begin_at(&mut self, _index: usize) {
        self.start = None;
    }
}
