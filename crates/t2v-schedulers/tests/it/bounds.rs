//! Configurations with numbers that nobody means give results or errors, and neither panic nor exhaust the memory.

use std::time::{Duration, Instant};

use crate::common::{fake_model, values};
use burn::tensor::{Device, Tensor};
use serde_json::{Value, json};
use t2v_schedulers::{
    KarrasVe, NoiseSource, Scheduler, SchedulerError, SchedulerKind, ScoreSdeVe, TorchGenerator, for_model, from_config,
};

const SHAPE: [usize; 5] = [1, 1, 1, 1, 2];

/// Every option of diffusers' classes that is a number, or a list of them, and those of a file that others heed.
const NUMBERS: &[&str] = &[
    "num_train_timesteps",
    "beta_start",
    "beta_end",
    "steps_offset",
    "clip_sample_range",
    "dynamic_thresholding_ratio",
    "sample_max_value",
    "solver_order",
    "lower_order_final",
    "flow_shift",
    "lambda_min_clipped",
    "sigma_min",
    "sigma_max",
    "shift_terminal",
    "s_noise",
    "s_churn",
    "s_min",
    "s_max",
    "snr",
    "sampling_eps",
    "correct_steps",
    "original_inference_steps",
    "timestep_scaling",
    "shift",
    "base_shift",
    "max_shift",
    "base_image_seq_len",
    "max_image_seq_len",
];

/// Options under which the numbers matter in other ways.
fn switches() -> [Value; 10] {
    [
        json!({}),
        json!({"use_karras_sigmas": true}),
        json!({"use_exponential_sigmas": true}),
        json!({"use_beta_sigmas": true, "beta_schedule": "squaredcos_cap_v2"}),
        json!({"use_flow_sigmas": true, "prediction_type": "flow_prediction"}),
        json!({"use_lu_lambdas": true, "timestep_spacing": "trailing", "final_sigmas_type": "sigma_min"}),
        json!({"thresholding": true, "clip_sample": true, "timestep_spacing": "leading"}),
        json!({"rescale_betas_zero_snr": true, "timestep_spacing": "trailing", "interpolation_type": "log_linear"}),
        json!({"beta_schedule": "scaled_linear", "skip_prk_steps": true, "lower_order_final": false, "solver_type": "bh1"}),
        json!({"timestep_type": "continuous", "prediction_type": "v_prediction", "algorithm_type": "sde-dpmsolver++"}),
    ]
}

fn strange() -> Vec<Value> {
    let huge = 1u64 << 63;
    vec![
        json!(0),
        json!(1),
        json!(3),
        json!(1e9 as u64),
        json!(huge),
        json!(u64::MAX),
        json!(-1),
        json!(1e308),
        json!(0.5),
    ]
}

fn run(mut scheduler: Box<dyn Scheduler>, steps: usize) -> Result<Vec<f32>, SchedulerError> {
    scheduler.set_timesteps(steps)?;
    let mut noise = TorchGenerator::new(5);
    let mut sample = noise.normal(SHAPE, &Device::flex()) * scheduler.init_noise_sigma();
    scheduler.add_noise(sample.clone(), sample.clone(), 0)?;
    assert!(!scheduler.timesteps().is_empty());
    // The calls of 101 corrector steps add nothing to those of the first ones.
    for t in scheduler.timesteps().iter().copied().take(120).collect::<Vec<_>>() {
        let input = scheduler.scale_model_input(sample.clone(), &mut noise)?;
        sample = scheduler.step(fake_model(input, t), sample, &mut noise)?.prev_sample;
    }
    let _ = scheduler.sigmas();
    Ok(values(&sample))
}

/// Whether the scheduler knows an option: whether a value of a wrong type is an error.
fn knows(kind: SchedulerKind, key: &str) -> bool {
    from_config(kind, &json!({key: "?"})).is_err()
}

#[test]
fn strange_numbers_are_results_or_errors() {
    let begin = Instant::now();
    let (mut results, mut errors) = (0, 0);
    for &kind in SchedulerKind::ALL {
        for key in NUMBERS.iter().filter(|key| knows(kind, key)) {
            for value in strange() {
                for (at, mut config) in switches().into_iter().enumerate() {
                    config[*key] = value.clone();
                    let steps: &[usize] = if at == 0 { &[1, 2, 7, 50] } else { &[1, 7] };
                    for &steps in steps {
                        let make = if at == 0 { for_model } else { from_config };
                        match make(kind, &config).and_then(|scheduler| run(scheduler, steps)) {
                            Ok(_) => results += 1,
                            Err(error) => {
                                errors += 1;
                                assert!(!error.to_string().is_empty());
                            }
                        }
                    }
                }
            }
        }
    }
    assert!(results > 5_000 && errors > 2_000, "{results} results, {errors} errors");
    assert!(begin.elapsed() < Duration::from_secs(120), "{:?}", begin.elapsed());
}

#[test]
fn sizes_out_of_range_name_the_key_and_the_range() {
    for (key, range) in [
        ("num_train_timesteps", "1 to 100000"),
        ("steps_offset", "0 to 100000"),
        ("solver_order", "1 to "),
        ("correct_steps", "0 to 100"),
        ("original_inference_steps", "1 to 100000"),
    ] {
        let kinds: Vec<_> = SchedulerKind::ALL.iter().filter(|&&kind| knows(kind, key)).collect();
        assert!(!kinds.is_empty(), "{key}");
        for &kind in kinds {
            for value in [
                json!(1_000_000_000u64),
                json!(1u64 << 63),
                json!(u64::MAX),
                json!(-1),
                json!(1e308),
            ] {
                let text = from_config(kind, &json!({key: value})).unwrap_err().to_string();
                let parts = [kind.class_name(), key, "a whole number from", range];
                assert!(parts.iter().all(|part| text.contains(part)), "{text}");
            }
        }
    }
}

#[test]
fn variances_of_noise_are_between_0_and_1() {
    for &kind in SchedulerKind::ALL.iter().filter(|&&kind| knows(kind, "beta_start")) {
        for (config, part) in [
            (json!({"beta_start": -0.1}), "`beta_start` is -0.1, expected 0 to 1"),
            (json!({"beta_end": 1.5}), "`beta_end` is 1.5, expected 0 to 1"),
            (
                json!({"trained_betas": [0.1, 2.0], "num_train_timesteps": 2}),
                "`trained_betas` has 2",
            ),
        ] {
            let text = from_config(kind, &config).unwrap_err().to_string();
            assert!(text.contains(part), "{text}");
        }
        // Here the ends have no effect.
        assert!(from_config(kind, &json!({"beta_schedule": "squaredcos_cap_v2", "beta_end": 1.5})).is_ok());
    }
    let text = from_config(SchedulerKind::Ddim, &json!({"clip_sample_range": -1}))
        .unwrap_err()
        .to_string();
    assert!(
        text.contains("`clip_sample_range` is -1, expected at least 0"),
        "{text}"
    );
}

#[test]
fn diffusers_own_forms_take_strange_numbers_too() {
    let x = Tensor::<5>::ones(SHAPE, &Device::flex());
    for key in NUMBERS {
        for value in strange() {
            let (config, mut noise) = (json!({*key: value}), TorchGenerator::new(0));
            for steps in [1, 2, 7, 50] {
                if let Ok(mut karras) = KarrasVe::from_config(&config) {
                    karras.set_timesteps(steps).unwrap();
                    let (hat, sigma_hat) = karras
                        .add_noise_to_input(x.clone(), karras.schedule()[0], &mut noise)
                        .unwrap();
                    let _ = karras.step(x.clone(), sigma_hat, 0.0, hat);
                }
                if let Ok(mut sde) = ScoreSdeVe::from_config(&config) {
                    sde.set_timesteps(steps, None).unwrap();
                    sde.set_sigmas(steps, None, None, None).unwrap();
                    for &t in sde.timesteps() {
                        let _ = sde.step_pred(x.clone(), t, x.clone(), &mut noise);
                    }
                }
            }
        }
    }
}
