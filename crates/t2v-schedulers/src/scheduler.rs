//! The trait that every scheduler implements, and what goes in and out of it.

use std::fmt;

use burn::tensor::{Device, Tensor};

use crate::config::MAX_TIMESTEPS;
use crate::{SchedulerError, SchedulerKind};

/// A diffusion sampler: it chooses the timesteps, and turns a model's outputs into less and less noisy samples.
///
/// Samples are `[batch, channels, frames, height, width]`. Noise and thresholds are taken over a sample as it is given:
/// a caller that follows a diffusers pipeline which folds the frames into the batch while it steps passes
/// `[batch * frames, channels, 1, height, width]`.
///
/// The scheduler counts the steps itself: calls of [`step`](Self::step) belong to the entries of
/// [`timesteps`](Self::timesteps) in order, from the begin index on.
pub trait Scheduler: Send + fmt::Debug {
    /// Which scheduler this is.
    fn kind(&self) -> SchedulerKind;

    /// Computes the timesteps and forgets all state of an earlier run, the begin index too.
    ///
    /// # Errors
    ///
    /// No steps or more than 100,000, or points or a time shift that the scheduler or its configuration cannot take. The
    /// message says which.
    fn set_schedule(&mut self, schedule: &Schedule) -> Result<(), SchedulerError>;

    /// [`set_schedule`](Self::set_schedule) for a number of steps.
    fn set_timesteps(&mut self, num_inference_steps: usize) -> Result<(), SchedulerError> {
        self.set_schedule(&Schedule::steps(num_inference_steps))
    }

    /// Sets the options of a step, those that diffusers takes as arguments of `step`. They outlive
    /// [`set_schedule`](Self::set_schedule); a scheduler ignores the ones that it does not know.
    fn set_step_options(&mut self, _options: StepOptions) {}

    /// One entry a model call, in diffusers' values, which some schedulers make fractional. Empty before
    /// [`set_schedule`](Self::set_schedule).
    fn timesteps(&self) -> &[f64];

    /// The noise levels of the run, the final one included, for solvers that work on them; others return nothing.
    fn sigmas(&self) -> Vec<f64> {
        Vec::new()
    }

    /// Model calls a step.
    fn order(&self) -> usize {
        1
    }

    /// The standard deviation of the noise to start from; 1 for solvers whose samples keep their variance.
    fn init_noise_sigma(&self) -> f64 {
        1.0
    }

    /// Starts a new run at this entry of [`timesteps`](Self::timesteps) instead of the first, as image-to-video does. All
    /// state of an earlier run is forgotten, so that a run depends on nothing but the configuration, the schedule, the
    /// options of a step and this index.
    fn set_begin_index(&mut self, index: usize);

    /// The entry of [`timesteps`](Self::timesteps) that the next call of the model belongs to.
    ///
    /// # Errors
    ///
    /// There are no timesteps yet, or none is left.
    fn current_index(&self) -> Result<usize, SchedulerError>;

    /// The sample to feed to the model for the current call. A scheduler that adds noise before a call draws it here.
    /// Solvers that keep the variance feed the sample as it is.
    ///
    /// # Errors
    ///
    /// Those of [`current_index`](Self::current_index).
    fn scale_model_input(
        &mut self,
        sample: Tensor<5>,
        _noise: &mut dyn NoiseSource,
    ) -> Result<Tensor<5>, SchedulerError> {
        self.current_index()?;
        Ok(sample)
    }

    /// Turns the model's output for `sample` into the sample of the next timestep, and goes on to that.
    ///
    /// `sample` is the unscaled sample, not the one from [`scale_model_input`](Self::scale_model_input).
    fn step(
        &mut self,
        model_output: Tensor<5>,
        sample: Tensor<5>,
        noise: &mut dyn NoiseSource,
    ) -> Result<StepOutput, SchedulerError>;

    /// `original` with as much of `noise` as there is at an entry of [`timesteps`](Self::timesteps).
    fn add_noise(
        &self,
        original: Tensor<5>,
        noise: Tensor<5>,
        timestep_index: usize,
    ) -> Result<Tensor<5>, SchedulerError>;

    /// `original` with as much of `noise` as there is at a timestep of training, as diffusers' `add_noise` has it: schedulers
    /// that know the noise of every timestep take it from there, those that work on the sigmas of a run from the run.
    ///
    /// # Errors
    ///
    /// A timestep that training does not have, or that the run does not have where it has to.
    fn add_noise_at(
        &self,
        original: Tensor<5>,
        noise: Tensor<5>,
        timestep: usize,
    ) -> Result<Tensor<5>, SchedulerError> {
        match index_of(self.timesteps(), timestep) {
            Some(index) => self.add_noise(original, noise, index),
            None => {
                let reason = format!(
                    "has no timestep {timestep} in this run, whose noise is asked for; `timestep_spacing` \"linspace\" or \"trailing\" begins \
                     with the last one"
                );
                Err(unsupported(self.kind(), "timesteps", reason))
            }
        }
    }
}

/// Where a timestep is in a run; the second place, where there are several, as diffusers' `index_for_timestep`.
pub(crate) fn index_of(timesteps: &[f64], timestep: usize) -> Option<usize> {
    let mut found = (0..timesteps.len()).filter(|&i| timesteps[i] == timestep as f64);
    let first = found.next();
    found.next().or(first)
}

/// What a step returns.
#[derive(Clone, Debug)]
pub struct StepOutput {
    /// The sample of the next timestep.
    pub prev_sample: Tensor<5>,
    /// The step's estimate of the clean sample, where the algorithm has one.
    pub pred_original_sample: Option<Tensor<5>>,
}

/// Where schedulers take their noise from.
pub trait NoiseSource {
    /// Independent standard normal values.
    fn normal(&mut self, shape: [usize; 5], device: &Device) -> Tensor<5>;
}

/// A request for timesteps: a number of steps, or explicit timesteps, or explicit sigmas.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Schedule {
    /// What the timesteps are made from.
    pub points: SchedulePoints,
    /// The exponent of the time shift of flow models, for `use_dynamic_shifting`; it replaces the configured shift by
    /// `e^mu` (by `mu` itself if `time_shift_type` is `linear`).
    pub mu: Option<f64>,
    /// LCM: the number of steps of the grid that the timesteps are picked from, instead of the configuration's. Other
    /// schedulers ignore it.
    pub original_inference_steps: Option<usize>,
    /// LCM: the share of that grid, or of explicit timesteps, to use, from 0 to 1: its part of the least noise. Other
    /// schedulers ignore it; [`Scheduler::set_begin_index`] is the general way.
    pub strength: f64,
}

/// What the timesteps are made from.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum SchedulePoints {
    /// A number of steps, spaced as the configuration says.
    Steps(usize),
    /// These timesteps, descending.
    Timesteps(Vec<f64>),
    /// These noise levels, descending, as diffusers' class takes them: Euler's with the final one, those of UniPC and of the
    /// flow-matching schedulers without it.
    Sigmas(Vec<f64>),
}

impl Schedule {
    /// This many steps, spaced as the configuration says.
    pub fn steps(count: usize) -> Self {
        Self::of(SchedulePoints::Steps(count))
    }

    /// Exactly these timesteps, descending.
    pub fn timesteps(timesteps: impl Into<Vec<f64>>) -> Self {
        Self::of(SchedulePoints::Timesteps(timesteps.into()))
    }

    /// These noise levels, descending, as diffusers' class takes them: Euler's with the final one (usually 0), those of
    /// UniPC and of the flow-matching schedulers without it.
    pub fn sigmas(sigmas: impl Into<Vec<f64>>) -> Self {
        Self::of(SchedulePoints::Sigmas(sigmas.into()))
    }

    fn of(points: SchedulePoints) -> Self {
        Self {
            points,
            mu: None,
            original_inference_steps: None,
            strength: 1.0,
        }
    }

    /// Sets the exponent of the time shift, for a configuration with `use_dynamic_shifting`.
    #[must_use]
    pub fn with_mu(mut self, mu: f64) -> Self {
        self.mu = Some(mu);
        self
    }

    /// Sets the number of steps of the grid that LCM picks timesteps from.
    #[must_use]
    pub fn with_original_inference_steps(mut self, steps: usize) -> Self {
        self.original_inference_steps = Some(steps);
        self
    }

    /// Sets the share of the grid that LCM uses, from 0 to 1.
    #[must_use]
    pub fn with_strength(mut self, strength: f64) -> Self {
        self.strength = strength;
        self
    }
}

impl Schedule {
    /// The number of steps, for schedulers that take nothing else.
    pub(crate) fn only_steps(&self, kind: SchedulerKind) -> Result<usize, SchedulerError> {
        self.no_mu(kind)?;
        match &self.points {
            SchedulePoints::Steps(steps) => checked_steps(kind, *steps),
            SchedulePoints::Timesteps(_) => Err(unsupported(kind, "timesteps", "cannot be given explicitly")),
            SchedulePoints::Sigmas(_) => Err(unsupported(kind, "sigmas", "cannot be given explicitly")),
        }
    }

    /// Refuses `mu`, for schedulers without a time shift.
    pub(crate) fn no_mu(&self, kind: SchedulerKind) -> Result<(), SchedulerError> {
        match self.mu {
            None => Ok(()),
            Some(_) => Err(unsupported(kind, "mu", "needs a scheduler with `use_dynamic_shifting`")),
        }
    }
}

/// Passes on a number of steps that is not 0, and for which there can be a table.
pub(crate) fn checked_steps(kind: SchedulerKind, steps: usize) -> Result<usize, SchedulerError> {
    let reason = match steps {
        0 => "at least one step is needed".to_owned(),
        1..=MAX_TIMESTEPS => return Ok(steps),
        _ => format!("{steps} steps are more than {MAX_TIMESTEPS}, the most there can be"),
    };
    Err(SchedulerError::Schedule { kind, reason })
}

/// An error for something that a scheduler cannot honour.
pub(crate) fn unsupported(kind: SchedulerKind, option: &str, reason: impl Into<String>) -> SchedulerError {
    SchedulerError::Unsupported {
        kind,
        option: option.to_owned(),
        reason: reason.into(),
    }
}

/// What diffusers takes as arguments of `step`. The defaults are diffusers'.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct StepOptions {
    /// DDIM: the share of fresh noise, from 0 (deterministic) to 1 (as DDPM).
    pub eta: f64,
    /// DDIM: derive the noise estimate anew from the clipped estimate of the clean sample.
    pub use_clipped_model_output: bool,
    /// Euler, FlowMatchHeun: how much noise to add before a step, over all steps.
    pub s_churn: f64,
    /// Euler, FlowMatchHeun: the least noise level at which noise is added.
    pub s_tmin: f64,
    /// Euler, FlowMatchHeun: the greatest noise level at which noise is added.
    pub s_tmax: f64,
    /// Euler, FlowMatchHeun: the standard deviation of the added noise.
    pub s_noise: f64,
    /// LMS: the greatest number of derivatives to combine, at least 1.
    pub order: usize,
}

impl Default for StepOptions {
    fn default() -> Self {
        Self {
            eta: 0.0,
            use_clipped_model_output: false,
            s_churn: 0.0,
            s_tmin: 0.0,
            s_tmax: f64::INFINITY,
            s_noise: 1.0,
            order: 4,
        }
    }
}
