//! The timesteps and sigmas of a run of the multistep DPM-Solver.

use super::KIND;
use super::config::Config;
use crate::SchedulerError;
use crate::float32::ln;
use crate::scheduler::{Schedule, SchedulePoints, checked_steps, unsupported};
use crate::sigmas::{SigmaShape, flow, interpolate, log_sigmas, lu, sigma_to_t, training_sigmas};
use crate::spacing::{TimestepSpacing, leading, linspace_down, trailing, whole_timesteps};

/// Timesteps, and one more sigma than these.
pub(super) type Table = (Vec<f64>, Vec<f32>);

/// What the training schedule gives.
#[derive(Debug)]
pub(super) struct Training {
    sigmas: Vec<f32>,
    log_sigmas: Vec<f32>,
    /// The number of training timesteps, less those that `lambda_min_clipped` cuts off.
    last: usize,
}

impl Training {
    pub(super) fn new(config: &Config) -> Result<Self, SchedulerError> {
        let alphas = config.betas.positive_alphas_cumprod();
        let minimum = config.lambda_min_clipped as f32;
        let lambda = |&a: &f32| ln(a.sqrt()) - ln((1.0 - a).sqrt());
        let last = alphas
            .iter()
            .rposition(|a| lambda(a) >= minimum)
            .map_or(0, |index| index + 1);
        if last == 0 {
            let reason = format!("{} leaves no timesteps", config.lambda_min_clipped);
            return Err(unsupported(KIND, "lambda_min_clipped", reason));
        }
        let sigmas = training_sigmas(&alphas);
        Ok(Self {
            log_sigmas: log_sigmas(&sigmas),
            sigmas,
            last,
        })
    }

    /// The table of a request.
    pub(super) fn table(&self, config: &Config, schedule: &Schedule) -> Result<Table, SchedulerError> {
        let shift = shift(config, schedule)?;
        let (timesteps, mut sigmas) = match &schedule.points {
            SchedulePoints::Steps(steps) => self.by_steps(config, checked_steps(KIND, *steps)?, shift),
            SchedulePoints::Timesteps(timesteps) => {
                checked_steps(KIND, timesteps.len())?;
                refuse_timesteps(config)?;
                self.interpolated(timesteps.clone())
            }
            SchedulePoints::Sigmas(_) => {
                return Err(unsupported(KIND, "sigmas", "cannot be given explicitly"));
            }
        };
        sigmas.push(config.final_sigma.value(&self.sigmas));
        Ok((timesteps, sigmas.iter().map(|&sigma| sigma as f32).collect()))
    }

    fn by_steps(&self, config: &Config, steps: usize, shift: f64) -> (Vec<f64>, Vec<f64>) {
        let last = self.sigmas.len() - 1;
        let max = config.sigma_max.unwrap_or(f64::from(self.sigmas[last]));
        let min = config.sigma_min.unwrap_or(f64::from(self.sigmas[0]));
        if let Some(shape) = config
            .shape
            .filter(|&shape| shape == SigmaShape::Karras || !config.lu_lambdas)
        {
            let rounds = shape == SigmaShape::Karras && config.rounds_timesteps();
            return self.with_timesteps(shape.sigmas(max, min, steps), rounds);
        }
        if config.lu_lambdas {
            let (max, min) = (f64::from(self.log_sigmas[last]), f64::from(self.log_sigmas[0]));
            return self.with_timesteps(lu(max, min, steps), config.rounds_timesteps());
        }
        if config.flow_sigmas {
            let train = self.sigmas.len();
            let sigmas = flow(train, shift, steps);
            let timesteps = sigmas.iter().map(|sigma| sigma * train as f64).collect();
            return (whole_timesteps(timesteps, false), sigmas);
        }
        self.interpolated(self.spaced(config, steps))
    }

    fn spaced(&self, config: &Config, steps: usize) -> Vec<f64> {
        let points = match config.spacing {
            TimestepSpacing::Linspace => linspace_down(self.last as f64 - 1.0, steps + 1),
            TimestepSpacing::Leading => leading(steps + 1, self.last / (steps + 1), config.steps_offset),
            TimestepSpacing::Trailing => return trailing(self.last, self.sigmas.len(), steps),
        };
        points[..steps].iter().map(|t| t.round_ties_even()).collect()
    }

    /// Adds the sigmas of timesteps.
    fn interpolated(&self, timesteps: Vec<f64>) -> (Vec<f64>, Vec<f64>) {
        let timesteps: Vec<f64> = timesteps.iter().map(|t| t.trunc()).collect();
        let sigmas = timesteps.iter().map(|&t| interpolate(t, &self.sigmas)).collect();
        (timesteps, sigmas)
    }

    /// Adds the timesteps of sigmas.
    fn with_timesteps(&self, sigmas: Vec<f64>, rounds: bool) -> (Vec<f64>, Vec<f64>) {
        let timesteps = sigmas.iter().map(|&sigma| sigma_to_t(sigma, &self.log_sigmas));
        (whole_timesteps(timesteps.collect(), rounds), sigmas)
    }
}

/// The time shift of flow sigmas for a request.
fn shift(config: &Config, schedule: &Schedule) -> Result<f64, SchedulerError> {
    match schedule.mu {
        None => Ok(config.flow_shift),
        Some(mu) if config.dynamic_shifting => Ok(mu.exp()),
        Some(_) => Err(unsupported(KIND, "mu", "needs `use_dynamic_shifting`")),
    }
}

/// Explicit timesteps go only with sigmas interpolated at them.
fn refuse_timesteps(config: &Config) -> Result<(), SchedulerError> {
    let option = match config.shape {
        Some(shape) => shape.option(),
        None if config.lu_lambdas => "use_lu_lambdas",
        None if config.flow_sigmas => "use_flow_sigmas",
        None => return Ok(()),
    };
    Err(unsupported(
        KIND,
        "timesteps",
        format!("cannot be given with `{option}`"),
    ))
}
