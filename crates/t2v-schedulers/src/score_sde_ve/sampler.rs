//! The predictor-corrector sampler on the noise levels of a model that predicts noise, velocity or clean samples.
//!
//! Such a model knows the levels `sigma = sqrt((1 - a) / a)` of the cumulative products `a` of its alphas, at samples
//! `original + sigma * noise` scaled by `1 / sqrt(sigma² + 1)`; its score is `-noise / sigma`. So `sigma_min` and
//! `sigma_max` are narrowed to the model's range, and timesteps, fractional, are found from the sigmas. Each step is
//! `correct_steps` corrector calls and one predictor call at the same timestep.
//!
//! It differs from diffusers' `ScoreSdeVeScheduler` in three ways, for the sake of runs of few steps. The predictor is the
//! ancestral one (Song et al., appendix F): its fresh noise fills up to just the next level, where that of the reverse
//! diffusion adds the whole difference of the variances, which is the same in the limit of many steps and leaves a multiple of
//! the next level's noise otherwise. The corrector's step is at most as long as for an estimate of the noise as great as
//! noise, so that it adds at most `2 * snr * sigma` of it. And the levels of one run are those of both kinds of calls, from `sigma_max` to
//! `sigma_min` and then 0, the last step returning the mean, which is the estimate of the clean sample.

use burn::tensor::{DType, Tensor};
use serde_json::Value;

use super::{KIND, SdeVeOptions, langevin, sigma_at};
use crate::betas::BetaOptions;
use crate::config::ConfigReader;
use crate::float32::linspace;
use crate::level::Level;
use crate::noise_levels::with_noise;
use crate::prediction::{PREDICTION_TYPES, PredictionType};
use crate::progress::Progress;
use crate::scheduler::{NoiseSource, Schedule, Scheduler, StepOutput};
use crate::sigmas::{log_sigmas, sigma_to_t, training_sigmas};
use crate::{SchedulerError, SchedulerKind};

/// What [`crate::from_config`] gives for `ScoreSdeVe`.
#[derive(Debug)]
pub(crate) struct ScoreSdeVeSampler {
    options: SdeVeOptions,
    prediction: PredictionType,
    log_training: Vec<f32>,
    /// The noise level of each step, descending.
    sigmas: Vec<f32>,
    /// One a model call.
    timesteps: Vec<f64>,
    progress: Progress,
}

impl ScoreSdeVeSampler {
    pub(crate) fn from_config(config: &Value) -> Result<Self, SchedulerError> {
        let reader = ConfigReader::new(KIND, config)?;
        let training = training_sigmas(&BetaOptions::read(&reader)?.positive_alphas_cumprod());
        let (least, greatest) = (f64::from(training[0]), f64::from(training[training.len() - 1]));
        let mut options = SdeVeOptions::read(&reader)?;
        options.sigma_min = options.sigma_min.max(least).min(greatest);
        options.sigma_max = options.sigma_max.max(least).min(greatest);
        Ok(Self {
            options,
            prediction: reader.choice("prediction_type", PredictionType::Epsilon, PREDICTION_TYPES)?,
            log_training: log_sigmas(&training),
            sigmas: Vec::new(),
            timesteps: Vec::new(),
            progress: Progress::new(KIND),
        })
    }

    /// Model calls a step.
    fn calls(&self) -> usize {
        self.options.correct_steps + 1
    }

    fn sigma(&self, index: usize) -> f32 {
        self.sigmas[index / self.calls()]
    }
}

impl Scheduler for ScoreSdeVeSampler {
    fn kind(&self) -> SchedulerKind {
        KIND
    }

    fn set_schedule(&mut self, schedule: &Schedule) -> Result<(), SchedulerError> {
        let steps = schedule.only_steps(KIND)?;
        let times = linspace(1.0, self.options.sampling_eps, steps);
        let (min, max) = (self.options.sigma_min, self.options.sigma_max);
        let sigmas = times.iter().map(|&time| sigma_at(f64::from(time), min, max));
        self.sigmas = sigmas.collect();
        let timesteps = self.sigmas.iter().flat_map(|&sigma| {
            let timestep = sigma_to_t(f64::from(sigma), &self.log_training);
            std::iter::repeat_n(timestep, self.calls())
        });
        self.timesteps = timesteps.collect();
        self.progress.restart(self.timesteps.len());
        Ok(())
    }

    fn timesteps(&self) -> &[f64] {
        &self.timesteps
    }

    fn order(&self) -> usize {
        self.calls()
    }

    fn sigmas(&self) -> Vec<f64> {
        self.sigmas.iter().map(|&sigma| f64::from(sigma)).collect()
    }

    fn init_noise_sigma(&self) -> f64 {
        self.options.sigma_max
    }

    fn current_index(&self) -> Result<usize, SchedulerError> {
        self.progress.current()
    }

    fn set_begin_index(&mut self, index: usize) {
        self.progress.begin_at(index);
    }

    fn scale_model_input(
        &mut self,
        sample: Tensor<5>,
        _noise: &mut dyn NoiseSource,
    ) -> Result<Tensor<5>, SchedulerError> {
        let index = self.progress.current()?;
        Ok(sample * Level::of_sigma(self.sigma(index), false).alpha)
    }

    fn step(
        &mut self,
        model_output: Tensor<5>,
        sample: Tensor<5>,
        noise: &mut dyn NoiseSource,
    ) -> Result<StepOutput, SchedulerError> {
        let index = self.progress.current()?;
        let (dtype, sigma) = (sample.dtype(), self.sigma(index));
        let (sample, output) = (sample.cast(DType::F32), model_output.cast(DType::F32));
        let level = Level::of_sigma(sigma, false);
        let scaled = sample.clone() * level.alpha;
        let epsilon = self.prediction.epsilon(output, scaled, level.alpha, level.sigma);
        let original = sample.clone() - epsilon.clone() * sigma;
        let mut fresh = || noise.normal(sample.dims(), &sample.device()).cast(DType::F32);
        let corrects = (index + 1) % self.calls() != 0;
        let prev_sample = if corrects {
            let fresh = fresh();
            langevin(epsilon / -sigma, sample, fresh, self.options.snr, sigma)
        } else if let Some(&next) = self.sigmas.get(index / self.calls() + 1) {
            let share = next / sigma;
            let fresh = fresh();
            original.clone() + epsilon * (next * share) + fresh * (next * (1.0 - share * share).max(0.0).sqrt())
        } else {
            original.clone()
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
        let sigma = self.sigma(self.progress.check(timestep_index)?);
        Ok(with_noise(original, noise, sigma))
    }
}
