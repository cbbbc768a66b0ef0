//! UniPC: Zhao et al., "UniPC: A Unified Predictor-Corrector Framework for Fast Sampling of Diffusion Models",
//! <https://arxiv.org/abs/2302.04867>, multistep, of any order.
//!
//! Follows diffusers' `scheduling_unipc_multistep.py`. Each model output first corrects the sample that it was computed
//! for and then predicts the next, so that a step costs one call. Where diffusers' formula has no finite value, in a step
//! to a sigma of 0 by `bh1`, in noise prediction or by an order above 1, the step goes to its limit, the estimate of the
//! clean sample; a step between equal sigmas leaves the sample as it is. The predictor `solver_p`, a scheduler object in
//! diffusers, is that scheduler's configuration here.

mod config;
mod update;

use std::collections::VecDeque;

use burn::tensor::{DType, Tensor};
use serde_json::Value;

use self::config::Config;
use self::update::{BhUpdate, BhVariant};
use crate::level::Level;
use crate::progress::Progress;
use crate::scheduler::{NoiseSource, Schedule, Scheduler, StepOptions, StepOutput};
use crate::{SchedulerError, SchedulerKind};

const KIND: SchedulerKind = SchedulerKind::UniPcMultistep;

/// `UniPCMultistepScheduler`.
#[derive(Debug)]
pub(crate) struct UniPcMultistep {
    config: Config,
    timesteps: Vec<f64>,
    sigmas: Vec<f32>,
    /// Converted model outputs, latest first.
    outputs: VecDeque<Tensor<5>>,
    /// The corrected sample of the step before and the order of its prediction.
    last: Option<(Tensor<5>, usize)>,
    progress: Progress,
}

impl UniPcMultistep {
    pub(crate) fn from_config(config: &Value) -> Result<Self, SchedulerError> {
        Ok(Self {
            config: Config::read(config)?,
            timesteps: Vec::new(),
            sigmas: Vec::new(),
            outputs: VecDeque::new(),
            last: None,
            progress: Progress::new(KIND),
        })
    }

    fn level(&self, index: usize) -> Level {
        Level::of_sigma(self.sigmas[index], self.config.training.options.flow)
    }

    /// The update to an entry of the table from the `order` entries before.
    fn update_to(&self, index: usize, order: usize) -> BhUpdate {
        BhUpdate {
            variant: self.config.variant,
            predicts_original: self.config.predict_x0,
            target: self.level(index),
            levels: (1..=order).map(|back| self.level(index - back)).collect(),
        }
    }

    /// The order of a prediction, for which there are `known` model outputs.
    fn order_at(&self, index: usize, known: usize) -> usize {
        let remaining = self.timesteps.len() - index;
        match self.config.lower_order_final {
            true => known.min(remaining),
            false => known,
        }
    }

    /// The estimate that the solver works on, of the clean sample or of the noise.
    fn convert(&self, output: Tensor<5>, sample: Tensor<5>, index: usize) -> Tensor<5> {
        let (level, prediction) = (self.level(index), self.config.prediction);
        if !self.config.predict_x0 {
            return prediction.epsilon(output, sample, level.alpha, level.sigma);
        }
        let original = level.original(prediction, output, sample, self.sigmas[index]);
        match self.config.threshold {
            Some(threshold) => threshold.apply(original),
            None => original,
        }
    }
}

impl Scheduler for UniPcMultistep {
    fn kind(&self) -> SchedulerKind {
        KIND
    }

    fn set_schedule(&mut self, schedule: &Schedule) -> Result<(), SchedulerError> {
        let (timesteps, sigmas) = self.config.table(schedule)?;
        if let Some(predictor) = &mut self.config.predictor {
            predictor.set_timesteps(timesteps.len())?;
        }
        (self.timesteps, self.sigmas) = (timesteps, sigmas);
        self.outputs.clear();
        self.last = None;
        self.progress.restart(self.timesteps.len());
        Ok(())
    }

    fn set_step_options(&mut self, options: StepOptions) {
        if let Some(predictor) = &mut self.config.predictor {
            predictor.set_step_options(options);
        }
    }

    fn timesteps(&self) -> &[f64] {
        &self.timesteps
    }

    fn sigmas(&self) -> Vec<f64> {
        self.sigmas.iter().map(|&sigma| f64::from(sigma)).collect()
    }

    fn current_index(&self) -> Result<usize, SchedulerError> {
        self.progress.current()
    }

    fn set_begin_index(&mut self, index: usize) {
        self.outputs.clear();
        self.last = None;
        self.progress.begin_at(index);
        if let Some(predictor) = &mut self.config.predictor {
            predictor.set_begin_index(index);
        }
    }

    fn step(
        &mut self,
        model_output: Tensor<5>,
        sample: Tensor<5>,
        noise: &mut dyn NoiseSource,
    ) -> Result<StepOutput, SchedulerError> {
        let index = self.progress.current()?;
        let dtype = sample.dtype();
        let mut sample = sample.cast(DType::F32);
        let output = self.convert(model_output.clone().cast(DType::F32), sample.clone(), index);
        let previous = self.last.take().filter(|_| self.config.corrects_after(index));
        if let Some((start, order)) = previous {
            let update = self.update_to(index, order);
            sample = update.correct(start, self.outputs.make_contiguous(), output.clone());
        }
        self.outputs.truncate(self.config.order - 1);
        self.outputs.push_front(output.clone());
        let order = self.order_at(index, self.outputs.len());
        self.last = Some((sample.clone(), order));
        let prev_sample = match &mut self.config.predictor {
            Some(predictor) => predictor.step(model_output, sample, noise)?.prev_sample,
            None => {
                let update = self.update_to(index + 1, order);
                update.predict(sample, self.outputs.make_contiguous())
            }
        };
        self.progress.advance();
        Ok(StepOutput {
            prev_sample: prev_sample.cast(dtype),
            pred_original_sample: self.config.predict_x0.then_some(output),
        })
    }

    fn add_noise(
        &self,
        original: Tensor<5>,
        noise: Tensor<5>,
        timestep_index: usize,
    ) -> Result<Tensor<5>, SchedulerError> {
        let level = self.level(self.progress.check(timestep_index)?);
        Ok(level.add_noise(original, noise))
    }
}

/// The option `solver_type`: the function `B` of the paper.
const VARIANTS: &[(&str, BhVariant)] = &[
    ("bh1", BhVariant::Bh1),
    ("bh2", BhVariant::Bh2),
    // Other schedulers' types stand for `bh2`.
    ("midpoint", BhVariant::Bh2),
    ("heun", BhVariant::Bh2),
    ("logrho", BhVariant::Bh2),
];
