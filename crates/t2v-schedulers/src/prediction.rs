//! What a model predicts, and the way from that to the clean sample and to the noise.
//!
//! A noisy sample is `alpha * original + sigma * noise`. Velocity: Salimans and Ho, <https://arxiv.org/abs/2202.00512>.

use burn::tensor::Tensor;

/// The option `prediction_type`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum PredictionType {
    Epsilon,
    Sample,
    Velocity,
    Flow,
}

/// The prediction types of the schedulers of noise-predicting models, by diffusers' names.
pub(crate) const PREDICTION_TYPES: &[(&str, PredictionType)] = &[
    ("epsilon", PredictionType::Epsilon),
    ("sample", PredictionType::Sample),
    ("v_prediction", PredictionType::Velocity),
];

/// The prediction types of the schedulers that take no predicted sample.
pub(crate) const NOISE_OR_VELOCITY: &[(&str, PredictionType)] = &[
    ("epsilon", PredictionType::Epsilon),
    ("v_prediction", PredictionType::Velocity),
];

/// [`PREDICTION_TYPES`] and a flow's.
pub(crate) const PREDICTION_TYPES_AND_FLOW: &[(&str, PredictionType)] = &[
    ("epsilon", PredictionType::Epsilon),
    ("sample", PredictionType::Sample),
    ("v_prediction", PredictionType::Velocity),
    ("flow_prediction", PredictionType::Flow),
];

impl PredictionType {
    /// The estimate of the clean sample from a model's output. For flow, `alpha` is not used: `sigma` is the time.
    pub(crate) fn original(self, output: Tensor<5>, sample: Tensor<5>, alpha: f32, sigma: f32) -> Tensor<5> {
        match self {
            Self::Epsilon => (sample - output * sigma) / alpha,
            Self::Sample => output,
            Self::Velocity => sample * alpha - output * sigma,
            Self::Flow => sample - output * sigma,
        }
    }

    /// The estimate of the noise from a model's output. For flow, that of a path on which `alpha + sigma` is 1.
    pub(crate) fn epsilon(self, output: Tensor<5>, sample: Tensor<5>, alpha: f32, sigma: f32) -> Tensor<5> {
        match self {
            Self::Epsilon => output,
            Self::Sample => epsilon_of(output, sample, alpha, sigma),
            Self::Velocity => output * alpha + sample * sigma,
            Self::Flow => sample + output * alpha,
        }
    }

    /// The estimate of the clean sample where samples are `original + sigma * noise`, the model's input being scaled by
    /// `1 / sqrt(sigma² + 1)`. For a velocity `sigma` is the level before churn, `sigma_hat` the one after.
    pub(crate) fn original_of_unscaled(
        self,
        output: Tensor<5>,
        sample: Tensor<5>,
        sigma: f32,
        sigma_hat: f32,
    ) -> Tensor<5> {
        let variance = sigma * sigma + 1.0;
        match self {
            Self::Epsilon | Self::Flow => sample - output * sigma_hat,
            Self::Sample => output,
            Self::Velocity => output * (-sigma / variance.sqrt()) + sample / variance,
        }
    }
}

/// The noise in a sample, given the clean one.
pub(crate) fn epsilon_of(original: Tensor<5>, sample: Tensor<5>, alpha: f32, sigma: f32) -> Tensor<5> {
    (sample - original * alpha) / sigma
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, Tolerance};

    #[test]
    fn all_types_find_the_same_sample_and_noise() {
        let device = Device::flex();
        let tensor = |values: [f32; 2]| Tensor::<1>::from_floats(values, &device).reshape([1, 1, 1, 1, 2]);
        let (original, noise) = (tensor([0.3, -1.2]), tensor([1.1, 0.4]));
        for (prediction, alpha, sigma) in [
            (PredictionType::Epsilon, 0.8, 0.6),
            (PredictionType::Sample, 0.8, 0.6),
            (PredictionType::Velocity, 0.8, 0.6),
            (PredictionType::Flow, 0.4, 0.6),
        ] {
            let sample = original.clone() * alpha + noise.clone() * sigma;
            let output = match prediction {
                PredictionType::Epsilon => noise.clone(),
                PredictionType::Sample => original.clone(),
                PredictionType::Velocity => noise.clone() * alpha - original.clone() * sigma,
                PredictionType::Flow => noise.clone() - original.clone(),
            };
            let tolerance = Tolerance::<f32>::rel_abs(1e-5, 1e-6);
            let found = prediction.original(output.clone(), sample.clone(), alpha, sigma);
            found.into_data().assert_approx_eq(&original.to_data(), tolerance);
            let found = prediction.epsilon(output, sample, alpha, sigma);
            found.into_data().assert_approx_eq(&noise.to_data(), tolerance);
        }
    }
}
