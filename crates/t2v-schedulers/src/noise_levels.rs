//! The noise levels of a run, for solvers that integrate over sigma.
//!
//! Such a run goes through training timesteps, or through a schedule of sigmas between the first and the last of these.

use burn::tensor::Tensor;

use crate::config::{ConfigReader, STEPS_OFFSETS};
use crate::float32;
use crate::scheduler::{checked_steps, unsupported};
use crate::sigmas::{
    FinalSigma, SigmaShape, Table, interpolate, log_sigmas, sigma_to_t, sigma_to_t_f32, sigma_to_t_torch,
    training_sigmas,
};
use crate::spacing::{TIMESTEP_SPACINGS, TimestepSpacing, leading, linspace_down, trailing};
use crate::{SchedulerError, SchedulerKind};

/// The options `timestep_spacing`, `steps_offset` and `use_*_sigmas`, and the training sigmas that they pick from.
#[derive(Debug)]
pub(crate) struct NoiseLevels {
    kind: SchedulerKind,
    spacing: TimestepSpacing,
    steps_offset: usize,
    shape: Option<SigmaShape>,
    /// Options of Euler's scheduler in diffusers, but the others heed them if a configuration has them.
    sigma_min: Option<f64>,
    sigma_max: Option<f64>,
    final_sigma: FinalSigma,
    /// Sigmas have evenly spaced logarithms, whatever the timesteps, and are one more.
    log_linear: bool,
    training: Vec<f32>,
    log_training: Vec<f32>,
}

impl NoiseLevels {
    /// Reads the options of a scheduler that has no `use_*_sigmas`.
    pub(crate) fn read_plain(
        kind: SchedulerKind,
        reader: &ConfigReader,
        alphas_cumprod: &[f32],
    ) -> Result<Self, SchedulerError> {
        let training = training_sigmas(alphas_cumprod);
        Ok(Self {
            kind,
            spacing: reader.choice("timestep_spacing", TimestepSpacing::Linspace, TIMESTEP_SPACINGS)?,
            steps_offset: reader.count("steps_offset", 0, STEPS_OFFSETS)?,
            shape: None,
            sigma_min: None,
            sigma_max: None,
            final_sigma: FinalSigma::Zero,
            log_linear: false,
            log_training: log_sigmas(&training),
            training,
        })
    }

    /// Reads the options.
    pub(crate) fn read(
        kind: SchedulerKind,
        reader: &ConfigReader,
        alphas_cumprod: &[f32],
    ) -> Result<Self, SchedulerError> {
        Ok(Self {
            shape: SigmaShape::read(reader)?,
            sigma_min: reader.optional_number("sigma_min")?,
            sigma_max: reader.optional_number("sigma_max")?,
            ..Self::read_plain(kind, reader, alphas_cumprod)?
        })
    }

    /// Lets Karras' schedule ignore `sigma_min` and `sigma_max`.
    pub(crate) fn without_karras_bounds(mut self) -> Self {
        if self.is_karras() {
            (self.sigma_min, self.sigma_max) = (None, None);
        }
        self
    }

    /// Sets where a run ends.
    pub(crate) fn with_final_sigma(self, final_sigma: FinalSigma) -> Self {
        Self { final_sigma, ..self }
    }

    /// Sets whether sigmas have evenly spaced logarithms, whatever the timesteps.
    pub(crate) fn with_log_linear(self, log_linear: bool) -> Self {
        Self { log_linear, ..self }
    }

    /// Whether the sigmas are those of Karras et al.
    pub(crate) fn is_karras(&self) -> bool {
        self.shape == Some(SigmaShape::Karras)
    }

    /// The sigmas of the training timesteps, ascending.
    pub(crate) fn training(&self) -> &[f32] {
        &self.training
    }

    /// The levels of a number of steps. Timesteps found from sigmas are not rounded.
    pub(crate) fn by_steps(&self, steps: usize) -> Result<Table, SchedulerError> {
        let steps = checked_steps(self.kind, steps)?;
        let train = self.training.len();
        let timesteps = match self.spacing {
            TimestepSpacing::Linspace => linspace_down(train as f64 - 1.0, steps),
            TimestepSpacing::Leading => leading(steps, train / steps, self.steps_offset),
            TimestepSpacing::Trailing => trailing(train, train, steps),
        };
        Ok(self.at(timesteps))
    }

    /// The levels of explicit timesteps.
    pub(crate) fn by_timesteps(&self, timesteps: &[f64]) -> Result<Table, SchedulerError> {
        checked_steps(self.kind, timesteps.len())?;
        match self.shape {
            None => Ok(self.at(timesteps.to_vec())),
            Some(shape) => {
                let reason = format!("cannot be given with `{}`", shape.option());
                Err(unsupported(self.kind, "timesteps", reason))
            }
        }
    }

    fn at(&self, timesteps: Vec<f64>) -> Table {
        let mut timesteps = single_precision(timesteps);
        let mut sigmas: Vec<f64> = match self.log_linear {
            true => self.log_spaced(timesteps.len() + 1),
            false => timesteps.iter().map(|&t| interpolate(t, &self.training)).collect(),
        };
        if let Some(shape) = self.shape {
            let max = self.sigma_max.unwrap_or(sigmas[0]);
            let min = self.sigma_min.unwrap_or(sigmas[sigmas.len() - 1]);
            sigmas = shape.sigmas(max, min, timesteps.len());
            timesteps = sigmas
                .iter()
                .map(|&sigma| sigma_to_t(sigma, &self.log_training))
                .collect();
        }
        sigmas.push(self.final_sigma.value(&self.training));
        (timesteps, sigmas.iter().map(|&sigma| sigma as f32).collect())
    }

    /// `count` sigmas from the highest to the lowest of training, with evenly spaced logarithms.
    fn log_spaced(&self, count: usize) -> Vec<f64> {
        let logs = &self.log_training;
        let (max, min) = (logs[logs.len() - 1], logs[0]);
        let logs = float32::linspace(f64::from(max), f64::from(min), count);
        logs.iter().map(|&log| f64::from(float32::exp(log))).collect()
    }

    /// The timestep of a sigma that was asked for.
    pub(crate) fn timestep_of(&self, sigma: f32) -> f64 {
        sigma_to_t_f32(sigma, &self.log_training)
    }

    /// The timestep of a sigma between two levels.
    pub(crate) fn timestep_between(&self, sigma: f32) -> f64 {
        sigma_to_t_torch(sigma, &self.log_training)
    }

    /// The standard deviation of the noise that a run with these sigmas starts from.
    pub(crate) fn init_noise_sigma(&self, sigmas: &[f32]) -> f64 {
        let max = sigmas.iter().copied().fold(0.0, f32::max);
        f64::from(match self.spacing {
            TimestepSpacing::Linspace | TimestepSpacing::Trailing => max,
            TimestepSpacing::Leading => (max * max + 1.0).sqrt(),
        })
    }
}

/// Timesteps rounded to single precision.
pub(crate) fn single_precision(timesteps: Vec<f64>) -> Vec<f64> {
    timesteps.into_iter().map(|t| f64::from(t as f32)).collect()
}

/// `x / sqrt(sigma² + 1)`: the model's input, of unit variance, for a sample `original + sigma * noise`.
pub(crate) fn scaled(sample: Tensor<5>, sigma: f32) -> Tensor<5> {
    sample / (sigma * sigma + 1.0).sqrt()
}

/// `original + sigma * noise`.
pub(crate) fn with_noise(original: Tensor<5>, noise: Tensor<5>, sigma: f32) -> Tensor<5> {
    let noise = noise.cast(original.dtype());
    original + noise * sigma
}
