//! Multistep DPM-Solver: Lu et al., "DPM-Solver", <https://arxiv.org/abs/2206.00927>, and "DPM-Solver++",
//! <https://arxiv.org/abs/2211.01095>, of orders 1 to 3, as ODE and (up to order 2 for the former) as SDE.
//!
//! Follows diffusers' `scheduling_dpmsolver_multistep.py`.

mod config;
mod table;
mod update;

use burn::tensor::{DType, Tensor};
use serde_json::Value;

use self::config::Config;
use self::update::update;
use crate::dpmsolver::Step;
use crate::lambda_sampler::{LambdaSampler, LambdaSolver, Run};
use crate::scheduler::{NoiseSource, Schedule, StepOutput};
use crate::sigmas::{FinalSigma, Table};
use crate::solver_sigmas::SolverSigmas;
use crate::{SchedulerError, SchedulerKind};

const KIND: SchedulerKind = SchedulerKind::DpmSolverMultistep;

/// `DPMSolverMultistepScheduler`.
pub(crate) type DpmSolverMultistep = LambdaSampler<Multistep>;

/// The solver.
#[derive(Debug)]
pub(crate) struct Multistep {
    config: Config,
    training: SolverSigmas,
}

impl DpmSolverMultistep {
    pub(crate) fn from_config(config: &Value) -> Result<Self, SchedulerError> {
        let config = Config::read(config)?;
        let (sigmas, alphas) = (config.sigmas.clone(), config.betas.positive_alphas_cumprod());
        let flow = sigmas.flow;
        let training = SolverSigmas::clipped(KIND, sigmas, &alphas, config.lambda_min_clipped)?;
        Ok(Self::new(Multistep { config, training }, flow))
    }
}

impl Multistep {
    /// The order of the step from an entry of the table.
    fn order_at(&self, run: &Run, index: usize) -> usize {
        let config = &self.config;
        let ends = config.euler_at_final || config.final_sigma == FinalSigma::Zero;
        match index + 1 == run.len() && ends {
            true => 1,
            false => run.order(index, config.lower_order_final && run.is_short()),
        }
    }
}

impl LambdaSolver for Multistep {
    const KIND: SchedulerKind = KIND;

    fn table(&mut self, schedule: &Schedule) -> Result<Table, SchedulerError> {
        table::table(&self.config, &self.training, schedule)
    }

    fn step(
        &mut self,
        run: &mut Run,
        index: usize,
        model_output: Tensor<5>,
        sample: Tensor<5>,
        noise: &mut dyn NoiseSource,
    ) -> Result<StepOutput, SchedulerError> {
        let (dtype, conversion) = (model_output.dtype(), self.config.conversion());
        let sample = sample.cast(DType::F32);
        let (level, sigma) = (run.level(index), run.sigma(index));
        let output = conversion.apply(model_output.cast(DType::F32), sample.clone(), level, sigma);
        let fresh = conversion.algorithm.fresh_noise(&sample, noise);
        run.keep(output.clone(), self.config.order);
        let step = Step {
            algorithm: conversion.algorithm,
            solver: self.config.solver,
            target: run.level(index + 1),
            levels: &run.levels(index, self.order_at(run, index)),
        };
        let prev_sample = update(&step, sample, run.outputs(), fresh).cast(dtype);
        let pred_original_sample = conversion.algorithm.predicts_original().then_some(output);
        Ok(StepOutput {
            prev_sample,
            pred_original_sample,
        })
    }
}
