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

use burn::tensor::{DType, Tensor};
use serde_json::Value;

use self::config::Config;
use self::update::{BhUpdate, BhVariant};
use crate::lambda_sampler::{LambdaSampler, LambdaSolver, Run};
use crate::scheduler::{NoiseSource, Schedule, StepOptions, StepOutput};
use crate::sigmas::Table;
use crate::{SchedulerError, SchedulerKind};

const KIND: SchedulerKind = SchedulerKind::UniPcMultistep;

/// `UniPCMultistepScheduler`.
pub(crate) type UniPcMultistep = LambdaSampler<UniPc>;

/// UniPC.
#[derive(Debug)]
pub(crate) struct UniPc {
    config: Config,
    /// The corrected sample of the step before and the order of its prediction.
    last: Option<(Tensor<5>, usize)>,
}

impl UniPcMultistep {
    pub(crate) fn from_config(config: &Value) -> Result<Self, SchedulerError> {
        let config = Config::read(config)?;
        let flow = config.training.options.flow;
        Ok(Self::new(UniPc { config, last: None }, flow))
    }
}

impl UniPc {
    /// The update to an entry of the table from the `order` entries before.
    fn update_to(&self, run: &Run, index: usize, order: usize) -> BhUpdate {
        BhUpdate {
            variant: self.config.variant,
            predicts_original: self.config.predict_x0,
            target: run.level(index),
            levels: run.levels(index - 1, order),
        }
    }

    /// The estimate that the solver works on, of the clean sample or of the noise.
    fn convert(&self, output: Tensor<5>, sample: Tensor<5>, run: &Run, index: usize) -> Tensor<5> {
        let (level, prediction) = (run.level(index), self.config.prediction);
        if !self.config.predict_x0 {
            return prediction.epsilon(output, sample, level.alpha, level.sigma);
        }
        let original = level.original(prediction, output, sample, run.sigma(index));
        match self.config.threshold {
            Some(threshold) => threshold.apply(original),
            None => original,
        }
    }
}

impl LambdaSolver for UniPc {
    const KIND: SchedulerKind = KIND;

    fn table(&mut self, schedule: &Schedule) -> Result<Table, SchedulerError> {
        let table = self.config.table(schedule)?;
        if let Some(predictor) = &mut self.config.predictor {
            predictor.set_timesteps(table.0.len())?;
        }
        Ok(table)
    }

    fn step(
        &mut self,
        run: &mut Run,
        index: usize,
        model_output: Tensor<5>,
        sample: Tensor<5>,
        noise: &mut dyn NoiseSource,
    ) -> Result<StepOutput, SchedulerError> {
        let dtype = sample.dtype();
        let mut sample = sample.cast(DType::F32);
        let output = self.convert(model_output.clone().cast(DType::F32), sample.clone(), run, index);
        let previous = self.last.take().filter(|_| self.config.corrects_after(index));
        if let Some((start, order)) = previous {
            let update = self.update_to(run, index, order);
            sample = update.correct(start, run.outputs(), output.clone());
        }
        run.keep(output.clone(), self.config.order);
        let order = run.order(index, self.config.lower_order_final);
        self.last = Some((sample.clone(), order));
        let prev_sample = match &mut self.config.predictor {
            Some(predictor) => predictor.step(model_output, sample, noise)?.prev_sample,
            None => self.update_to(run, index + 1, order).predict(sample, run.outputs()),
        };
        Ok(StepOutput {
            prev_sample: prev_sample.cast(dtype),
            pred_original_sample: self.config.predict_x0.then_some(output),
        })
    }

    fn begin_at(&mut self, index: usize) {
        self.last = None;
        if let Some(predictor) = &mut self.config.predictor {
            predictor.set_begin_index(index);
        }
    }

    fn set_step_options(&mut self, options: StepOptions) {
        if let Some(predictor) = &mut self.config.predictor {
            predictor.set_step_options(options);
        }
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
