//! What the schedulers of many options refuse, and how they run where diffusers fails.

use crate::common::{assert_close, fake_model, peak, tensor, values};
use burn::tensor::{Device, Tensor};
use serde_json::{Value, json};
use t2v_schedulers::SchedulerKind::{
    Ddim, DdimInverse, Ddpm, DeisMultistep, DpmSolverMultistep, DpmSolverSinglestep, Ipndm, Kdpm2AncestralDiscrete,
    Kdpm2Discrete, Lcm, Pndm, ScoreSdeVe, UniPcMultistep,
};
use t2v_schedulers::{NoiseSource, Schedule, SchedulerKind, TorchGenerator, for_model, from_config};

const SHAPE: [usize; 5] = [1, 2, 2, 2, 2];

fn last_sample(kind: SchedulerKind, config: &Value, steps: usize) -> Vec<f32> {
    let mut scheduler = from_config(kind, config).unwrap();
    scheduler.set_timesteps(steps).unwrap();
    let mut noise = TorchGenerator::new(3);
    let mut sample = noise.normal(SHAPE, &Device::flex()) * scheduler.init_noise_sigma();
    for t in scheduler.timesteps().to_vec() {
        let input = scheduler.scale_model_input(sample.clone(), &mut noise).unwrap();
        sample = scheduler
            .step(fake_model(input, t), sample, &mut noise)
            .unwrap()
            .prev_sample;
    }
    values(&sample)
}

#[test]
fn wrong_options_are_errors_that_name_them() {
    for (kind, config, parts) in [
        (
            Ddpm,
            json!({"variance_type": "odd"}),
            ["variance_type", "\"learned_range\""],
        ),
        (Ddpm, json!({"beta_schedule": "exp"}), ["beta_schedule", "\"laplace\""]),
        (
            Ddim,
            json!({"beta_schedule": "laplace"}),
            ["beta_schedule", "\"linear\""],
        ),
        (
            Pndm,
            json!({"prediction_type": "sample"}),
            ["prediction_type", "\"v_prediction\""],
        ),
        (
            DdimInverse,
            json!({"timestep_spacing": "linspace"}),
            ["timestep_spacing", "\"trailing\""],
        ),
        (
            DpmSolverSinglestep,
            json!({"solver_order": 4}),
            ["solver_order", "from 1 to 3"],
        ),
        (
            DpmSolverSinglestep,
            json!({"algorithm_type": "sde-dpmsolver"}),
            ["algorithm_type", "\"dpmsolver++\""],
        ),
        (
            DpmSolverSinglestep,
            json!({"algorithm_type": "dpmsolver"}),
            ["final_sigmas_type", "\"sigma_min\""],
        ),
        (
            DpmSolverSinglestep,
            json!({"lambda_min_clipped": 99}),
            ["lambda_min_clipped", "no timesteps"],
        ),
        (
            DpmSolverSinglestep,
            json!({"algorithm_type": "dpmsolver", "prediction_type": "flow_prediction", "final_sigmas_type": "sigma_min"}),
            ["prediction_type", "dpmsolver++"],
        ),
        (
            UniPcMultistep,
            json!({"solver_type": "bh3"}),
            ["solver_type", "\"bh2\""],
        ),
        (
            UniPcMultistep,
            json!({"shift_terminal": 0.1}),
            ["shift_terminal", "use_flow_sigmas"],
        ),
        (
            UniPcMultistep,
            json!({"predict_x0": false, "prediction_type": "flow_prediction"}),
            ["prediction_type", "predict_x0"],
        ),
        (UniPcMultistep, json!({"solver_p": {}}), ["_class_name", "missing"]),
        (
            DeisMultistep,
            json!({"algorithm_type": "sde-dpmsolver++"}),
            ["algorithm_type", "\"deis\""],
        ),
        (
            DeisMultistep,
            json!({"solver_type": "x"}),
            ["solver_type", "\"logrho\""],
        ),
        (Ipndm, json!({"trained_betas": [0.5]}), ["trained_betas", "at least 2"]),
        (ScoreSdeVe, json!({"sigma_min": 0}), ["sigma_min", "positive"]),
        (ScoreSdeVe, json!({"sigma_max": 0.001}), ["sigma_max", "sigma_min"]),
        (ScoreSdeVe, json!({"sampling_eps": 2}), ["sampling_eps", "0 to 1"]),
        (
            ScoreSdeVe,
            json!({"correct_steps": -1}),
            ["correct_steps", "from 0 to 100"],
        ),
        (
            Lcm,
            json!({"original_inference_steps": 0}),
            ["original_inference_steps", "from 1 to"],
        ),
    ] {
        let text = from_config(kind, &config).unwrap_err().to_string();
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
    }
}

#[test]
fn schedules_that_cannot_be_made_are_errors() {
    let (flow, karras) = (json!({"use_flow_sigmas": true}), json!({"use_karras_sigmas": true}));
    let both = json!({"use_flow_sigmas": true, "use_karras_sigmas": true});
    let dynamic = json!({"use_flow_sigmas": true, "use_dynamic_shifting": true});
    let linear = json!({"use_dynamic_shifting": true, "time_shift_type": "linear"});
    for (kind, config, schedule, part) in [
        (Ddpm, json!({}), Schedule::steps(1001), "num_train_timesteps"),
        (Ddpm, json!({}), Schedule::timesteps([500.0, 600.0]), "timesteps"),
        (Ddpm, json!({}), Schedule::timesteps([1000.0]), "at most 999"),
        (Ddpm, json!({}), Schedule::sigmas([1.0]), "sigmas"),
        (Pndm, json!({"steps_offset": 10}), Schedule::steps(1000), "steps_offset"),
        (DdimInverse, json!({}), Schedule::steps(1001), "num_train_timesteps"),
        (
            DpmSolverSinglestep,
            karras.clone(),
            Schedule::timesteps([9.0]),
            "use_karras_sigmas",
        ),
        (
            DpmSolverSinglestep,
            json!({}),
            Schedule::steps(5).with_mu(1.0),
            "use_dynamic_shifting",
        ),
        (
            DpmSolverSinglestep,
            linear,
            Schedule::steps(5).with_mu(1.0),
            "time_shift_type",
        ),
        (DeisMultistep, json!({}), Schedule::timesteps([9.0]), "timesteps"),
        (DeisMultistep, both.clone(), Schedule::steps(5), "use_flow_sigmas"),
        (UniPcMultistep, dynamic, Schedule::steps(5), "mu"),
        (UniPcMultistep, karras, Schedule::sigmas([0.9]), "use_flow_sigmas"),
        (UniPcMultistep, both, Schedule::sigmas([0.9]), "use_karras_sigmas"),
        (UniPcMultistep, flow, Schedule::sigmas([]), "at least one step"),
        (Ipndm, json!({}), Schedule::timesteps([0.9]), "timesteps"),
        (ScoreSdeVe, json!({}), Schedule::sigmas([9.0]), "sigmas"),
        (Lcm, json!({}), Schedule::steps(51), "original_inference_steps"),
        (Lcm, json!({}), Schedule::steps(30).with_strength(0.5), "at most 25"),
        (Lcm, json!({}), Schedule::steps(3).with_strength(1.5), "strength"),
        (
            Lcm,
            json!({"num_train_timesteps": 40}),
            Schedule::steps(3),
            "num_train_timesteps",
        ),
    ] {
        let mut scheduler = from_config(kind, &config).unwrap();
        let text = scheduler.set_schedule(&schedule).unwrap_err().to_string();
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn a_learned_variance_needs_twice_the_channels() {
    let mut scheduler = from_config(Ddpm, &json!({"variance_type": "learned"})).unwrap();
    scheduler.set_timesteps(3).unwrap();
    let x = Tensor::<5>::ones(SHAPE, &Device::flex());
    let error = scheduler.step(x.clone(), x, &mut TorchGenerator::new(0)).unwrap_err();
    assert!(error.to_string().contains("4 channels"), "{error}");
}

#[test]
fn pndm_begins_with_runge_kutta_at_any_number_of_steps() {
    for (steps, calls) in [(1, 1), (2, 6), (3, 9), (4, 13), (10, 19)] {
        let mut scheduler = from_config(Pndm, &json!({})).unwrap();
        scheduler.set_timesteps(steps).unwrap();
        // Each Runge-Kutta step is four calls; the multistep ones go on from its end.
        let blocks = (steps - 1).min(3);
        assert_eq!(scheduler.timesteps().len(), 4 * blocks + steps - blocks, "{calls}");
        assert!(
            last_sample(Pndm, &json!({}), steps)
                .iter()
                .all(|value| value.is_finite())
        );
    }
}

#[test]
fn steps_without_a_finite_formula_go_to_their_limit() {
    let clean = last_sample(UniPcMultistep, &json!({}), 6);
    for config in [
        json!({"solver_type": "bh1"}),
        json!({"lower_order_final": false, "solver_order": 3}),
        json!({"predict_x0": false}),
    ] {
        let found = last_sample(UniPcMultistep, &config, 6);
        assert!(found.iter().all(|value| value.is_finite()), "{config}");
        assert_ne!(found, clean, "{config}");
        // One step is the limit alone, whatever the options.
        let (one, plain) = (
            last_sample(UniPcMultistep, &config, 1),
            last_sample(UniPcMultistep, &json!({}), 1),
        );
        assert_close(&one, &plain, peak(&plain), "one step");
    }
    let terminal = json!({"use_flow_sigmas": true, "prediction_type": "flow_prediction", "shift_terminal": 0.1});
    assert!(
        last_sample(UniPcMultistep, &terminal, 1)
            .iter()
            .all(|value| value.is_finite())
    );
}

#[test]
fn an_inversion_by_clean_samples_starts_from_a_finite_noise() {
    let config = json!({"prediction_type": "sample", "clip_sample": false});
    let found = last_sample(DdimInverse, &config, 5);
    assert!(found.iter().all(|value| value.is_finite()), "{found:?}");
}

/// Diffusers' class with whole timesteps ends in an IndexError where the first of them comes twice, but for KDPM2, which
/// ends in NaN (https://github.com/huggingface/diffusers/issues/12771).
#[test]
fn the_first_timestep_never_comes_twice() {
    let cosine = |shape: &str| json!({"beta_schedule": "squaredcos_cap_v2", shape: true});
    let mut sd = cosine("use_beta_sigmas");
    (sd["beta_schedule"], sd["beta_start"], sd["beta_end"]) = (json!("scaled_linear"), json!(0.00085), json!(0.012));
    // From how many steps on the first would come twice: of the multistep DPM-Solver, of the others.
    for (config, multistep, others) in [
        (cosine("use_karras_sigmas"), 4, 6),
        (cosine("use_exponential_sigmas"), 6, 6),
        (cosine("use_beta_sigmas"), 3, 3),
        (sd, 32, 32),
    ] {
        for kind in [DpmSolverMultistep, DpmSolverSinglestep, DeisMultistep, UniPcMultistep] {
            let least = if kind == DpmSolverMultistep { multistep } else { others };
            for steps in 1..=60 {
                let mut scheduler = from_config(kind, &config).unwrap();
                scheduler.set_timesteps(steps).unwrap();
                let (timesteps, what) = (scheduler.timesteps(), format!("{kind} {config} {steps}"));
                let whole = timesteps.iter().all(|t| t.fract() == 0.0);
                assert_eq!(whole, steps < least, "{what}: {timesteps:?}");
                assert_eq!(
                    timesteps.iter().filter(|&&t| t == timesteps[0]).count(),
                    1,
                    "{what}: {timesteps:?}"
                );
                assert!(whole || timesteps.is_sorted_by(|a, b| a > b), "{what}: {timesteps:?}");
                let last = last_sample(kind, &config, steps);
                assert!(last.iter().all(|value| value.is_finite()), "{what}: {last:?}");
            }
        }
    }
    for kind in [Kdpm2Discrete, Kdpm2AncestralDiscrete] {
        let mut scheduler = from_config(kind, &cosine("use_karras_sigmas")).unwrap();
        for steps in 1..=60 {
            scheduler.set_timesteps(steps).unwrap();
            let starts: Vec<f64> = scheduler.timesteps().iter().step_by(2).copied().collect();
            assert!(starts.len() < 2 || starts[0] > starts[1], "{kind} {steps}: {starts:?}");
        }
    }
}

/// The values of the issue.
#[test]
fn twenty_steps_of_karras_on_cosine_betas_are_fractional() {
    let mut scheduler = from_config(
        DpmSolverMultistep,
        &json!({"beta_schedule": "squaredcos_cap_v2", "use_karras_sigmas": true}),
    )
    .unwrap();
    scheduler.set_timesteps(20).unwrap();
    let expected = [
        998.999, 998.903, 998.802, 998.696, 998.583, 998.464, 998.338, 998.203, 998.059,
    ];
    for (found, expected) in scheduler.timesteps().iter().zip(expected) {
        assert!((found - expected).abs() < 2e-3, "{found} {expected}");
    }
}

/// What `docs/schedulers.md` says about `rescale_betas_zero_snr`; diffusers' classes, too, give NaN just there.
#[test]
fn noise_cannot_be_predicted_where_there_is_no_signal() {
    for spacing in ["trailing", "linspace", "leading"] {
        for prediction in ["epsilon", "v_prediction"] {
            let config = json!({
                "rescale_betas_zero_snr": true, "timestep_spacing": spacing, "prediction_type": prediction,
                "clip_sample": false,
            });
            for &kind in SchedulerKind::ALL.iter().filter(|&&kind| kind != DdimInverse) {
                let finite = last_sample(kind, &config, 7).iter().all(|value| value.is_finite());
                let divides = match kind {
                    Ddpm | Ddim => spacing != "leading",
                    // The last training timestep is always on its grid.
                    Lcm => true,
                    _ => false,
                };
                let expected = !(divides && prediction == "epsilon");
                assert_eq!(finite, expected, "{kind} {spacing} {prediction}");
            }
        }
    }
}

#[test]
fn a_fixed_large_log_variance_is_that_of_fixed_large() {
    let [log, plain] =
        ["fixed_large_log", "fixed_large"].map(|name| last_sample(Ddpm, &json!({"variance_type": name}), 7));
    assert_eq!(log, plain);
}

#[test]
fn for_model_differs_for_ipndm_only() {
    let config = json!({"beta_schedule": "scaled_linear", "timestep_spacing": "trailing"});
    for &kind in SchedulerKind::ALL {
        let mut own = from_config(kind, &config).unwrap();
        let mut model = for_model(kind, &config).unwrap();
        own.set_timesteps(5).unwrap();
        model.set_timesteps(5).unwrap();
        assert_eq!(model.kind(), kind);
        assert_eq!(own.timesteps() == model.timesteps(), kind != Ipndm, "{kind}");
    }
    let mut model = for_model(Ipndm, &config).unwrap();
    model.set_timesteps(4).unwrap();
    assert_eq!(model.timesteps(), [999.0, 749.0, 499.0, 249.0]);
}

#[test]
fn inversion_comes_back_to_the_noise_of_ddim() {
    let device = Device::flex();
    let config =
        json!({"clip_sample": false, "beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012});
    let start = tensor(&[1.2, -0.4, 0.3, 2.0], [1, 1, 1, 2, 2], &device);
    let mut noise = TorchGenerator::new(0);
    let mut sample = start.clone();
    // The exact noise in samples of standard normal data.
    let alphas = |t: f64| {
        let beta = |i: f64| (0.00085f64.sqrt() + (0.012f64.sqrt() - 0.00085f64.sqrt()) * i / 999.0).powi(2);
        (0..=t as usize).map(|i| 1.0 - beta(i as f64)).product::<f64>()
    };
    for kind in [Ddim, DdimInverse] {
        let mut scheduler = from_config(kind, &config).unwrap();
        scheduler.set_timesteps(200).unwrap();
        for t in scheduler.timesteps().to_vec() {
            let output = sample.clone() * (1.0 - alphas(t)).sqrt();
            sample = scheduler.step(output, sample, &mut noise).unwrap().prev_sample;
        }
    }
    for (found, expected) in values(&sample).iter().zip(values(&start)) {
        assert!((found - expected).abs() < 0.03 * expected.abs(), "{found} {expected}");
    }
}
