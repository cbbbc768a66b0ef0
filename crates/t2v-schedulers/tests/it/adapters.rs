//! IPNDM and ScoreSdeVe on a model's noise levels, with the exact denoiser of a known distribution as the model.

use crate::common::values;
use burn::tensor::{Device, Tensor};
use serde_json::{Value, json};
use t2v_schedulers::{NoiseSource, SchedulerKind, TorchGenerator, for_model};

const SHAPE: [usize; 5] = [1, 4, 4, 16, 16];

fn config(prediction: &str) -> Value {
    json!({
        "beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "prediction_type": prediction,
        "steps_offset": 1, "clip_sample": false,
    })
}

/// `sqrt((1 - a) / a)` at a timestep, which may lie between two: then its logarithm is interpolated.
fn sigma(timestep: f64) -> f64 {
    let beta = |i: f64| (0.00085f64.sqrt() + (0.012f64.sqrt() - 0.00085f64.sqrt()) * i / 999.0).powi(2);
    let at = |t: usize| {
        let product: f64 = (0..=t).map(|i| 1.0 - beta(i as f64)).product();
        ((1.0 - product) / product).sqrt()
    };
    let low = timestep.floor();
    let (below, above) = (at(low as usize).ln(), at((low as usize + 1).min(999)).ln());
    (below + (above - below) * (timestep - low)).exp()
}

/// Equal parts of two normal distributions, around `centre` and `-centre`.
struct Mixture {
    centre: f64,
    deviation: f64,
}

impl Mixture {
    /// The mean of the clean sample, given one at a noise level.
    fn denoised(&self, sample: Tensor<5>, sigma: f64) -> Tensor<5> {
        let (prior, total) = (self.deviation.powi(2), self.deviation.powi(2) + sigma.powi(2));
        let side = (sample.clone() * (self.centre / total)).tanh() * self.centre;
        (sample * prior + side * sigma.powi(2)) / total
    }

    /// The model: what it predicts for a scaled sample.
    fn predict(&self, input: Tensor<5>, timestep: f64, prediction: &str) -> Tensor<5> {
        let sigma = sigma(timestep);
        let alpha = 1.0 / (sigma * sigma + 1.0).sqrt();
        let original = self.denoised(input.clone() / alpha, sigma);
        let noise = (input - original.clone() * alpha) / (alpha * sigma);
        match prediction {
            "epsilon" => noise,
            "sample" => original,
            _ => noise * alpha - original * (alpha * sigma),
        }
    }
}

fn generate(kind: SchedulerKind, data: &Mixture, prediction: &str, steps: usize) -> (Vec<f32>, Vec<f32>) {
    let mut scheduler = for_model(kind, &config(prediction)).unwrap();
    let mut noise = TorchGenerator::new(1);
    scheduler.set_timesteps(steps).unwrap();
    let start = noise.normal(SHAPE, &Device::flex()) * scheduler.init_noise_sigma();
    let mut sample = start.clone();
    for t in scheduler.timesteps().to_vec() {
        let input = scheduler.scale_model_input(sample.clone(), &mut noise).unwrap();
        let output = data.predict(input, t, prediction);
        sample = scheduler.step(output, sample, &mut noise).unwrap().prev_sample;
    }
    (values(&start), values(&sample))
}

fn moments(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let count = values.clone().count() as f64;
    let mean = values.clone().sum::<f64>() / count;
    (
        mean,
        (values.map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt(),
    )
}

/// The root mean square of the distance to the solution of the probability-flow ODE for normal data.
fn ode_error(kind: SchedulerKind, deviation: f64, steps: usize) -> f64 {
    let data = Mixture { centre: 0.0, deviation };
    let mut scheduler = for_model(kind, &config("epsilon")).unwrap();
    scheduler.set_timesteps(steps).unwrap();
    let from = sigma(scheduler.timesteps()[0]);
    let ratio = deviation * ((from * from + 1.0) / (deviation * deviation + from * from)).sqrt();
    let (start, found) = generate(kind, &data, "epsilon", steps);
    let errors = start
        .iter()
        .zip(&found)
        .map(|(&x, &y)| (f64::from(x) * ratio - f64::from(y)).powi(2));
    (errors.sum::<f64>() / found.len() as f64).sqrt()
}

/// The mean, and the mean and the deviation of the sizes.
fn shape_of(samples: &[f32]) -> (f64, f64, f64) {
    let (mean, _) = moments(samples.iter().map(|&value| f64::from(value)));
    let (size, spread) = moments(samples.iter().map(|&value| f64::from(value.abs())));
    (mean, size, spread)
}

#[test]
fn ipndm_solves_the_flow_of_normal_data() {
    for (deviation, limits) in [
        (0.2, [0.08, 0.04, 0.01]),
        (0.5, [0.05, 0.002, 0.002]),
        (1.5, [0.07, 0.02, 0.003]),
    ] {
        for (steps, limit) in [5, 10, 20].into_iter().zip(limits) {
            let error = ode_error(SchedulerKind::Ipndm, deviation, steps);
            assert!(error < limit, "{deviation} {steps}: {error}");
            let ddim = ode_error(SchedulerKind::Ddim, deviation, steps);
            assert!(error < 0.65 * ddim, "{deviation} {steps}: {error}, by DDIM {ddim}");
        }
        // Well beyond second order, until single precision is reached.
        let [coarse, fine] = [25, 50].map(|steps| ode_error(SchedulerKind::Ipndm, deviation, steps));
        assert!(fine < 0.3 * coarse, "{deviation}: {coarse} {fine}");
    }
}

#[test]
fn one_step_is_the_mean_of_the_data() {
    let data = Mixture {
        centre: 1.0,
        deviation: 0.1,
    };
    for kind in [SchedulerKind::Ipndm, SchedulerKind::ScoreSdeVe] {
        let (mean, size, _) = shape_of(&generate(kind, &data, "epsilon", 1).1);
        assert!(mean.abs() < 0.01 && size < 0.1, "{kind}: {mean} {size}");
    }
}

#[test]
fn both_sides_of_a_mixture_are_found_in_equal_parts() {
    let data = Mixture {
        centre: 1.0,
        deviation: 0.1,
    };
    for kind in [SchedulerKind::Ipndm, SchedulerKind::ScoreSdeVe] {
        for (steps, off, most) in [(5, 0.1, 0.3), (10, 0.03, 0.22), (20, 0.01, 0.16), (50, 0.01, 0.11)] {
            for prediction in ["epsilon", "sample", "v_prediction"] {
                let (mean, size, spread) = shape_of(&generate(kind, &data, prediction, steps).1);
                let what = format!("{kind} {steps} {prediction}: {mean} {size} {spread}");
                assert!(mean.abs() < 0.05 && (size - 1.0).abs() < off, "{what}");
                assert!((0.06..most).contains(&spread), "{what}");
            }
        }
    }
}

#[test]
fn no_noise_is_left_by_the_stochastic_sampler() {
    for deviation in [0.1, 0.3, 1.0] {
        for steps in 1..=50 {
            let data = Mixture { centre: 0.0, deviation };
            let found = generate(SchedulerKind::ScoreSdeVe, &data, "epsilon", steps).1;
            let (mean, spread) = moments(found.iter().map(|&value| f64::from(value)));
            assert!(mean.abs() < 0.05 * deviation, "{deviation} {steps}: {mean}");
            assert!(spread < 1.1 * deviation, "{deviation} {steps}: {spread}");
            if steps >= 15 {
                assert!(spread > 0.8 * deviation, "{deviation} {steps}: {spread}");
            }
        }
    }
}
