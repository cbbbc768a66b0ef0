//! The options of Euler's method for flow matching, and the timesteps and sigmas of a run.

use serde_json::Value;

use super::KIND;
use crate::SchedulerError;
use crate::config::{ConfigReader, TRAIN_TIMESTEPS};
use crate::flow_matching::{Round, even_levels, shifted, time_shifted, timesteps, to_double, to_single};
use crate::scheduler::{Schedule, SchedulePoints, checked_steps, unsupported};
use crate::sigmas::SigmaShape;

/// The option `time_shift_type`: what `mu` is.
#[derive(Clone, Copy, Debug)]
enum TimeShift {
    /// The logarithm of the factor.
    Exponential,
    /// The factor.
    Linear,
}

/// The options of a `scheduler_config.json`, checked.
#[derive(Debug)]
pub(super) struct Config {
    num_train_timesteps: usize,
    shift: f64,
    dynamic_shifting: bool,
    time_shift: TimeShift,
    shift_terminal: Option<f64>,
    invert_sigmas: bool,
    shape: Option<SigmaShape>,
    /// Not options of this scheduler in diffusers, but it heeds them if another one's configuration has them.
    sigma_min: Option<f64>,
    sigma_max: Option<f64>,
    pub(super) stochastic_sampling: bool,
}

impl Config {
    pub(super) fn read(config: &Value) -> Result<Self, SchedulerError> {
        let reader = ConfigReader::new(KIND, config)?;
        for key in ["base_shift", "max_shift", "base_image_seq_len", "max_image_seq_len"] {
            reader.optional_number(key)?;
        }
        let time_shifts = &[("exponential", TimeShift::Exponential), ("linear", TimeShift::Linear)];
        Ok(Self {
            num_train_timesteps: reader.count("num_train_timesteps", 1000, TRAIN_TIMESTEPS)?,
            shift: reader.number("shift", 1.0)?,
            dynamic_shifting: reader.flag("use_dynamic_shifting", false)?,
            time_shift: reader.choice("time_shift_type", TimeShift::Exponential, time_shifts)?,
            shift_terminal: reader.optional_number("shift_terminal")?.filter(|&end| end != 0.0),
            invert_sigmas: reader.flag("invert_sigmas", false)?,
            shape: SigmaShape::read(&reader)?,
            sigma_min: reader.optional_number("sigma_min")?,
            sigma_max: reader.optional_number("sigma_max")?,
            stochastic_sampling: reader.flag("stochastic_sampling", false)?,
        })
    }

    /// Timesteps, and one more sigma than these.
    pub(super) fn table(&self, schedule: &Schedule) -> Result<(Vec<f64>, Vec<f32>), SchedulerError> {
        let train = self.num_train_timesteps;
        let (sigmas, round, given) = match &schedule.points {
            SchedulePoints::Steps(steps) => {
                let shift = if self.dynamic_shifting { 1.0 } else { self.shift };
                (
                    even_levels(train, shift, checked_steps(KIND, *steps)?),
                    to_double as Round,
                    None,
                )
            }
            SchedulePoints::Timesteps(timesteps) => {
                let timesteps: Vec<f64> = timesteps.iter().copied().map(to_single).collect();
                let sigmas = timesteps.iter().map(|t| to_single(t / train as f64)).collect();
                (sigmas, to_single as Round, Some(timesteps))
            }
            SchedulePoints::Sigmas(sigmas) => {
                let sigmas = sigmas.iter().copied().map(to_single).collect();
                (sigmas, to_single as Round, None)
            }
        };
        checked_steps(KIND, sigmas.len())?;
        let sigmas = self.stretched(self.shifted(sigmas, schedule.mu, round)?, round);
        let mut sigmas: Vec<f32> = self.shaped(sigmas).iter().map(|&sigma| sigma as f32).collect();
        if let Some(sigma) = sigmas.iter().find(|sigma| !sigma.is_finite()) {
            let reason = format!("the schedule has the noise level {sigma}, expected levels above 0 and up to 1");
            return Err(SchedulerError::Schedule { kind: KIND, reason });
        }
        if self.invert_sigmas {
            sigmas.iter_mut().for_each(|sigma| *sigma = 1.0 - *sigma);
        }
        let given = given.filter(|_| !self.invert_sigmas);
        let timesteps = given.unwrap_or_else(|| timesteps(&sigmas, train));
        sigmas.push(if self.invert_sigmas { 1.0 } else { 0.0 });
        Ok((timesteps, sigmas))
    }

    fn shifted(&self, sigmas: Vec<f64>, mu: Option<f64>, round: Round) -> Result<Vec<f64>, SchedulerError> {
        let sigmas = sigmas.into_iter();
        if !self.dynamic_shifting {
            return Ok(sigmas.map(|sigma| shifted(sigma, self.shift, round)).collect());
        }
        let Some(mu) = mu else {
            return Err(unsupported(KIND, "mu", "must be given with `use_dynamic_shifting`"));
        };
        let factor = match self.time_shift {
            TimeShift::Exponential => mu.exp(),
            TimeShift::Linear => mu,
        };
        Ok(sigmas.map(|sigma| time_shifted(sigma, factor, round)).collect())
    }

    /// Stretches the schedule so that its last level is `shift_terminal`. A schedule that ends at 1, as that of one step
    /// does, cannot be stretched (diffusers divides by 0) and is left as it is.
    fn stretched(&self, sigmas: Vec<f64>, round: Round) -> Vec<f64> {
        let last = sigmas.last().map_or(0.0, |&last| round(1.0 - last));
        match self.shift_terminal {
            Some(end) if last != 0.0 => {
                let scale = round(last / round(1.0 - end));
                let stretched = |&sigma: &f64| round(1.0 - round(round(1.0 - sigma) / scale));
                sigmas.iter().map(stretched).collect()
            }
            _ => sigmas,
        }
    }

    fn shaped(&self, sigmas: Vec<f64>) -> Vec<f64> {
        let Some(shape) = self.shape else {
            return sigmas;
        };
        let max = self.sigma_max.unwrap_or(sigmas[0]);
        let min = self.sigma_min.unwrap_or(sigmas[sigmas.len() - 1]);
        shape.sigmas(max, min, sigmas.len())
    }
}
