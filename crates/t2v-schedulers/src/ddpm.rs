//! DDPM: Ho, Jain and Abbeel, "Denoising Diffusion Probabilistic Models", <https://arxiv.org/abs/2006.11239>, with the
//! learned variances of Nichol and Dhariwal, <https://arxiv.org/abs/2102.09672>.
//!
//! Follows diffusers' `scheduling_ddpm.py`, but that the variance type `fixed_large_log` has the deviation of
//! `fixed_large`: diffusers takes the root of a logarithm there, which is not a number.

use burn::tensor::Tensor;
use serde_json::Value;

use crate::betas::{BetaOptions, DDPM_BETA_SCHEDULES};
use crate::config::{ConfigReader, STEPS_OFFSETS};
use crate::float32::{exp, ln};
use crate::level::Level;
use crate::prediction::{PREDICTION_TYPES, PredictionType};
use crate::progress::Progress;
use crate::scheduler::{NoiseSource, Schedule, SchedulePoints, Scheduler, StepOutput};
use crate::scheduler::{checked_steps, unsupported};
use crate::spacing::{TIMESTEP_SPACINGS, TimestepSpacing};
use crate::thresholding::Bounds;
use crate::{SchedulerError, SchedulerKind};

const KIND: SchedulerKind = SchedulerKind::Ddpm;

/// The option `variance_type`: the variance of the noise of a step.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Variance {
    /// That of the posterior.
    FixedSmall,
    /// The same, by way of its logarithm.
    FixedSmallLog,
    /// That of the forward process.
    FixedLarge,
    /// The model's second half of channels.
    Learned,
    /// Between the first two, as far as the model's second half of channels says, from -1 to 1.
    LearnedRange,
}

const VARIANCE_TYPES: &[(&str, Variance)] = &[
    ("fixed_small", Variance::FixedSmall),
    ("fixed_small_log", Variance::FixedSmallLog),
    ("fixed_large", Variance::FixedLarge),
    ("fixed_large_log", Variance::FixedLarge),
    ("learned", Variance::Learned),
    ("learned_range", Variance::LearnedRange),
];

/// `DDPMScheduler`.
#[derive(Debug)]
pub(crate) struct Ddpm {
    prediction: PredictionType,
    variance: Variance,
    spacing: TimestepSpacing,
    steps_offset: usize,
    bounds: Bounds,
    alphas_cumprod: Vec<f32>,
    timesteps: Vec<f64>,
    progress: Progress,
}

impl Ddpm {
    pub(crate) fn from_config(config: &Value) -> Result<Self, SchedulerError> {
        let reader = ConfigReader::new(KIND, config)?;
        Ok(Self {
            prediction: reader.choice("prediction_type", PredictionType::Epsilon, PREDICTION_TYPES)?,
            variance: reader.choice("variance_type", Variance::FixedSmall, VARIANCE_TYPES)?,
            spacing: reader.choice("timestep_spacing", TimestepSpacing::Leading, TIMESTEP_SPACINGS)?,
            steps_offset: reader.count("steps_offset", 0, STEPS_OFFSETS)?,
            bounds: Bounds::read(&reader, true)?,
            alphas_cumprod: BetaOptions::read_among(&reader, DDPM_BETA_SCHEDULES)?.alphas_cumprod(),
            timesteps: Vec::new(),
            progress: Progress::new(KIND),
        })
    }

    fn alpha(&self, index: usize) -> f32 {
        self.alphas_cumprod[self.timesteps[index] as usize]
    }

    /// The standard deviation of a step's noise: a number, or a tensor if it is learned.
    fn with_variance(
        &self,
        mean: Tensor<5>,
        fresh: Tensor<5>,
        posterior: f32,
        beta: f32,
        learned: Option<Tensor<5>>,
    ) -> Tensor<5> {
        let posterior = posterior.max(1e-20);
        let deviation = match (self.variance, learned) {
            (Variance::Learned, Some(variance)) => return mean + fresh * variance.sqrt(),
            (Variance::LearnedRange, Some(share)) => {
                let share = (share + 1.0) / 2.0;
                let (low, high) = (ln(posterior), ln(beta));
                let log_variance = share.clone() * high + (share * -1.0 + 1.0) * low;
                return mean + fresh * (log_variance * 0.5).exp();
            }
            (Variance::FixedLarge, _) => beta.sqrt(),
            (Variance::FixedSmallLog, _) => exp(0.5 * ln(posterior)),
            _ => posterior.sqrt(),
        };
        mean + fresh * deviation
    }

    /// The model's prediction, and its second half of channels if the variance is learned.
    fn split(&self, output: Tensor<5>, channels: usize) -> Result<(Tensor<5>, Option<Tensor<5>>), SchedulerError> {
        if !matches!(self.variance, Variance::Learned | Variance::LearnedRange) {
            return Ok((output, None));
        }
        let found = output.dims()[1];
        if found != 2 * channels {
            let reason = format!("learned needs {} channels of the model, found {found}", 2 * channels);
            return Err(unsupported(KIND, "variance_type", reason));
        }
        let variance = output.clone().narrow(1, channels, channels);
        Ok((output.narrow(1, 0, channels), Some(variance)))
    }
}

/// Checks explicit timesteps: whole, descending, of the training ones.
pub(crate) fn explicit_timesteps(
    kind: SchedulerKind,
    timesteps: &[f64],
    train: usize,
) -> Result<Vec<f64>, SchedulerError> {
    checked_steps(kind, timesteps.len())?;
    let inside = timesteps.iter().all(|t| (0.0..train as f64).contains(t));
    if !inside || timesteps.windows(2).any(|pair| pair[1].trunc() >= pair[0].trunc()) {
        let reason = format!("must fall, from at most {} to at least 0", train - 1);
        return Err(unsupported(kind, "timesteps", reason));
    }
    Ok(timesteps.iter().map(|t| t.trunc()).collect())
}

impl Scheduler for Ddpm {
    fn kind(&self) -> SchedulerKind {
        KIND
    }

    fn set_schedule(&mut self, schedule: &Schedule) -> Result<(), SchedulerError> {
        schedule.no_mu(KIND)?;
        let train = self.alphas_cumprod.len();
        self.timesteps = match &schedule.points {
            SchedulePoints::Steps(steps) => {
                let steps = checked_steps(KIND, *steps)?;
                self.spacing.checked_timesteps(KIND, train, steps, self.steps_offset)?
            }
            SchedulePoints::Timesteps(timesteps) => explicit_timesteps(KIND, timesteps, train)?,
            SchedulePoints::Sigmas(_) => return Err(unsupported(KIND, "sigmas", "cannot be given explicitly")),
        };
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
        self.progress.begin_at(index);
    }

    fn step(
        &mut self,
        model_output: Tensor<5>,
        sample: Tensor<5>,
        noise: &mut dyn NoiseSource,
    ) -> Result<StepOutput, SchedulerError> {
        let index = self.progress.current()?;
        let model_output = model_output.cast(sample.dtype());
        let (output, learned) = self.split(model_output, sample.dims()[1])?;
        let alpha_bar = self.alpha(index);
        let previous_bar = match index + 1 < self.timesteps.len() {
            true => self.alpha(index + 1),
            false => 1.0,
        };
        let (rest, previous_rest) = (1.0 - alpha_bar, 1.0 - previous_bar);
        let alpha = alpha_bar / previous_bar;
        let beta = 1.0 - alpha;
        let original = self
            .prediction
            .original(output, sample.clone(), alpha_bar.sqrt(), rest.sqrt());
        let original = self.bounds.apply(original);
        let mut prev_sample = original.clone() * (previous_bar.sqrt() * beta / rest)
            + sample.clone() * (alpha.sqrt() * previous_rest / rest);
        if self.timesteps[index] > 0.0 {
            let fresh = noise.normal(sample.dims(), &sample.device()).cast(sample.dtype());
            let posterior = previous_rest / rest * beta;
            prev_sample = self.with_variance(prev_sample, fresh, posterior, beta, learned);
        }
        self.progress.advance();
        Ok(StepOutput {
            prev_sample,
            pred_original_sample: Some(original),
        })
    }

    fn add_noise(
        &self,
        original: Tensor<5>,
        noise: Tensor<5>,
        timestep_index: usize,
    ) -> Result<Tensor<5>, SchedulerError> {
        let alpha = self.alpha(self.progress.check(timestep_index)?);
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
