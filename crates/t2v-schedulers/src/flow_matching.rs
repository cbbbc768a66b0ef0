//! The noise levels of flow-matching models, on the path `(1 - sigma) * original + sigma * noise`.
//!
//! Lipman et al., <https://arxiv.org/abs/2210.02747>; the time shift: Esser et al., <https://arxiv.org/abs/2403.03206>,
//! section 5.3.2.

use burn::tensor::Tensor;

use crate::spacing::linspace;

/// Where results are rounded: to single precision, or not at all.
pub(crate) type Round = fn(f64) -> f64;

/// Rounds to single precision.
pub(crate) fn to_single(x: f64) -> f64 {
    f64::from(x as f32)
}

/// Keeps double precision.
pub(crate) fn to_double(x: f64) -> f64 {
    x
}

/// `shift * sigma / (1 + (shift - 1) * sigma)`: more of the steps at high noise if `shift` is above 1.
pub(crate) fn shifted(sigma: f64, shift: f64, round: Round) -> f64 {
    let above = round(round(shift) * sigma);
    round(above / round(1.0 + round(round(shift - 1.0) * sigma)))
}

/// `factor / (factor + (1 / sigma - 1))`, the shift for which a pipeline gives the factor (or its logarithm).
pub(crate) fn time_shifted(sigma: f64, factor: f64, round: Round) -> f64 {
    let odds = round(round(1.0 / sigma) - 1.0);
    let factor = round(factor);
    round(factor / round(factor + odds))
}

/// Even steps from the last training timestep's level to the first one's, which are shifted already.
pub(crate) fn even_levels(num_train: usize, shift: f64, steps: usize) -> Vec<f64> {
    let train = num_train as f64;
    let level = |timestep: f64| shifted(to_single(timestep / train), shift, to_single);
    let timesteps = linspace(level(train) * train, level(1.0) * train, steps);
    timesteps.iter().map(|t| t / train).collect()
}

/// The timesteps of sigmas.
pub(crate) fn timesteps(sigmas: &[f32], num_train: usize) -> Vec<f64> {
    let timestep = |&sigma: &f32| f64::from(sigma * num_train as f32);
    sigmas.iter().map(timestep).collect()
}

/// A sample between `original` and `noise`.
pub(crate) fn noised(original: Tensor<5>, noise: Tensor<5>, sigma: f32) -> Tensor<5> {
    let noise = noise.cast(original.dtype());
    noise * sigma + original * (1.0 - sigma)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_the_shift_agree() {
        for sigma in [0.001, 0.3, 0.9, 1.0] {
            let (a, b) = (shifted(sigma, 3.0, to_double), time_shifted(sigma, 3.0, to_double));
            assert!((a - b).abs() < 1e-12 && a >= sigma, "{sigma}: {a} {b}");
        }
        assert_eq!(time_shifted(0.0, 3.0, to_double), 0.0);
    }

    #[test]
    fn even_steps_go_from_one_to_the_first_timestep() {
        let sigmas = even_levels(1000, 1.0, 4);
        assert_eq!(sigmas[0], 1.0);
        assert!((sigmas[3] - 0.001).abs() < 1e-9 && (sigmas[1] - 0.667).abs() < 1e-9);
    }
}
