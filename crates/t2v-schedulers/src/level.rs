//! Noise levels as shares of signal and noise.

use burn::tensor::Tensor;

use crate::float32::ln;
use crate::prediction::PredictionType;
use crate::{SchedulerError, SchedulerKind};

/// A noise level, as the parts of a sample `alpha * original + sigma * noise`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Level {
    pub(crate) alpha: f32,
    pub(crate) sigma: f32,
}

impl Level {
    /// The level of a sigma, which is that of samples `original + sigma * noise`, or a flow's time.
    pub(crate) fn of_sigma(sigma: f32, flow: bool) -> Self {
        if flow {
            let alpha = 1.0 - sigma;
            return Self { alpha, sigma };
        }
        let alpha = 1.0 / (sigma * sigma + 1.0).sqrt();
        Self {
            alpha,
            sigma: sigma * alpha,
        }
    }

    /// The level of a cumulative product of the training's alphas.
    pub(crate) fn of_product(alpha_bar: f32) -> Self {
        Self {
            alpha: alpha_bar.sqrt(),
            sigma: (1.0 - alpha_bar).sqrt(),
        }
    }

    /// The level of a timestep of training, of whose alphas these are the cumulative products.
    pub(crate) fn of_training(products: &[f32], kind: SchedulerKind, timestep: usize) -> Result<Self, SchedulerError> {
        let len = products.len();
        let product = products.get(timestep).copied();
        let index = timestep;
        product
            .map(Self::of_product)
            .ok_or(SchedulerError::IndexOutOfRange { kind, index, len })
    }

    /// `ln(alpha / sigma)`.
    pub(crate) fn lambda(self) -> f32 {
        ln(self.alpha) - ln(self.sigma)
    }

    /// `original` with this level's share of `noise`.
    pub(crate) fn add_noise(self, original: Tensor<5>, noise: Tensor<5>) -> Tensor<5> {
        let noise = noise.cast(original.dtype());
        original * self.alpha + noise * self.sigma
    }

    /// The estimate of the clean sample from a model's output. A flow's is in `raw_sigma` as it is.
    pub(crate) fn original(
        self,
        prediction: PredictionType,
        output: Tensor<5>,
        sample: Tensor<5>,
        raw_sigma: f32,
    ) -> Tensor<5> {
        let sigma = match prediction {
            PredictionType::Flow => raw_sigma,
            _ => self.sigma,
        };
        prediction.original(output, sample, self.alpha, sigma)
    }
}
