//! Both forms of KarrasVe: diffusers' own, equal to diffusers 0.42.1 (`scripts/make_sigma_fixtures.py` made the numbers), and the
//! one behind the trait, on models whose exact answer is known.

use crate::common::{self, Fixture, assert_close, peak, values};
use burn::tensor::{Device, Tensor};
use serde_json::{Value, json};
use t2v_schedulers::{KarrasVe, NoiseSource, SchedulerError, SchedulerKind, TorchGenerator, from_config};

/// The networks of `scripts/make_sigma_fixtures.py`.
fn network(kind: &Value, sample: Tensor<5>, sigma: f32) -> Tensor<5> {
    let half = sigma / 2.0;
    if kind == "gaussian" {
        return sample * (-sigma / (sigma * sigma + 1.0));
    }
    (sample + 1.0) / 2.0 * half / (half + 1.0) * half
}

fn check_run(fixture: &Fixture, index: usize, run: &Value) {
    let samples = |key: &str| fixture.samples(&format!("{index}.{key}"));
    let mut scheduler = KarrasVe::from_config(&run["config"]).unwrap();
    let steps = run["steps"].as_u64().unwrap() as usize;
    scheduler.set_timesteps(steps).unwrap();
    let schedule = fixture.f32s(&format!("{index}.schedule"));
    assert_close(scheduler.schedule(), &schedule, 0.0, &format!("{run} schedule"));
    let mut noise = TorchGenerator::new(11);
    let mut sample = noise.normal([1, 2, 3, 2, 2], &Device::flex()) * scheduler.init_noise_sigma();
    assert_close(&values(&sample), &samples("samples")[0], 0.0, "the start");
    let mut scale = peak(&values(&sample));
    for (step, t) in scheduler.timesteps().into_iter().enumerate() {
        let sigma = scheduler.schedule()[t];
        let sigma_prev = if t > 0 { scheduler.schedule()[t - 1] } else { 0.0 };
        let (hat, sigma_hat) = scheduler.add_noise_to_input(sample, sigma, &mut noise).unwrap();
        let output = network(&run["network"], hat.clone(), sigma_hat);
        let mut result = scheduler.step(output, sigma_hat, sigma_prev, hat.clone());
        if sigma_prev != 0.0 {
            let output = network(&run["network"], result.prev_sample.clone(), sigma_prev);
            let (prev, derivative) = (result.prev_sample, result.derivative);
            result = scheduler.step_correct(output, sigma_hat, sigma_prev, hat.clone(), prev, derivative);
        }
        for (key, found) in [
            ("hats", &hat),
            ("derivatives", &result.derivative),
            ("originals", &result.pred_original_sample),
        ] {
            let expected = &samples(key)[step];
            scale = scale.max(peak(expected));
            assert_close(&values(found), expected, scale, &format!("{run}, {key} at {step}"));
        }
        sample = result.prev_sample;
        let expected = &samples("samples")[step + 1];
        scale = scale.max(peak(expected));
        assert_close(&values(&sample), expected, scale, &format!("{run}, step {step}"));
    }
}

#[test]
fn the_native_form_equals_diffusers() {
    let fixture = Fixture::open("karras_ve");
    let runs = fixture.json("runs");
    let runs = runs.as_array().unwrap();
    assert_eq!(runs.len(), 24);
    for (index, run) in runs.iter().enumerate() {
        check_run(&fixture, index, run);
    }
}

#[test]
fn the_native_form_knows_its_limits() {
    let x = Tensor::<5>::ones([1, 1, 1, 2, 2], &Device::flex());
    let mut noise = TorchGenerator::new(0);
    let mut scheduler = KarrasVe::from_config(&json!({})).unwrap();
    let kind = SchedulerKind::KarrasVe;
    let error = scheduler.add_noise_to_input(x, 1.0, &mut noise).unwrap_err();
    assert_eq!(error, SchedulerError::NoTimesteps { kind });
    assert!(scheduler.timesteps().is_empty() && scheduler.set_timesteps(0).is_err());
    scheduler.set_timesteps(1).unwrap();
    assert_eq!(scheduler.schedule(), [10_000.0]);
}

/// Noise levels of the training timesteps, ascending.
fn training_sigmas() -> Vec<f64> {
    let root = |i: f64| 0.00085f64.sqrt() + (0.012f64.sqrt() - 0.00085f64.sqrt()) * i / 999.0;
    let products = (0..1000).scan(1.0, |product, i| {
        *product *= 1.0 - root(f64::from(i)).powi(2);
        Some(*product)
    });
    products.map(|a: f64| ((1.0 - a) / a).sqrt()).collect()
}

/// A model that knows the data: a Gaussian mixture with equal weights and deviations.
struct Exact {
    means: Vec<f64>,
    deviation: f64,
    prediction: &'static str,
    sigmas: Vec<f64>,
}

impl Exact {
    fn new(means: &[f64], deviation: f64, prediction: &'static str) -> Self {
        Self {
            means: means.to_vec(),
            deviation,
            prediction,
            sigmas: training_sigmas(),
        }
    }

    /// The noise level of a fractional timestep.
    fn sigma(&self, t: f64) -> f64 {
        let low = (t as usize).min(998);
        let (a, b) = (self.sigmas[low].ln(), self.sigmas[low + 1].ln());
        (a + (b - a) * (t - low as f64)).exp()
    }

    /// The expected clean value of `x = clean + sigma * noise`.
    fn denoised(&self, x: f64, sigma: f64) -> f64 {
        let (data, variance) = (self.deviation.powi(2), self.deviation.powi(2) + sigma.powi(2));
        let exponent = |mean: &f64| -(x - mean).powi(2) / (2.0 * variance);
        let greatest = self.means.iter().map(exponent).fold(f64::MIN, f64::max);
        let weights: Vec<f64> = self.means.iter().map(|m| (exponent(m) - greatest).exp()).collect();
        let estimates = self.means.iter().map(|mean| mean + data / variance * (x - mean));
        let sum: f64 = estimates
            .zip(&weights)
            .map(|(estimate, weight)| estimate * weight)
            .sum();
        sum / weights.iter().sum::<f64>()
    }

    /// The output for a scaled sample.
    fn output(&self, input: Tensor<5>, t: f64) -> Tensor<5> {
        let sigma = self.sigma(t);
        let scale = (sigma * sigma + 1.0).sqrt();
        let output = values(&input).into_iter().map(|value| {
            let x = f64::from(value) * scale;
            let clean = self.denoised(x, sigma);
            let noise = (x - clean) / sigma;
            let value = match self.prediction {
                "epsilon" => noise,
                "sample" => clean,
                _ => (noise - sigma * clean) / scale,
            };
            value as f32
        });
        common::tensor(&output.collect::<Vec<_>>(), input.dims(), &input.device())
    }

    /// Samples that the scheduler draws with this model.
    fn samples(&self, steps: usize, churn: f64) -> Vec<f64> {
        let config = json!({
            "beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "s_churn": churn,
            "prediction_type": self.prediction,
        });
        let mut scheduler = from_config(SchedulerKind::KarrasVe, &config).unwrap();
        scheduler.set_timesteps(steps).unwrap();
        let mut noise = TorchGenerator::new(steps as u64);
        let mut x = noise.normal([1, 1, 1, 40, 50], &Device::flex()) * scheduler.init_noise_sigma();
        for t in scheduler.timesteps().to_vec() {
            let output = self.output(scheduler.scale_model_input(x.clone(), &mut noise).unwrap(), t);
            x = scheduler.step(output, x, &mut noise).unwrap().prev_sample;
        }
        values(&x).into_iter().map(f64::from).collect()
    }
}

fn mean_and_deviation(values: &[f64]) -> (f64, f64) {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64;
    (mean, variance.sqrt())
}

#[test]
fn a_gaussian_is_sampled_without_noise() {
    for prediction in ["epsilon", "sample", "v_prediction"] {
        let model = Exact::new(&[0.5], 1.0, prediction);
        for steps in 1..=50 {
            let (mean, deviation) = mean_and_deviation(&model.samples(steps, 80.0));
            let least = match steps {
                1 | 2 => 0.0,
                3..10 => 0.55,
                10..20 => 0.8,
                _ => 0.95,
            };
            let what = format!("{prediction}, {steps}: {mean} {deviation}");
            assert!((mean - 0.5).abs() < 0.1 && (least..1.1).contains(&deviation), "{what}");
        }
    }
}

#[test]
fn a_mixture_is_sampled_without_noise() {
    let model = Exact::new(&[-1.0, 1.0], 0.05, "v_prediction");
    for steps in 4..=50 {
        let samples = model.samples(steps, 80.0);
        let errors: Vec<f64> = samples.iter().map(|x| x.abs() - 1.0).collect();
        let rms = (errors.iter().map(|e| e * e).sum::<f64>() / errors.len() as f64).sqrt();
        let positive = samples.iter().filter(|x| **x > 0.0).count();
        let (all, allowed) = (samples.len(), if steps < 8 { 0.12 } else { 0.06 });
        assert!(rms < allowed, "{steps}: {rms}");
        assert!((all * 9 / 20..all * 11 / 20).contains(&positive), "{steps}: {positive}");
    }
}

/// Without churn the sampler solves an equation whose solution for a Gaussian is a scaling.
#[test]
fn without_churn_a_gaussian_follows_its_flow() {
    let model = Exact::new(&[0.5], 1.0, "epsilon");
    let (samples, highest) = (model.samples(50, 0.0), model.sigmas[999]);
    let start = TorchGenerator::new(50).randn(2000);
    for (x, noise) in samples.iter().zip(start) {
        let expected = 0.5 + (f64::from(noise) * highest - 0.5) / (1.0 + highest * highest).sqrt();
        assert!((x - expected).abs() < 0.02, "{x} {expected}");
    }
}

#[test]
fn wrong_options_are_errors_that_name_them() {
    for (config, part) in [
        (json!({"sigma_min": 0}), "sigma_min"),
        (json!({"sigma_min": 2.0, "sigma_max": 1.0}), "sigma_max"),
        (json!({"s_churn": -1}), "s_churn"),
        (json!({"s_noise": "x"}), "s_noise"),
        (json!({"sigma_min": 1e5, "sigma_max": 1e6}), "expected levels from"),
        (json!({"prediction_type": "flow_prediction"}), "prediction_type"),
    ] {
        let text = from_config(SchedulerKind::KarrasVe, &config).unwrap_err().to_string();
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn a_step_needs_the_noise_before_it() {
    let x = Tensor::<5>::ones([1, 1, 1, 2, 2], &Device::flex());
    let mut noise = TorchGenerator::new(0);
    let mut scheduler = from_config(SchedulerKind::KarrasVe, &json!({"sigma_min": null})).unwrap();
    scheduler.set_timesteps(3).unwrap();
    let error = scheduler.step(x.clone(), x, &mut noise).unwrap_err().to_string();
    assert!(error.contains("scale_model_input"), "{error}");
}
