//! Euler's method on the probability-flow ODE, with optional churn: Karras et al., "Elucidating the Design Space of
//! Diffusion-Based Generative Models", <https://arxiv.org/abs/2206.00364>, Algorithm 2 without its second-order correction.
//!
//! Follows diffusers' `scheduling_euler_discrete.py`.

use burn::tensor::{DType, Tensor};
use serde_json::Value;

use crate::betas::BetaOptions;
use crate::churn;
use crate::config::ConfigReader;
use crate::float32;
use crate::noise_levels::{NoiseLevels, scaled, single_precision, with_noise};
use crate::prediction::PredictionType;
use crate::progress::Progress;
use crate::scheduler::{
    NoiseSource, Schedule, SchedulePoints, Scheduler, StepOptions, StepOutput, checked_steps, unsupported,
};
use crate::sigmas::{FINAL_SIGMAS, FinalSigma, Table};
use crate::{SchedulerError, SchedulerKind};

const KIND: SchedulerKind = SchedulerKind::EulerDiscrete;

const PREDICTION_TYPES: &[(&str, PredictionType)] = &[
    ("epsilon", PredictionType::Epsilon),
    ("sample", PredictionType::Sample),
    ("original_sample", PredictionType::Sample),
    ("v_prediction", PredictionType::Velocity),
];

/// `EulerDiscreteScheduler`.
#[derive(Debug)]
pub(crate) struct EulerDiscrete {
    prediction: PredictionType,
    levels: NoiseLevels,
    /// Timesteps are a quarter of the sigmas' logarithms.
    continuous: bool,
    options: StepOptions,
    timesteps: Vec<f64>,
    sigmas: Vec<f32>,
    progress: Progress,
}

impl EulerDiscrete {
    pub(crate) fn from_config(config: &Value) -> Result<Self, SchedulerError> {
        let reader = ConfigReader::new(KIND, config)?;
        let alphas = BetaOptions::read(&reader)?.positive_alphas_cumprod();
        let prediction = reader.choice("prediction_type", PredictionType::Epsilon, PREDICTION_TYPES)?;
        let continuous = reader.choice("timestep_type", false, &[("discrete", false), ("continuous", true)])?;
        let log_linear = reader.choice("interpolation_type", false, &[("linear", false), ("log_linear", true)])?;
        let levels = NoiseLevels::read(KIND, &reader, &alphas)?.with_log_linear(log_linear);
        let final_sigma = reader.choice("final_sigmas_type", FinalSigma::Zero, FINAL_SIGMAS)?;
        Ok(Self {
            prediction,
            continuous: continuous && prediction == PredictionType::Velocity,
            sigmas: levels.training().to_vec(),
            levels: levels.with_final_sigma(final_sigma),
            options: StepOptions::default(),
            timesteps: Vec::new(),
            progress: Progress::new(KIND),
        })
    }

    /// The levels of explicit timesteps.
    fn by_timesteps(&self, timesteps: &[f64]) -> Result<Table, SchedulerError> {
        let levels = self.levels.by_timesteps(timesteps)?;
        if self.continuous {
            let reason = "cannot be given with `timestep_type` \"continuous\"";
            return Err(unsupported(KIND, "timesteps", reason));
        }
        Ok(levels)
    }

    /// The levels of explicit sigmas, the final one included.
    fn by_sigmas(&self, sigmas: &[f64]) -> Result<Table, SchedulerError> {
        let steps = checked_steps(KIND, sigmas.len().saturating_sub(1))?;
        let sigmas: Vec<f32> = sigmas.iter().map(|&sigma| sigma as f32).collect();
        let timesteps = sigmas[..steps].iter().map(|&sigma| self.levels.timestep_of(sigma));
        Ok((timesteps.collect(), sigmas))
    }

    fn current_sigma(&self) -> Result<(f32, f32), SchedulerError> {
        let index = self.progress.current()?;
        Ok((self.sigmas[index], self.sigmas[index + 1]))
    }
}

impl Scheduler for EulerDiscrete {
    fn kind(&self) -> SchedulerKind {
        KIND
    }

    fn set_schedule(&mut self, schedule: &Schedule) -> Result<(), SchedulerError> {
        schedule.no_mu(KIND)?;
        let (mut timesteps, sigmas) = match &schedule.points {
            SchedulePoints::Steps(steps) => self.levels.by_steps(*steps)?,
            SchedulePoints::Timesteps(timesteps) => self.by_timesteps(timesteps)?,
            SchedulePoints::Sigmas(sigmas) => self.by_sigmas(sigmas)?,
        };
        if self.continuous {
            let levels = &sigmas[..sigmas.len() - 1];
            let quarters = levels.iter().map(|&sigma| f64::from(0.25 * float32::ln(sigma)));
            timesteps = quarters.collect();
        }
        self.progress.restart(timesteps.len());
        self.timesteps = single_precision(timesteps);
        self.sigmas = sigmas;
        Ok(())
    }

    fn set_step_options(&mut self, options: StepOptions) {
        self.options = options;
    }

    fn timesteps(&self) -> &[f64] {
        &self.timesteps
    }

    fn sigmas(&self) -> Vec<f64> {
        self.sigmas.iter().map(|&sigma| f64::from(sigma)).collect()
    }

    fn init_noise_sigma(&self) -> f64 {
        self.levels.init_noise_sigma(&self.sigmas)
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
        let (sigma, _) = self.current_sigma()?;
        Ok(scaled(sample, sigma))
    }

    fn step(
        &mut self,
        model_output: Tensor<5>,
        sample: Tensor<5>,
        noise: &mut dyn NoiseSource,
    ) -> Result<StepOutput, SchedulerError> {
        let (sigma, next) = self.current_sigma()?;
        let dtype = model_output.dtype();
        let (model_output, mut sample) = (model_output.cast(DType::F32), sample.cast(DType::F32));
        let churned = churn::sigma_hat(&self.options, sigma, self.timesteps.len());
        let sigma_hat = churned.unwrap_or(sigma);
        if churned.is_some() {
            sample = churn::add(sample, sigma, sigma_hat, self.options.s_noise, noise);
        }
        let original = self
            .prediction
            .original_of_unscaled(model_output, sample.clone(), sigma, sigma_hat);
        let derivative = (sample.clone() - original.clone()) / sigma_hat;
        let prev_sample = (sample + derivative * (next - sigma_hat)).cast(dtype);
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
        let sigma = self.sigmas[self.progress.check(timestep_index)?];
        Ok(with_noise(original, noise, sigma))
    }
}
