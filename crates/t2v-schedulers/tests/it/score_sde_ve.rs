//! [`ScoreSdeVe`] with diffusers' calls, in the loop of diffusers' pipeline.

use crate::common::{Fixture, assert_close, peak, tensor, values};
use burn::tensor::{Device, Tensor};
use serde_json::{Value, json};
use t2v_schedulers::{NoiseSource, SchedulerError, ScoreSdeVe, TorchGenerator};

const SHAPE: [usize; 5] = [1, 2, 3, 2, 2];

/// The same function as in `scripts/make_solver_fixtures.py`.
fn score(x: Tensor<5>, sigma: f64) -> Tensor<5> {
    x * sigma / (sigma + 1.0)
}

fn assert_equal(found: &[f64], expected: &[f64], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (a, b) in found.iter().zip(expected) {
        assert!((a - b).abs() <= 1e-6 * b.abs(), "{what}: {a}, expected {b}");
    }
}

fn check(fixture: &Fixture, index: usize, run: &Value) {
    let what = format!("run {index}, {run}");
    let part = |name: &str| format!("{index}.{name}");
    let mut scheduler = ScoreSdeVe::from_config(&run["config"]).unwrap();
    let steps = run["steps"].as_u64().unwrap() as usize;
    scheduler.set_timesteps(steps, None).unwrap();
    scheduler.set_sigmas(steps, None, None, None).unwrap();
    assert_equal(scheduler.timesteps(), &fixture.f64s(&part("timesteps")), &what);
    assert_equal(scheduler.sigmas(), &fixture.f64s(&part("sigmas")), &what);
    assert_equal(
        &[scheduler.init_noise_sigma()],
        &[run["init_noise_sigma"].as_f64().unwrap()],
        &what,
    );
    let mut noise = TorchGenerator::new(11);
    let mut sample = noise.normal(SHAPE, &Device::flex()) * (scheduler.init_noise_sigma() * 1e-3);
    let (samples, means) = (fixture.samples(&part("samples")), fixture.samples(&part("means")));
    let mut expected = samples.iter();
    // Compares and goes on from diffusers' sample, since a score that grows with the sample enlarges errors.
    let mut compare = |sample: &Tensor<5>, scale: f32, what: &str| {
        let next = expected.next().unwrap();
        assert_close(&values(sample), next, peak(next).max(scale), what);
        tensor(next, SHAPE, &Device::flex())
    };
    sample = compare(&sample, 0.0, &what);
    for (step, (&t, &sigma)) in scheduler.timesteps().iter().zip(scheduler.sigmas()).enumerate() {
        let what = format!("{what}, step {step}");
        for _ in 0..scheduler.correct_steps() {
            let corrected = scheduler.step_correct(score(sample.clone(), sigma), sample, &mut noise);
            sample = compare(&corrected, 0.0, &what);
        }
        let output = score(sample.clone(), sigma);
        let result = scheduler.step_pred(output, t, sample, &mut noise).unwrap();
        assert_close(
            &values(&result.prev_sample_mean),
            &means[step],
            peak(&means[step]),
            &what,
        );
        // A sum of the mean and of noise of at most this level, before it is bounded.
        let scale = peak(&means[step]).max(3.0 * sigma as f32);
        sample = compare(&result.prev_sample.tanh(), scale, &what);
    }
    let noise = noise.normal([1, 2, 1, 2, 2], &Device::flex());
    let noised = scheduler.add_noise(noise.ones_like(), noise, steps / 2).unwrap();
    let expected = fixture.f32s(&part("noised"));
    assert_close(&values(&noised), &expected, peak(&expected), &what);
}

#[test]
fn the_loop_of_diffusers() {
    let fixture = Fixture::open("score_sde_ve");
    let runs = fixture.json("runs");
    let runs = runs.as_array().unwrap();
    assert_eq!(runs.len(), 24);
    for (index, run) in runs.iter().enumerate() {
        check(&fixture, index, run);
    }
}

#[test]
fn arguments_take_the_place_of_options() {
    let fixture = Fixture::open("score_sde_ve");
    let mut scheduler = ScoreSdeVe::from_config(&json!({})).unwrap();
    assert_eq!((scheduler.timesteps().len(), scheduler.sigmas().len()), (2000, 2000));
    scheduler.set_timesteps(7, Some(0.2)).unwrap();
    scheduler.set_sigmas(7, Some(0.5), Some(20.0), None).unwrap();
    assert_equal(scheduler.timesteps(), &fixture.f64s("given.timesteps"), "timesteps");
    assert_equal(scheduler.sigmas(), &fixture.f64s("given.sigmas"), "sigmas");
}

#[test]
fn what_cannot_be_is_an_error_and_no_score_is_no_step() {
    let x = Tensor::<5>::ones(SHAPE, &Device::flex());
    let mut noise = TorchGenerator::new(0);
    let mut scheduler = ScoreSdeVe::from_config(&json!({})).unwrap();
    assert!(matches!(
        scheduler.set_timesteps(0, None),
        Err(SchedulerError::Schedule { .. })
    ));
    scheduler.set_sigmas(3, None, None, None).unwrap();
    assert!(matches!(
        scheduler.step_pred(x.clone(), 1.0, x.clone(), &mut noise),
        Err(SchedulerError::IndexOutOfRange {
            index: 1999,
            len: 3,
            ..
        })
    ));
    let still = scheduler.step_correct(x.zeros_like(), x.clone(), &mut noise);
    assert_eq!(values(&still), values(&x));
}
