//! What Heun's method and the two midpoint methods share: levels, the calls of a run, and the slope at each of them.

use std::fmt;

use burn::tensor::{DType, Tensor};

use super::{level_of_call, sigmas_of_calls};
use crate::noise_levels::{NoiseLevels, scaled, with_noise};
use crate::prediction::PredictionType;
use crate::progress::Progress;
use crate::scheduler::{NoiseSource, Schedule, Scheduler, StepOutput};
use crate::sigmas::Table;
use crate::{SchedulerError, SchedulerKind};

/// A method for the probability-flow ODE in sigma with two model calls a step, of which the first leads to the second by
/// Euler's method.
pub(crate) trait TwoCallSolver: fmt::Debug + Send {
    const KIND: SchedulerKind;

    /// How many of the last sigmas diffusers does not list twice; see [`sigmas_of_calls`].
    const LISTED_ONCE: usize;

    /// One timestep for each call, and the levels.
    fn table(levels: &NoiseLevels, schedule: &Schedule) -> Result<Table, SchedulerError>;

    /// The sigmas of the step that a call is the first of.
    fn step_from(sigmas: &[f32], call: usize) -> StepSigmas;

    /// The sample at the end of a step, given the slope at its second call.
    fn finish(first: FirstCall, slope: Tensor<5>, noise: &mut dyn NoiseSource) -> Tensor<5>;

    /// The estimate of the clean sample within bounds, if there are any.
    fn bounded(&self, original: Tensor<5>) -> Tensor<5> {
        original
    }
}

/// The sigmas of a step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StepSigmas {
    /// That of its start and first call.
    pub(crate) start: f32,
    /// That of its second call.
    pub(crate) second: f32,
    /// Where its deterministic part ends.
    pub(crate) end: f32,
    /// The standard deviation of the noise that brings it from there to the next level.
    pub(crate) noise: f32,
}

/// What a step's first call leaves for the second.
#[derive(Debug)]
pub(crate) struct FirstCall {
    pub(crate) sigmas: StepSigmas,
    pub(crate) sample: Tensor<5>,
    pub(crate) slope: Tensor<5>,
}

/// A scheduler from such a method.
#[derive(Debug)]
pub(crate) struct TwoCallSampler<S> {
    solver: S,
    prediction: PredictionType,
    levels: NoiseLevels,
    timesteps: Vec<f64>,
    sigmas: Vec<f32>,
    first: Option<FirstCall>,
    progress: Progress,
}

impl<S: TwoCallSolver> TwoCallSampler<S> {
    pub(crate) fn new(solver: S, prediction: PredictionType, levels: NoiseLevels) -> Self {
        Self {
            solver,
            prediction,
            sigmas: levels.training().to_vec(),
            levels,
            timesteps: Vec::new(),
            first: None,
            progress: Progress::new(S::KIND),
        }
    }

    /// The sigma of the current call.
    fn current_sigma(&self) -> Result<f32, SchedulerError> {
        let call = self.progress.current()?;
        Ok(match &self.first {
            None => self.sigmas[level_of_call(call)],
            Some(first) => first.sigmas.second,
        })
    }
}

impl<S: TwoCallSolver> Scheduler for TwoCallSampler<S> {
    fn kind(&self) -> SchedulerKind {
        S::KIND
    }

    fn set_schedule(&mut self, schedule: &Schedule) -> Result<(), SchedulerError> {
        (self.timesteps, self.sigmas) = S::table(&self.levels, schedule)?;
        self.first = None;
        self.progress.restart(self.timesteps.len());
        Ok(())
    }

    fn timesteps(&self) -> &[f64] {
        &self.timesteps
    }

    fn order(&self) -> usize {
        2
    }

    fn sigmas(&self) -> Vec<f64> {
        sigmas_of_calls(&self.sigmas, S::LISTED_ONCE)
    }

    fn init_noise_sigma(&self) -> f64 {
        self.levels.init_noise_sigma(&self.sigmas)
    }

    fn current_index(&self) -> Result<usize, SchedulerError> {
        self.progress.current()
    }

    fn set_begin_index(&mut self, index: usize) {
        self.first = None;
        self.progress.begin_at(index);
    }

    fn scale_model_input(
        &mut self,
        sample: Tensor<5>,
        _noise: &mut dyn NoiseSource,
    ) -> Result<Tensor<5>, SchedulerError> {
        Ok(scaled(sample, self.current_sigma()?))
    }

    fn step(
        &mut self,
        model_output: Tensor<5>,
        sample: Tensor<5>,
        noise: &mut dyn NoiseSource,
    ) -> Result<StepOutput, SchedulerError> {
        let sigma = self.current_sigma()?;
        let dtype = model_output.dtype();
        let (model_output, sample) = (model_output.cast(DType::F32), sample.cast(DType::F32));
        let original = self
            .prediction
            .original_of_unscaled(model_output, sample.clone(), sigma, sigma);
        let original = self.solver.bounded(original);
        let slope = (sample.clone() - original.clone()) / sigma;
        let prev_sample = match self.first.take() {
            None => {
                let sigmas = S::step_from(&self.sigmas, self.progress.current()?);
                let second = sample.clone() + slope.clone() * (sigmas.second - sigma);
                self.first = Some(FirstCall { sigmas, sample, slope });
                second
            }
            Some(first) => S::finish(first, slope, noise),
        };
        self.progress.advance();
        Ok(StepOutput {
            prev_sample: prev_sample.cast(dtype),
            pred_original_sample: Some(original),
        })
    }

    fn add_noise(
        &self,
        original: Tensor<5>,
        noise: Tensor<5>,
        timestep_index: usize,
    ) -> Result<Tensor<5>, SchedulerError> {
        let sigma = self.sigmas[level_of_call(self.progress.check(timestep_index)?)];
        Ok(with_noise(original, noise, sigma))
    }
}
