//! Timesteps and sigmas of the solvers in the half logarithm of the signal-to-noise ratio: the two DPM-Solvers, UniPC and
//! DEIS.

use crate::config::ConfigReader;
use crate::float32::ln;
use crate::scheduler::unsupported;
use crate::sigmas::{FinalSigma, SigmaShape, Table, flow, interpolate, log_sigmas, lu, sigma_to_t, training_sigmas};
use crate::spacing::{TimestepSpacing, leading, linspace_down, trailing, whole_timesteps};
use crate::{SchedulerError, SchedulerKind};

/// The option `time_shift_type`: what the exponent `mu` does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum TimeShift {
    Exponential,
    Linear,
}

/// The options that the solvers share.
#[derive(Clone, Debug)]
pub(crate) struct SigmaOptions {
    pub(crate) shape: Option<SigmaShape>,
    pub(crate) flow: bool,
    pub(crate) flow_shift: f64,
    pub(crate) dynamic_shifting: bool,
    pub(crate) time_shift: TimeShift,
    /// Only UniPC has these two options in diffusers, but all heed them if a configuration has them.
    min: Option<f64>,
    max: Option<f64>,
}

impl SigmaOptions {
    pub(crate) fn read(reader: &ConfigReader) -> Result<Self, SchedulerError> {
        let shifts = [("exponential", TimeShift::Exponential), ("linear", TimeShift::Linear)];
        Ok(Self {
            shape: SigmaShape::read(reader)?,
            flow: reader.flag("use_flow_sigmas", false)?,
            flow_shift: reader.number("flow_shift", 1.0)?,
            dynamic_shifting: reader.flag("use_dynamic_shifting", false)?,
            time_shift: reader.choice("time_shift_type", TimeShift::Exponential, &shifts)?,
            min: reader.optional_number("sigma_min")?,
            max: reader.optional_number("sigma_max")?,
        })
    }

    /// The factor of the time shift, for a request with or without its logarithm `mu`.
    pub(crate) fn shift(&self, kind: SchedulerKind, mu: Option<f64>) -> Result<f64, SchedulerError> {
        let reason = match mu {
            None => return Ok(self.flow_shift),
            Some(_) if !self.dynamic_shifting => "needs `use_dynamic_shifting`",
            Some(_) if self.time_shift == TimeShift::Linear => "needs `time_shift_type` \"exponential\"",
            Some(mu) => return Ok(mu.exp()),
        };
        Err(unsupported(kind, "mu", reason))
    }
}

/// Timesteps and their sigmas, both descending, without the final sigma.
pub(crate) type Points = (Vec<f64>, Vec<f64>);

/// The noise levels of the training timesteps, and the ways from them to those of a run.
#[derive(Debug)]
pub(crate) struct SolverSigmas {
    pub(crate) options: SigmaOptions,
    training: Vec<f32>,
    log_training: Vec<f32>,
    /// The number of training timesteps that a spacing takes, the rest being cut off.
    unclipped: usize,
}

impl SolverSigmas {
    pub(crate) fn new(options: SigmaOptions, alphas_cumprod: &[f32]) -> Self {
        let training = training_sigmas(alphas_cumprod);
        Self {
            options,
            log_training: log_sigmas(&training),
            unclipped: training.len(),
            training,
        }
    }

    /// Does the same for a configuration with the option `lambda_min_clipped`: the least `ln(alpha / sigma)` of a spacing.
    pub(crate) fn clipped(
        kind: SchedulerKind,
        options: SigmaOptions,
        alphas_cumprod: &[f32],
        lambda_min: f64,
    ) -> Result<Self, SchedulerError> {
        let lambda = |&a: &f32| ln(a.sqrt()) - ln((1.0 - a).sqrt());
        match alphas_cumprod.iter().rposition(|a| lambda(a) >= lambda_min as f32) {
            Some(last) => Ok(Self {
                unclipped: last + 1,
                ..Self::new(options, alphas_cumprod)
            }),
            None => {
                let reason = format!("{lambda_min} leaves no timesteps");
                Err(unsupported(kind, "lambda_min_clipped", reason))
            }
        }
    }

    /// The number of training timesteps.
    pub(crate) fn train(&self) -> usize {
        self.training.len()
    }

    /// The lowest level of training.
    pub(crate) fn sigma_min(&self) -> f64 {
        f64::from(self.training[0])
    }

    /// The sigma that a run ends at, where the shape has no say.
    pub(crate) fn final_sigma(&self, option: FinalSigma) -> f64 {
        option.value(&self.training)
    }

    /// `steps` levels of a shape.
    pub(crate) fn shaped(&self, shape: SigmaShape, steps: usize) -> Vec<f64> {
        let sigma_max = f64::from(self.training[self.training.len() - 1]);
        let (max, min) = (self.options.max, self.options.min);
        shape.sigmas(max.unwrap_or(sigma_max), min.unwrap_or(self.sigma_min()), steps)
    }

    /// `steps` levels of a shape, and their timesteps: Karras' are rounded, others cut.
    pub(crate) fn by_shape(&self, shape: SigmaShape, steps: usize) -> Points {
        self.with_timesteps(self.shaped(shape, steps), shape == SigmaShape::Karras)
    }

    /// `steps` levels with evenly spaced `ln(sigma)`, and their timesteps.
    pub(crate) fn by_lu(&self, steps: usize, rounds: bool) -> Points {
        let (max, min) = (self.log_training[self.log_training.len() - 1], self.log_training[0]);
        self.with_timesteps(lu(f64::from(max), f64::from(min), steps), rounds)
    }

    /// Adds the timesteps of sigmas, rounded or cut.
    pub(crate) fn with_timesteps(&self, sigmas: Vec<f64>, rounds: bool) -> Points {
        let timesteps = sigmas.iter().map(|&sigma| sigma_to_t(sigma, &self.log_training));
        (whole_timesteps(timesteps.collect(), rounds), sigmas)
    }

    /// `steps` levels of a flow model, and their timesteps.
    pub(crate) fn by_flow(&self, shift: f64, steps: usize) -> Points {
        let sigmas = flow(self.train(), shift, steps);
        (self.flow_timesteps(&sigmas), sigmas)
    }

    /// The timesteps of a flow's levels.
    pub(crate) fn flow_timesteps(&self, sigmas: &[f64]) -> Vec<f64> {
        let timesteps = sigmas.iter().map(|sigma| sigma * self.train() as f64);
        whole_timesteps(timesteps.collect(), false)
    }

    /// Refuses a flow's sigmas where there is no signal, and adds the final one.
    pub(crate) fn table(&self, kind: SchedulerKind, points: Points, last: f64) -> Result<Table, SchedulerError> {
        if let Some(sigma) = points.1.iter().find(|&&sigma| self.options.flow && sigma >= 1.0) {
            let reason = format!("needs sigmas below 1, found {sigma}; a shape of sigmas needs such a `sigma_max`");
            return Err(unsupported(kind, "use_flow_sigmas", reason));
        }
        Ok(complete(points, last))
    }

    /// Adds the sigmas of timesteps.
    pub(crate) fn interpolated(&self, timesteps: Vec<f64>) -> Points {
        let sigmas = timesteps.iter().map(|&t| interpolate(t, &self.training)).collect();
        (timesteps, sigmas)
    }

    /// `steps` timesteps, being all but the last of `steps + 1` where the spacing ends at 0, and their sigmas.
    pub(crate) fn by_spacing(&self, spacing: TimestepSpacing, steps: usize, offset: usize) -> Points {
        let points = match spacing {
            TimestepSpacing::Linspace => linspace_down(self.unclipped as f64 - 1.0, steps + 1),
            TimestepSpacing::Leading => leading(steps + 1, self.unclipped / (steps + 1), offset),
            TimestepSpacing::Trailing => return self.interpolated(trailing(self.unclipped, self.train(), steps)),
        };
        self.interpolated(points[..steps].iter().map(|t| t.round_ties_even()).collect())
    }
}

/// Adds the final sigma.
pub(crate) fn complete((timesteps, mut sigmas): Points, last: f64) -> Table {
    sigmas.push(last);
    (timesteps, sigmas.iter().map(|&sigma| sigma as f32).collect())
}
