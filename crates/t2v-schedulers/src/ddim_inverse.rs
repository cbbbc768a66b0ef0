//! Inversion by DDIM: equation 12 of Song, Meng and Ermon, <https://arxiv.org/abs/2010.02502>, from a clean sample to the
//! noise that DDIM would make it from; Mokady et al., <https://arxiv.org/abs/2211.09794>, section 3.
//!
//! Follows diffusers' `scheduling_ddim_inverse.py`: the timesteps rise, and a call's output is for the timestep that the
//! step leads to. There is no fresh noise. Two things have no value in diffusers: `add_noise`, here the noise of the sample
//! that a call starts from, and the noise in a sample without any, by a model that predicts clean samples, here taken as if
//! the sample was that of the timestep.

use burn::tensor::Tensor;
use serde_json::Value;

use crate::betas::BetaOptions;
use crate::config::{ConfigReader, STEPS_OFFSETS};
use crate::level::Level;
use crate::prediction::{PREDICTION_TYPES, PredictionType, epsilon_of};
use crate::progress::Progress;
use crate::scheduler::{NoiseSource, Schedule, Scheduler, StepOutput};
use crate::spacing::TimestepSpacing;
use crate::thresholding::Bounds;
use crate::{SchedulerError, SchedulerKind};

const KIND: SchedulerKind = SchedulerKind::DdimInverse;

const SPACINGS: &[(&str, TimestepSpacing)] = &[
    ("leading", TimestepSpacing::Leading),
    ("trailing", TimestepSpacing::Trailing),
];

/// `DDIMInverseScheduler`.
#[derive(Debug)]
pub(crate) struct DdimInverse {
    prediction: PredictionType,
    spacing: TimestepSpacing,
    steps_offset: usize,
    bounds: Bounds,
    alphas_cumprod: Vec<f32>,
    /// The cumulative product before the first step.
    initial_alpha: f32,
    steps: usize,
    timesteps: Vec<f64>,
    progress: Progress,
}

impl DdimInverse {
    pub(crate) fn from_config(config: &Value) -> Result<Self, SchedulerError> {
        let reader = ConfigReader::new(KIND, config)?;
        let alphas_cumprod = BetaOptions::read(&reader)?.alphas_cumprod();
        let mut set_alpha_to_one = reader.flag("set_alpha_to_one", true)?;
        // The option's old name, which wins.
        if reader.get("set_alpha_to_zero").is_some_and(|value| !value.is_null()) {
            set_alpha_to_one = reader.flag("set_alpha_to_zero", set_alpha_to_one)?;
        }
        Ok(Self {
            prediction: reader.choice("prediction_type", PredictionType::Epsilon, PREDICTION_TYPES)?,
            spacing: reader.choice("timestep_spacing", TimestepSpacing::Leading, SPACINGS)?,
            steps_offset: reader.count("steps_offset", 0, STEPS_OFFSETS)?,
            bounds: Bounds::read_clip(&reader, true)?,
            initial_alpha: if set_alpha_to_one { 1.0 } else { alphas_cumprod[0] },
            alphas_cumprod,
            steps: 0,
            timesteps: Vec::new(),
            progress: Progress::new(KIND),
        })
    }

    /// The cumulative products of a call's sample and of its timestep.
    fn alphas(&self, index: usize) -> (f32, f32) {
        let timestep = self.timesteps[index] as usize;
        let before = timestep.checked_sub(self.alphas_cumprod.len() / self.steps);
        let alpha = before.map_or(self.initial_alpha, |t| self.alphas_cumprod[t]);
        (alpha, self.alphas_cumprod[timestep])
    }
}

impl Scheduler for DdimInverse {
    fn kind(&self) -> SchedulerKind {
        KIND
    }

    fn set_schedule(&mut self, schedule: &Schedule) -> Result<(), SchedulerError> {
        let steps = schedule.only_steps(KIND)?;
        let train = self.alphas_cumprod.len();
        let mut timesteps = self.spacing.checked_timesteps(KIND, train, steps, self.steps_offset)?;
        timesteps.reverse();
        self.steps = steps;
        self.progress.restart(timesteps.len());
        self.timesteps = timesteps;
        Ok(())
    }

    fn timesteps(&self) -> &[f64] {
        &self.timesteps
    }

    fn current_index(&self) -> Result<usize, SchedulerError> {
        self.progress.current()
    }

    fn set_begin_index(&mut self, index: usize) {
        self.progress.begin_at(index);
    }

    fn step(
        &mut self,
        model_output: Tensor<5>,
        sample: Tensor<5>,
        _noise: &mut dyn NoiseSource,
    ) -> Result<StepOutput, SchedulerError> {
        let (alpha, alpha_next) = self.alphas(self.progress.current()?);
        let (root, noise_root) = (alpha.sqrt(), (1.0 - alpha).sqrt());
        let (next_root, next_noise_root) = (alpha_next.sqrt(), (1.0 - alpha_next).sqrt());
        let output = model_output.cast(sample.dtype());
        let original = self
            .prediction
            .original(output.clone(), sample.clone(), root, noise_root);
        let epsilon = match self.prediction {
            PredictionType::Sample if noise_root == 0.0 => epsilon_of(output, sample, next_root, next_noise_root),
            prediction => prediction.epsilon(output, sample, root, noise_root),
        };
        let original = self.bounds.apply(original);
        self.progress.advance();
        Ok(StepOutput {
            prev_sample: original.clone() * next_root + epsilon * next_noise_root,
            pred_original_sample: Some(original),
        })
    }

    fn add_noise(
        &self,
        original: Tensor<5>,
        noise: Tensor<5>,
        timestep_index: usize,
    ) -> Result<Tensor<5>, SchedulerError> {
        let (alpha, _) = self.alphas(self.progress.check(timestep_index)?);
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
