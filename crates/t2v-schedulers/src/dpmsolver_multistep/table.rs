//! The timesteps and sigmas of a run of the multistep DPM-Solver.

use super::KIND;
use super::config::Config;
use crate::SchedulerError;
use crate::scheduler::{Schedule, SchedulePoints, checked_steps, unsupported};
use crate::sigmas::{SigmaShape, Table};
use crate::solver_sigmas::{Points, SolverSigmas, complete};

/// The table of a request.
pub(super) fn table(config: &Config, training: &SolverSigmas, schedule: &Schedule) -> Result<Table, SchedulerError> {
    let shift = training.options.shift(KIND, schedule.mu)?;
    let points = match &schedule.points {
        SchedulePoints::Steps(steps) => by_steps(config, training, checked_steps(KIND, *steps)?, shift),
        SchedulePoints::Timesteps(timesteps) => {
            checked_steps(KIND, timesteps.len())?;
            refuse_timesteps(config)?;
            training.interpolated(timesteps.iter().map(|t| t.trunc()).collect())
        }
        SchedulePoints::Sigmas(_) => {
            return Err(unsupported(KIND, "sigmas", "cannot be given explicitly"));
        }
    };
    Ok(complete(points, training.final_sigma(config.final_sigma)))
}

fn by_steps(config: &Config, training: &SolverSigmas, steps: usize, shift: f64) -> Points {
    let karras = |shape: &SigmaShape| *shape == SigmaShape::Karras;
    match config.sigmas.shape {
        Some(shape) if karras(&shape) || !config.lu_lambdas => {
            let rounds = karras(&shape) && config.rounds_timesteps();
            training.with_timesteps(training.shaped(shape, steps), rounds)
        }
        _ if config.lu_lambdas => training.by_lu(steps, config.rounds_timesteps()),
        _ if config.sigmas.flow => training.by_flow(shift, steps),
        _ => training.by_spacing(config.spacing, steps, config.steps_offset),
    }
}

/// Explicit timesteps go only with sigmas interpolated at them.
fn refuse_timesteps(config: &Config) -> Result<(), SchedulerError> {
    let option = match config.sigmas.shape {
        Some(shape) => shape.option(),
        None if config.lu_lambdas => "use_lu_lambdas",
        None if config.sigmas.flow => "use_flow_sigmas",
        None => return Ok(()),
    };
    let reason = format!("cannot be given with `{option}`");
    Err(unsupported(KIND, "timesteps", reason))
}
