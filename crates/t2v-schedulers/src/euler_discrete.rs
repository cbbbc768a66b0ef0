//! Euler's method on the probability-flow ODE, with optional churn: Karras et al., "Elucidating the Design Space of
//! Diffusion-Based Generative Models", <https://arxiv.org/abs/2206.00364>, Algorithm 2 without its second-order correction.
//!
//! Follows diffusers' `scheduling_euler_discrete.py`.

use burn::tensor::{DType, Tensor};
use serde_json::Value;

use crate::betas::BetaOptions;
use crate::churn;
use crate::config::{ConfigReader, STEPS_OFFSETS};
use crate::float32;
use crate::noise_levels::{scaled, single_precision};
use crate::prediction::PredictionType;
use crate::progress::Progress;
use crate::scheduler::{
    NoiseSource, Schedule, SchedulePoints, Scheduler, StepOptions, StepOutput, checked_steps, unsupported,
};
use crate::sigmas::{
    FINAL_SIGMAS, FinalSigma, SigmaShape, interpolate, log_sigmas, sigma_to_t, sigma_to_t_f32, training_sigmas,
};
use crate::spacing::{TIMESTEP_SPACINGS, TimestepSpacing, leading, linspace_down, trailing};
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
    log_linear: bool,
    shape: Option<SigmaShape>,
    sigma_min: Option<f64>,
    sigma_max: Option<f64>,
    spacing: TimestepSpacing,
    steps_offset: usize,
    final_sigma: FinalSigma,
    /// Timesteps are a quarter of the sigmas' logarithms.
    continuous: bool,
    training: Vec<f32>,
    log_training: Vec<f32>,
    options: StepOptions,
    timesteps: Vec<f64>,
    sigmas: Vec<f32>,
    progress: Progress,
}

impl EulerDiscrete {
    pub(crate) fn from_config(config: &Value) -> Result<Self, SchedulerError> {
        let reader = ConfigReader::new(KIND, config)?;
        let training = training_sigmas(&BetaOptions::read(&reader)?.positive_alphas_cumprod());
        let prediction = reader.choice("prediction_type", PredictionType::Epsilon, PREDICTION_TYPES)?;
        let continuous = reader.choice("timestep_type", false, &[("discrete", false), ("continuous", true)])?;
        Ok(Self {
            prediction,
            log_linear: reader.choice("interpolation_type", false, &[("linear", false), ("log_linear", true)])?,
            shape: SigmaShape::read(&reader)?,
            sigma_min: reader.optional_number("sigma_min")?,
            sigma_max: reader.optional_number("sigma_max")?,
            spacing: reader.choice("timestep_spacing", TimestepSpacing::Linspace, TIMESTEP_SPACINGS)?,
            steps_offset: reader.count("steps_offset", 0, STEPS_OFFSETS)?,
            final_sigma: reader.choice("final_sigmas_type", FinalSigma::Zero, FINAL_SIGMAS)?,
            continuous: continuous && prediction == PredictionType::Velocity,
            log_training: log_sigmas(&training),
            sigmas: training.clone(),
            training,
            options: StepOptions::default(),
            timesteps: Vec::new(),
            progress: Progress::new(KIND),
        })
    }

    fn spaced(&self, steps: usize) -> Vec<f64> {
        let train = self.training.len();
        let timesteps = match self.spacing {
            TimestepSpacing::Linspace => linspace_down(train as f64 - 1.0, steps),
            TimestepSpacing::Leading => leading(steps, train / steps, self.steps_offset),
            TimestepSpacing::Trailing => trailing(train, train, steps),
        };
        single_precision(timesteps)
    }

    /// The sigmas at timesteps, without the final one, and the timesteps, which may change with them.
    fn sigmas_at(&self, timesteps: Vec<f64>) -> (Vec<f64>, Vec<f64>) {
        let steps = timesteps.len();
        let sigmas: Vec<f64> = if self.log_linear {
            let last = self.log_training.len() - 1;
            let (max, min) = (self.log_training[last], self.log_training[0]);
            let logs = float32::linspace(f64::from(max), f64::from(min), steps + 1);
            logs.iter().map(|&log| f64::from(float32::exp(log))).collect()
        } else {
            timesteps.iter().map(|&t| interpolate(t, &self.training)).collect()
        };
        let Some(shape) = self.shape else {
            return (sigmas, timesteps);
        };
        let max = self.sigma_max.unwrap_or(sigmas[0]);
        let min = self.sigma_min.unwrap_or(sigmas[sigmas.len() - 1]);
        let sigmas = shape.sigmas(max, min, steps);
        let timesteps = sigmas.iter().map(|&sigma| sigma_to_t(sigma, &self.log_training));
        let timesteps = timesteps.collect();
        (sigmas, timesteps)
    }

    /// All sigmas of explicit timesteps or of a number of steps, the final one included, and the timesteps.
    fn complete(&self, timesteps: Vec<f64>) -> (Vec<f32>, Vec<f64>) {
        let (mut sigmas, timesteps) = self.sigmas_at(timesteps);
        sigmas.push(self.final_sigma.value(&self.training));
        (sigmas.iter().map(|&sigma| sigma as f32).collect(), timesteps)
    }

    fn check_explicit_timesteps(&self, count: usize) -> Result<(), SchedulerError> {
        checked_steps(KIND, count)?;
        if let Some(shape) = self.shape {
            return Err(unsupported(
                KIND,
                "timesteps",
                format!("cannot be given with `{}`", shape.option()),
            ));
        }
        match self.continuous {
            false => Ok(()),
            true => Err(unsupported(
                KIND,
                "timesteps",
                "cannot be given with `timestep_type` \"continuous\"",
            )),
        }
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
        let (sigmas, mut timesteps) = match &schedule.points {
            SchedulePoints::Steps(steps) => self.complete(self.spaced(checked_steps(KIND, *steps)?)),
            SchedulePoints::Timesteps(timesteps) => {
                self.check_explicit_timesteps(timesteps.len())?;
                self.complete(single_precision(timesteps.clone()))
            }
            SchedulePoints::Sigmas(sigmas) => {
                checked_steps(KIND, sigmas.len().saturating_sub(1))?;
                let sigmas: Vec<f32> = sigmas.iter().map(|&sigma| sigma as f32).collect();
                let levels = &sigmas[..sigmas.len() - 1];
                let timesteps = levels.iter().map(|&sigma| sigma_to_t_f32(sigma, &self.log_training));
                let timesteps = timesteps.collect();
                (sigmas, timesteps)
            }
        };
        if self.continuous {
            let levels = &sigmas[..sigmas.len() - 1];
            timesteps = levels
                .iter()
                .map(|&sigma| f64::from(0.25 * float32::ln(sigma)))
                .collect();
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
        let max = self.sigmas.iter().copied().fold(0.0, f32::max);
        f64::from(match self.spacing {
            TimestepSpacing::Linspace | TimestepSpacing::Trailing => max,
            TimestepSpacing::Leading => (max * max + 1.0).sqrt(),
        })
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
        let noise = noise.cast(original.dtype());
        Ok(original + noise * sigma)
    }
}
