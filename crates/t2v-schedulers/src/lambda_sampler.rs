//! What the solvers in `lambda`, the half logarithm of the signal-to-noise ratio, share (DPM-Solver, DEIS and UniPC): the
//! table of a run and its latest model outputs.

use std::fmt;

use burn::tensor::Tensor;

use crate::level::Level;
use crate::progress::Progress;
use crate::scheduler::{NoiseSource, Schedule, Scheduler, StepOptions, StepOutput, index_of};
use crate::sigmas::Table;
use crate::{SchedulerError, SchedulerKind};

/// Runs of fewer timesteps than this are short: most solvers lower the order at the end of such ones only.
const SHORT_RUN: usize = 15;

/// Such a solver: its tables and its steps.
pub(crate) trait LambdaSolver: fmt::Debug + Send {
    const KIND: SchedulerKind;

    /// The table of a request.
    fn table(&mut self, schedule: &Schedule) -> Result<Table, SchedulerError>;

    /// The step from an entry of the table.
    fn step(
        &mut self,
        run: &mut Run,
        index: usize,
        model_output: Tensor<5>,
        sample: Tensor<5>,
        noise: &mut dyn NoiseSource,
    ) -> Result<StepOutput, SchedulerError>;

    /// Forgets what the solver itself keeps of a run, of which the next begins at an entry of the table.
    fn begin_at(&mut self, _index: usize) {}

    /// Sets the options of a step.
    fn set_step_options(&mut self, _options: StepOptions) {}
}

/// The table of a run, and its latest outputs.
#[derive(Debug)]
pub(crate) struct Run {
    /// Sigmas are a flow's times.
    flow: bool,
    timesteps: Vec<f64>,
    sigmas: Vec<f32>,
    /// Converted model outputs, latest first.
    outputs: Vec<Tensor<5>>,
}

impl Run {
    /// The number of timesteps.
    pub(crate) fn len(&self) -> usize {
        self.timesteps.len()
    }

    /// Whether there are few timesteps.
    pub(crate) fn is_short(&self) -> bool {
        self.len() < SHORT_RUN
    }

    /// The sigma of an entry, as it is in the table.
    pub(crate) fn sigma(&self, index: usize) -> f32 {
        self.sigmas[index]
    }

    /// The level of an entry.
    pub(crate) fn level(&self, index: usize) -> Level {
        Level::of_sigma(self.sigmas[index], self.flow)
    }

    /// The levels of an entry and of those before, `count` in all, latest first.
    pub(crate) fn levels(&self, index: usize, count: usize) -> Vec<Level> {
        (0..count).map(|back| self.level(index - back)).collect()
    }

    /// The converted model outputs that are kept, latest first.
    pub(crate) fn outputs(&self) -> &[Tensor<5>] {
        &self.outputs
    }

    /// Keeps a converted model output, and of those before as many as make `most` with it.
    pub(crate) fn keep(&mut self, output: Tensor<5>, most: usize) {
        self.outputs.truncate(most - 1);
        self.outputs.insert(0, output);
    }

    /// The order that the outputs allow; if `lowers`, one that the steps from an entry to the end allow too.
    pub(crate) fn order(&self, index: usize, lowers: bool) -> usize {
        let known = self.outputs.len();
        match lowers {
            true => known.min(self.len() - index),
            false => known,
        }
    }
}

/// A scheduler from such a solver.
#[derive(Debug)]
pub(crate) struct LambdaSampler<S> {
    solver: S,
    run: Run,
    progress: Progress,
}

impl<S: LambdaSolver> LambdaSampler<S> {
    pub(crate) fn new(solver: S, flow: bool) -> Self {
        Self {
            solver,
            run: Run {
                flow,
                timesteps: Vec::new(),
                sigmas: Vec::new(),
                outputs: Vec::new(),
            },
            progress: Progress::new(S::KIND),
        }
    }
}

impl<S: LambdaSolver> Scheduler for LambdaSampler<S> {
    fn kind(&self) -> SchedulerKind {
        S::KIND
    }

    fn set_schedule(&mut self, schedule: &Schedule) -> Result<(), SchedulerError> {
        (self.run.timesteps, self.run.sigmas) = self.solver.table(schedule)?;
        self.progress.restart(self.run.len());
        self.set_begin_index(0);
        Ok(())
    }

    fn set_step_options(&mut self, options: StepOptions) {
        self.solver.set_step_options(options);
    }

    fn timesteps(&self) -> &[f64] {
        &self.run.timesteps
    }

    fn sigmas(&self) -> Vec<f64> {
        self.run.sigmas.iter().map(|&sigma| f64::from(sigma)).collect()
    }

    fn current_index(&self) -> Result<usize, SchedulerError> {
        self.progress.current()
    }

    fn set_begin_index(&mut self, index: usize) {
        self.run.outputs.clear();
        self.solver.begin_at(index);
        self.progress.begin_at(index);
    }

    fn step(
        &mut self,
        model_output: Tensor<5>,
        sample: Tensor<5>,
        noise: &mut dyn NoiseSource,
    ) -> Result<StepOutput, SchedulerError> {
        let index = self.progress.current()?;
        let output = self.solver.step(&mut self.run, index, model_output, sample, noise)?;
        self.progress.advance();
        Ok(output)
    }

    fn add_noise(
        &self,
        original: Tensor<5>,
        noise: Tensor<5>,
        timestep_index: usize,
    ) -> Result<Tensor<5>, SchedulerError> {
        let level = self.run.level(self.progress.check(timestep_index)?);
        Ok(level.add_noise(original, noise))
    }

    /// A timestep that the run does not have counts as its last one, as upstream.
    fn add_noise_at(
        &self,
        original: Tensor<5>,
        noise: Tensor<5>,
        timestep: usize,
    ) -> Result<Tensor<5>, SchedulerError> {
        let last = self.run.len().saturating_sub(1);
        let index = index_of(&self.run.timesteps, timestep).unwrap_or(last);
        self.add_noise(original, noise, index)
    }
}
