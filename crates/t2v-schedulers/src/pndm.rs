//! PNDM: Liu et al., "Pseudo Numerical Methods for Diffusion Models on Manifolds", <https://arxiv.org/abs/2202.09778>,
//! equations 9, 12 and 13 and Algorithm 2: up to three pseudo Runge-Kutta steps of four model calls, then pseudo linear
//! multistep (PLMS), or PLMS alone, which then repeats its second timestep.
//!
//! Follows diffusers' `scheduling_pndm.py`. With Runge-Kutta that needs at least 4 steps; here `n` steps from 1 to 3 begin
//! with `n - 1` Runge-Kutta steps. Like there, a run that begins at a later timestep goes through the same sequence of
//! formulas from its start, and a step of PLMS is as long as the number of steps says, whatever the spacing.

use std::collections::VecDeque;

use burn::tensor::Tensor;
use serde_json::Value;

use crate::adams_bashforth::{MAX_ORDER, combine};
use crate::betas::BetaOptions;
use crate::config::{ConfigReader, STEPS_OFFSETS};
use crate::level::Level;
use crate::prediction::PredictionType;
use crate::progress::Progress;
use crate::scheduler::{NoiseSource, Schedule, Scheduler, StepOutput};
use crate::spacing::{TIMESTEP_SPACINGS, TimestepSpacing};
use crate::{SchedulerError, SchedulerKind};

const KIND: SchedulerKind = SchedulerKind::Pndm;

/// Model calls of a Runge-Kutta step.
const CALLS: usize = 4;

const PREDICTION_TYPES: &[(&str, PredictionType)] = &[
    ("epsilon", PredictionType::Epsilon),
    ("v_prediction", PredictionType::Velocity),
];

/// `PNDMScheduler`.
#[derive(Debug)]
pub(crate) struct Pndm {
    prediction: PredictionType,
    spacing: TimestepSpacing,
    steps_offset: usize,
    skip_runge_kutta: bool,
    alphas_cumprod: Vec<f32>,
    /// The cumulative product after the last step.
    final_alpha: f32,
    /// The length of a step in training timesteps.
    stride: f64,
    timesteps: Vec<f64>,
    /// How many of the timesteps, from the first on, are those of Runge-Kutta steps.
    runge_kutta: usize,
    /// Model calls since the start of the run.
    calls: usize,
    /// Model outputs at the starts of steps, latest first.
    outputs: VecDeque<Tensor<5>>,
    /// The sum of outputs within a Runge-Kutta step.
    sum: Option<Tensor<5>>,
    /// The sample that a step of several calls started from.
    start: Option<Tensor<5>>,
    progress: Progress,
}

impl Pndm {
    pub(crate) fn from_config(config: &Value) -> Result<Self, SchedulerError> {
        let reader = ConfigReader::new(KIND, config)?;
        let mut betas = BetaOptions::read(&reader)?;
        // Not an option of this scheduler.
        betas.rescale_zero_snr = false;
        let alphas_cumprod = betas.alphas_cumprod();
        let set_alpha_to_one = reader.flag("set_alpha_to_one", false)?;
        Ok(Self {
            prediction: reader.choice("prediction_type", PredictionType::Epsilon, PREDICTION_TYPES)?,
            spacing: reader.choice("timestep_spacing", TimestepSpacing::Leading, TIMESTEP_SPACINGS)?,
            steps_offset: reader.count("steps_offset", 0, STEPS_OFFSETS)?,
            skip_runge_kutta: reader.flag("skip_prk_steps", false)?,
            final_alpha: if set_alpha_to_one { 1.0 } else { alphas_cumprod[0] },
            alphas_cumprod,
            stride: 0.0,
            timesteps: Vec::new(),
            runge_kutta: 0,
            calls: 0,
            outputs: VecDeque::new(),
            sum: None,
            start: None,
            progress: Progress::new(KIND),
        })
    }

    /// Forgets the run so far.
    fn forget(&mut self) {
        self.calls = 0;
        self.outputs.clear();
        (self.sum, self.start) = (None, None);
    }

    /// The calls of the steps from `spaced` timesteps: those of Runge-Kutta and all.
    fn plan(&self, spaced: &[f64]) -> (usize, Vec<f64>) {
        if self.skip_runge_kutta {
            let repeated = spaced.get(1);
            let rest = spaced.get(1..).unwrap_or_default();
            return (0, spaced[..1].iter().chain(repeated).chain(rest).copied().collect());
        }
        let blocks = (spaced.len() - 1).min(MAX_ORDER - 1);
        let middle = (self.stride / 2.0).floor();
        let block = |pair: &[f64]| [pair[0], pair[1] + middle, pair[1] + middle, pair[1]];
        let calls = spaced.windows(2).take(blocks).flat_map(block);
        (blocks * CALLS, calls.chain(spaced[blocks..].iter().copied()).collect())
    }

    /// Equation 9: the transfer of a sample to another timestep, given a model output.
    fn transfer(&self, sample: Tensor<5>, output: Tensor<5>, from: f64, to: f64) -> Result<Tensor<5>, SchedulerError> {
        let alpha = self.alpha(from)?;
        let target = if to < 0.0 { self.final_alpha } else { self.alpha(to)? };
        let output = match self.prediction {
            PredictionType::Velocity => output * alpha.sqrt() + sample.clone() * (1.0 - alpha).sqrt(),
            _ => output,
        };
        let divisor = alpha * (1.0 - target).sqrt() + (alpha * (1.0 - alpha) * target).sqrt();
        Ok(sample * (target / alpha).sqrt() - output * (target - alpha) / divisor)
    }

    fn alpha(&self, timestep: f64) -> Result<f32, SchedulerError> {
        let found = self.alphas_cumprod.get(timestep as usize).filter(|_| timestep >= 0.0);
        found.copied().ok_or_else(|| {
            let last = self.alphas_cumprod.len() - 1;
            let reason = format!("timestep {timestep} is not one of 0 to {last}: fewer steps or a lower steps_offset");
            SchedulerError::Schedule { kind: KIND, reason }
        })
    }

    /// One of the four calls of a Runge-Kutta step.
    fn step_runge_kutta(
        &mut self,
        index: usize,
        output: Tensor<5>,
        sample: Tensor<5>,
    ) -> Result<Tensor<5>, SchedulerError> {
        let place = self.calls % CALLS;
        let middle = (self.stride / 2.0).floor();
        let to = self.timesteps[index] - if place.is_multiple_of(2) { middle } else { 0.0 };
        let from = self.timesteps[self.calls - place];
        let weight = if matches!(place, 1 | 2) { 1.0 / 3.0 } else { 1.0 / 6.0 };
        let share = output.clone() * weight;
        let sum = match self.sum.take() {
            Some(sum) => sum + share,
            None => share,
        };
        let output = if place == CALLS - 1 {
            sum
        } else {
            self.sum = Some(sum);
            output
        };
        if place == 0 {
            self.outputs.push_front(output.clone());
            self.start = Some(sample.clone());
        }
        let start = self.start.clone().unwrap_or(sample);
        self.transfer(start, output, from, to)
    }

    /// A step of PLMS.
    ///
    /// Without Runge-Kutta, the second call is at the timestep that the first one led to, and repeats the first step with
    /// the mean of both outputs.
    fn step_multistep(
        &mut self,
        index: usize,
        output: Tensor<5>,
        sample: Tensor<5>,
    ) -> Result<Tensor<5>, SchedulerError> {
        let timestep = self.timesteps[index];
        let repeats = self.calls == 1;
        if let (true, Some(first), Some(start)) = (repeats, self.outputs.front(), self.start.take()) {
            let output = (output + first.clone()) / 2.0;
            return self.transfer(start, output, timestep + self.stride, timestep);
        }
        self.outputs.truncate(MAX_ORDER - 1);
        self.outputs.push_front(output.clone());
        if self.calls == 0 {
            self.start = Some(sample.clone());
        }
        let output = combine(&self.outputs).unwrap_or(output);
        self.transfer(sample, output, timestep, timestep - self.stride)
    }
}

impl Scheduler for Pndm {
    fn kind(&self) -> SchedulerKind {
        KIND
    }

    fn set_schedule(&mut self, schedule: &Schedule) -> Result<(), SchedulerError> {
        let steps = schedule.only_steps(KIND)?;
        let train = self.alphas_cumprod.len();
        let spaced = self.spacing.timesteps(train, steps, self.steps_offset);
        self.stride = (train / steps) as f64;
        let (runge_kutta, timesteps) = self.plan(&spaced);
        timesteps.iter().try_for_each(|&t| self.alpha(t).map(drop))?;
        (self.runge_kutta, self.timesteps) = (runge_kutta, timesteps);
        self.forget();
        self.progress.restart(self.timesteps.len());
        Ok(())
    }

    fn timesteps(&self) -> &[f64] {
        &self.timesteps
    }

    fn current_index(&self) -> Result<usize, SchedulerError> {
        self.progress.current()
    }

    fn set_begin_index(&mut self, index: usize) {
        self.forget();
        self.progress.begin_at(index);
    }

    fn step(
        &mut self,
        model_output: Tensor<5>,
        sample: Tensor<5>,
        _noise: &mut dyn NoiseSource,
    ) -> Result<StepOutput, SchedulerError> {
        let index = self.progress.current()?;
        let output = model_output.cast(sample.dtype());
        let prev_sample = match self.calls < self.runge_kutta {
            true => self.step_runge_kutta(index, output, sample)?,
            false => self.step_multistep(index, output, sample)?,
        };
        self.calls += 1;
        self.progress.advance();
        Ok(StepOutput {
            prev_sample,
            pred_original_sample: None,
        })
    }

    fn add_noise(
        &self,
        original: Tensor<5>,
        noise: Tensor<5>,
        timestep_index: usize,
    ) -> Result<Tensor<5>, SchedulerError> {
        let alpha = self.alpha(self.timesteps[self.progress.check(timestep_index)?])?;
        Ok(Level::of_product(alpha).add_noise(original, noise))
    }

    fn add_noise_at(
        &self,
        original: Tensor<5>,
        noise: Tensor<5>,
        timestep: usize,
    ) -> Result<Tensor<5>, SchedulerError> {
        Level::of_training(&self.alphas_cumprod, KIND, timestep).map(|level| level.add_noise(original, noise))
    }
}
