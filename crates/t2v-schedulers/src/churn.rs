//! Churn: noise that is added before a step, and the level to which it lifts the sample.
//!
//! Karras et al., <https://arxiv.org/abs/2206.00364>, Algorithm 2, lines 4 to 6.

use burn::tensor::{DType, Tensor};

use crate::scheduler::{NoiseSource, StepOptions};

/// How much `s_churn` lets the noise level grow in one of `steps` steps, as a share of it.
pub(crate) fn gamma(s_churn: f64, steps: usize) -> f64 {
    (s_churn / steps as f64).min(std::f64::consts::SQRT_2 - 1.0)
}

/// The noise level to which the options lift `sigma`; `steps` is diffusers' count of steps.
pub(crate) fn sigma_hat(options: &StepOptions, sigma: f32, steps: usize) -> Option<f32> {
    let inside = (options.s_tmin as f32..=options.s_tmax as f32).contains(&sigma);
    let gamma = if inside { gamma(options.s_churn, steps) } else { 0.0 };
    (gamma > 0.0).then_some(sigma * (gamma + 1.0) as f32)
}

/// Adds the noise between two levels, of standard deviation `s_noise` times the exact one.
pub(crate) fn add(
    sample: Tensor<5>,
    sigma: f32,
    sigma_hat: f32,
    s_noise: f64,
    noise: &mut dyn NoiseSource,
) -> Tensor<5> {
    let fresh = noise.normal(sample.dims(), &sample.device()).cast(DType::F32);
    sample + fresh * s_noise * (sigma_hat * sigma_hat - sigma * sigma).sqrt()
}
