//! What every scheduler must do, whatever its algorithm.

use crate::common::{fake_model, values};
use burn::tensor::{DType, Device, Tensor};
use serde_json::{Value, json};
use t2v_schedulers::{
    NoiseSource, Schedule, Scheduler, SchedulerError, SchedulerKind, StepOptions, TorchGenerator, for_model,
    from_config, kind_of_config,
};

const SHAPE: [usize; 5] = [1, 2, 2, 2, 2];

fn zeroscope() -> Value {
    json!({
        "_class_name": "DDIMScheduler", "_diffusers_version": "0.17.0", "beta_end": 0.012, "beta_schedule": "scaled_linear",
        "beta_start": 0.00085, "clip_sample": false, "num_train_timesteps": 1000, "prediction_type": "epsilon",
        "set_alpha_to_one": false, "skip_prk_steps": true, "steps_offset": 1, "trained_betas": null,
    })
}

fn all() -> impl Iterator<Item = Box<dyn Scheduler>> {
    SchedulerKind::ALL
        .iter()
        .map(|&kind| from_config(kind, &zeroscope()).unwrap())
}

/// Whether each model call has a timestep of its own, which falls from call to call.
fn descends(kind: SchedulerKind) -> bool {
    use SchedulerKind::{DdimInverse, Pndm, ScoreSdeVe};
    !matches!(kind, DdimInverse | Pndm | ScoreSdeVe)
}

/// The model calls of a number of steps.
fn calls(scheduler: &dyn Scheduler, steps: usize) -> usize {
    match (scheduler.kind(), scheduler.order()) {
        // The second timestep comes twice.
        (SchedulerKind::Pndm, _) if steps > 1 => steps + 1,
        // Corrector and predictor.
        (SchedulerKind::ScoreSdeVe, order) => steps * order,
        (_, 1) => steps,
        // The last step of a solver with two calls has one.
        (_, order) => order * steps - 1,
    }
}

fn run(scheduler: &mut dyn Scheduler, dtype: DType) -> Vec<f32> {
    let calls = 0..scheduler.timesteps().len();
    run_calls(scheduler, dtype, calls)
}

/// The sample after some of the calls, from noise.
fn run_calls(scheduler: &mut dyn Scheduler, dtype: DType, calls: std::ops::Range<usize>) -> Vec<f32> {
    let device = Device::flex();
    let mut noise = TorchGenerator::new(5);
    let mut sample = (noise.normal(SHAPE, &device) * scheduler.init_noise_sigma()).cast(dtype);
    for index in calls {
        assert_eq!(scheduler.current_index(), Ok(index));
        let t = scheduler.timesteps()[index];
        let input = scheduler.scale_model_input(sample.clone(), &mut noise).unwrap();
        sample = scheduler
            .step(fake_model(input, t), sample, &mut noise)
            .unwrap()
            .prev_sample;
        assert_eq!(sample.dtype(), dtype);
    }
    let data = sample.cast(DType::F32);
    values(&data)
}

#[test]
fn every_number_of_steps_ends_in_finite_values() {
    for mut scheduler in all() {
        for steps in 1..=50 {
            scheduler.set_timesteps(steps).unwrap();
            assert!(
                run(scheduler.as_mut(), DType::F32).iter().all(|v| v.is_finite()),
                "{scheduler:?} {steps}"
            );
        }
    }
}

#[test]
fn timesteps_fall_and_number_the_calls() {
    for mut scheduler in all() {
        assert!(scheduler.timesteps().is_empty());
        for steps in [1, 2, 7, 25, 50] {
            scheduler.set_timesteps(steps).unwrap();
            let timesteps = scheduler.timesteps();
            assert_eq!(timesteps.len(), calls(scheduler.as_ref(), steps));
            assert!(timesteps.iter().all(|t| (0.0..=1000.0).contains(t)), "{timesteps:?}");
            // Churn lifts the first call of a step above the second one of the step before.
            let churns = scheduler.kind() == SchedulerKind::KarrasVe;
            let last_calls = timesteps.iter().skip(usize::from(churns)).step_by(scheduler.order());
            if descends(scheduler.kind()) {
                assert!(last_calls.is_sorted_by(|a, b| a > b), "{timesteps:?}");
                assert!(churns || timesteps.is_sorted_by(|a, b| a >= b), "{timesteps:?}");
            }
        }
    }
}

#[test]
fn setting_timesteps_anew_forgets_everything() {
    for mut scheduler in all() {
        scheduler.set_timesteps(7).unwrap();
        let first = run(scheduler.as_mut(), DType::F32);
        scheduler.set_timesteps(12).unwrap();
        scheduler.set_begin_index(3);
        scheduler.set_timesteps(7).unwrap();
        scheduler.set_timesteps(7).unwrap();
        assert_eq!(run(scheduler.as_mut(), DType::F32), first, "{}", scheduler.kind());
    }
}

/// Configurations in which solvers keep more of a run than by default.
fn with_history() -> [Value; 4] {
    [
        zeroscope(),
        json!({"solver_order": 3, "skip_prk_steps": false, "timestep_spacing": "trailing"}),
        json!({"solver_order": 3, "algorithm_type": "deis", "lower_order_final": false, "final_sigmas_type": "sigma_min"}),
        json!({"solver_p": {"_class_name": "DPMSolverMultistepScheduler", "solver_order": 3}, "correct_steps": 2}),
    ]
}

#[test]
fn a_begin_index_starts_a_new_run_and_forgets_the_one_before() {
    for config in with_history() {
        for &kind in SchedulerKind::ALL {
            for make in [from_config, for_model] {
                let mut scheduler = make(kind, &config).unwrap();
                // A whole number of steps, from which solvers with several calls a step can begin.
                let begin = scheduler.order() * 2;
                scheduler.set_timesteps(7).unwrap();
                let (all, what) = (scheduler.timesteps().len(), format!("{kind} {config}"));
                let first = run(scheduler.as_mut(), DType::F32);
                scheduler.set_begin_index(0);
                assert_eq!(
                    run(scheduler.as_mut(), DType::F32),
                    first,
                    "{what}: again from the start"
                );
                for broken_off_after in 1..=3 {
                    scheduler.set_begin_index(0);
                    run_calls(scheduler.as_mut(), DType::F32, 0..broken_off_after);
                    scheduler.set_begin_index(0);
                    assert_eq!(
                        run(scheduler.as_mut(), DType::F32),
                        first,
                        "{what}: after {broken_off_after} calls"
                    );
                }
                scheduler.set_begin_index(begin);
                let late = run_calls(scheduler.as_mut(), DType::F32, begin..all);
                scheduler.set_timesteps(7).unwrap();
                scheduler.set_begin_index(begin);
                assert_eq!(
                    run_calls(scheduler.as_mut(), DType::F32, begin..all),
                    late,
                    "{what}: from later on"
                );
            }
        }
    }
}

#[test]
fn the_class_asked_for_wins_over_the_one_in_the_file() {
    let named = |class: Value| {
        let mut config = zeroscope();
        config["_class_name"] = class;
        config
    };
    let mut unnamed = zeroscope();
    unnamed.as_object_mut().unwrap().remove("_class_name");
    for &kind in SchedulerKind::ALL {
        let result = |config: &Value| {
            let mut scheduler = from_config(kind, config).unwrap();
            assert_eq!(scheduler.kind(), kind);
            scheduler.set_timesteps(5).unwrap();
            (scheduler.timesteps().to_vec(), run(scheduler.as_mut(), DType::F32))
        };
        let expected = result(&unnamed);
        for class in [
            json!("DDIMScheduler"),
            json!("SomebodysScheduler"),
            json!(["mine", "MyScheduler"]),
        ] {
            assert_eq!(result(&named(class)), expected, "{kind}");
        }
        for class in [json!(3), json!(null), json!({})] {
            let error = from_config(kind, &named(class)).unwrap_err().to_string();
            assert!(error.contains("`_class_name`"), "{error}");
        }
    }
}

#[test]
fn values_that_were_mere_defaults_give_way_to_those_of_the_class_asked_for() {
    use SchedulerKind::{DdimInverse, UniPcMultistep};
    // Diffusers writes all options of the class, and which of them were its own defaults.
    let config = json!({
        "_class_name": "LCMScheduler", "_use_default_values": ["beta_start", "beta_end", "beta_schedule", "num_train_timesteps",
        "solver_order", "sigma_min", "sigma_max", "trained_betas", "set_alpha_to_zero", "solver_p"],
        "beta_start": 0.3, "beta_end": 0.4, "beta_schedule": "scaled_linear", "num_train_timesteps": 7, "solver_order": 3,
        "sigma_min": 5.0, "sigma_max": 6.0, "trained_betas": [0.1, 0.2], "set_alpha_to_zero": false,
        "solver_p": {"_class_name": "DDIMScheduler"},
    });
    for &kind in SchedulerKind::ALL {
        let [mut found, mut expected] = [&config, &json!({})].map(|config| from_config(kind, config).unwrap());
        found.set_timesteps(5).unwrap();
        expected.set_timesteps(5).unwrap();
        assert_eq!(
            run(found.as_mut(), DType::F32),
            run(expected.as_mut(), DType::F32),
            "{kind}"
        );
    }
    for (kind, option) in [
        (DdimInverse, json!({"set_alpha_to_zero": false})),
        (UniPcMultistep, json!({"solver_p": {"_class_name": "DDIMScheduler"}})),
    ] {
        let [mut found, mut expected] = [&option, &json!({})].map(|config| from_config(kind, config).unwrap());
        found.set_timesteps(5).unwrap();
        expected.set_timesteps(5).unwrap();
        assert_ne!(
            run(found.as_mut(), DType::F32),
            run(expected.as_mut(), DType::F32),
            "{kind}"
        );
    }
}

#[test]
fn half_precision_stays_half_precision() {
    for mut scheduler in all() {
        scheduler.set_timesteps(6).unwrap();
        let full = run(scheduler.as_mut(), DType::F32);
        scheduler.set_timesteps(6).unwrap();
        let half = run(scheduler.as_mut(), DType::F16);
        for (a, b) in full.iter().zip(half) {
            assert!((a - b).abs() < 0.02 * a.abs().max(1.0), "{} {a} {b}", scheduler.kind());
        }
    }
}

#[test]
fn noise_grows_with_the_timestep() {
    let device = Device::flex();
    let (zeros, ones) = (Tensor::<5>::zeros(SHAPE, &device), Tensor::<5>::ones(SHAPE, &device));
    for mut scheduler in all() {
        scheduler.set_timesteps(10).unwrap();
        let at = |index| values(&scheduler.add_noise(zeros.clone(), ones.clone(), index).unwrap())[0];
        let count = scheduler.timesteps().len();
        let mut levels: Vec<f32> = (0..count).step_by(scheduler.order()).map(at).collect();
        if scheduler.kind() == SchedulerKind::DdimInverse {
            levels.reverse();
        }
        if !descends(scheduler.kind()) {
            levels.dedup();
        }
        assert!(levels.len() >= 10, "{levels:?}");
        assert!(levels.windows(2).all(|pair| pair[0] > pair[1]), "{levels:?}");
    }
}

#[test]
fn too_many_steps_and_missing_timesteps_are_errors() {
    let x = Tensor::<5>::ones(SHAPE, &Device::flex());
    let mut noise = TorchGenerator::new(0);
    for mut scheduler in all() {
        let kind = scheduler.kind();
        let missing = SchedulerError::NoTimesteps { kind };
        assert_eq!(scheduler.step(x.clone(), x.clone(), &mut noise).unwrap_err(), missing);
        assert_eq!(scheduler.add_noise(x.clone(), x.clone(), 0).unwrap_err(), missing);
        assert_eq!(scheduler.current_index().unwrap_err(), missing);
        assert_eq!(scheduler.scale_model_input(x.clone(), &mut noise).unwrap_err(), missing);
        for steps in [0, 100_001, usize::MAX] {
            let error = scheduler.set_timesteps(steps).unwrap_err();
            // LCM has a grid, and others no more steps than training timesteps.
            let unsupported = matches!(error, SchedulerError::Unsupported { .. }) && kind == SchedulerKind::Lcm;
            assert!(
                matches!(error, SchedulerError::Schedule { .. }) || unsupported,
                "{error}"
            );
        }
        scheduler.set_timesteps(2).unwrap();
        run(scheduler.as_mut(), DType::F32);
        let len = scheduler.timesteps().len();
        let beyond = SchedulerError::IndexOutOfRange { kind, index: len, len };
        assert_eq!(scheduler.current_index().unwrap_err(), beyond);
        assert_eq!(scheduler.scale_model_input(x.clone(), &mut noise).unwrap_err(), beyond);
        assert_eq!(scheduler.step(x.clone(), x.clone(), &mut noise).unwrap_err(), beyond);
        assert_eq!(scheduler.add_noise(x.clone(), x.clone(), len).unwrap_err(), beyond);
    }
}

#[test]
fn a_configuration_names_its_scheduler() {
    assert_eq!(kind_of_config(&zeroscope()), Ok(SchedulerKind::Ddim));
    for (config, part) in [
        (json!({}), "`_class_name` is missing"),
        (json!({"_class_name": 3}), "`_class_name` is 3"),
        (
            json!({"_class_name": "FooScheduler"}),
            "unknown scheduler `FooScheduler`",
        ),
    ] {
        let text = kind_of_config(&config).unwrap_err().to_string();
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn wrong_options_are_errors_that_name_them() {
    use SchedulerKind::{Ddim, DpmSolverMultistep, EulerAncestralDiscrete, EulerDiscrete, HeunDiscrete};
    use SchedulerKind::{FlowMatchEulerDiscrete, FlowMatchHeunDiscrete, Kdpm2Discrete};
    for (kind, config, parts) in [
        (Ddim, json!([]), ["JSON object", "[]"]),
        (
            Ddim,
            json!({"num_train_timesteps": 0}),
            ["num_train_timesteps", "from 1 to 100000"],
        ),
        (
            Ddim,
            json!({"num_train_timesteps": 10.5}),
            ["num_train_timesteps", "10.5"],
        ),
        (
            Ddim,
            json!({"beta_schedule": "sigmoid"}),
            ["beta_schedule", "\"squaredcos_cap_v2\""],
        ),
        (Ddim, json!({"beta_schedule": null}), ["beta_schedule", "\"linear\""]),
        (Ddim, json!({"clip_sample": "yes"}), ["clip_sample", "true or false"]),
        (
            Ddim,
            json!({"prediction_type": "flow_prediction"}),
            ["prediction_type", "\"epsilon\""],
        ),
        (
            Ddim,
            json!({"trained_betas": [0.1, "x"]}),
            ["trained_betas", "list of numbers"],
        ),
        (
            Ddim,
            json!({"trained_betas": [0.1, 0.2]}),
            ["trained_betas", "num_train_timesteps"],
        ),
        (
            Ddim,
            json!({"thresholding": true, "dynamic_thresholding_ratio": 2}),
            ["dynamic_thresholding_ratio", "quantile"],
        ),
        (EulerDiscrete, json!({"beta_start": "0.1"}), ["beta_start", "a number"]),
        (
            EulerDiscrete,
            json!({"timestep_type": "x"}),
            ["timestep_type", "\"continuous\""],
        ),
        (
            EulerDiscrete,
            json!({"interpolation_type": "x"}),
            ["interpolation_type", "\"log_linear\""],
        ),
        (
            EulerDiscrete,
            json!({"use_karras_sigmas": true, "use_beta_sigmas": true}),
            ["use_beta_sigmas", "use_karras_sigmas"],
        ),
        (DpmSolverMultistep, json!({"solver_order": 4}), ["solver_order", "4"]),
        (
            DpmSolverMultistep,
            json!({"algorithm_type": "dpmsolver"}),
            ["final_sigmas_type", "\"sigma_min\""],
        ),
        (
            DpmSolverMultistep,
            json!({"algorithm_type": "sde-dpmsolver", "solver_order": 3, "final_sigmas_type": "sigma_min"}),
            ["solver_order", "sde-dpmsolver"],
        ),
        (
            DpmSolverMultistep,
            json!({"algorithm_type": "dpmsolver", "prediction_type": "flow_prediction", "final_sigmas_type": "sigma_min"}),
            ["prediction_type", "flow_prediction"],
        ),
        (
            DpmSolverMultistep,
            json!({"time_shift_type": "linear"}),
            ["time_shift_type", "\"exponential\""],
        ),
        (
            DpmSolverMultistep,
            json!({"variance_type": "odd"}),
            ["variance_type", "\"learned\""],
        ),
        (
            DpmSolverMultistep,
            json!({"lambda_min_clipped": "x"}),
            ["lambda_min_clipped", "-Infinity"],
        ),
        (
            DpmSolverMultistep,
            json!({"lambda_min_clipped": 99}),
            ["lambda_min_clipped", "no timesteps"],
        ),
        (
            EulerAncestralDiscrete,
            json!({"prediction_type": "sample"}),
            ["prediction_type", "\"v_prediction\""],
        ),
        (
            Kdpm2Discrete,
            json!({"beta_schedule": "exp"}),
            ["beta_schedule", "\"linear\""],
        ),
        (
            HeunDiscrete,
            json!({"use_exponential_sigmas": true, "use_beta_sigmas": true}),
            ["use_beta_sigmas", "use_exponential_sigmas"],
        ),
        (
            FlowMatchEulerDiscrete,
            json!({"time_shift_type": "x"}),
            ["time_shift_type", "\"linear\""],
        ),
        (
            FlowMatchEulerDiscrete,
            json!({"base_shift": "x"}),
            ["base_shift", "a number"],
        ),
        (FlowMatchHeunDiscrete, json!({"shift": null}), ["shift", "a number"]),
    ] {
        let text = from_config(kind, &config).unwrap_err().to_string();
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
    }
}

#[test]
fn schedules_that_cannot_be_made_are_errors() {
    use SchedulerKind::{Ddim, DpmSolverMultistep, EulerDiscrete};
    use SchedulerKind::{FlowMatchEulerDiscrete, FlowMatchHeunDiscrete, HeunDiscrete, LmsDiscrete};
    let karras = json!({"use_karras_sigmas": true});
    let video = json!({"timestep_type": "continuous", "prediction_type": "v_prediction"});
    for (kind, config, schedule, part) in [
        (Ddim, json!({}), Schedule::steps(1001), "num_train_timesteps"),
        (Ddim, json!({"steps_offset": 5}), Schedule::steps(1000), "steps_offset"),
        (Ddim, json!({}), Schedule::timesteps([999.0]), "timesteps"),
        (Ddim, json!({}), Schedule::sigmas([9.0, 0.0]), "sigmas"),
        (Ddim, json!({}), Schedule::steps(5).with_mu(1.0), "mu"),
        (EulerDiscrete, json!({}), Schedule::timesteps([]), "at least one step"),
        (EulerDiscrete, json!({}), Schedule::sigmas([0.0]), "at least one step"),
        (
            EulerDiscrete,
            karras.clone(),
            Schedule::timesteps([999.0]),
            "use_karras_sigmas",
        ),
        (EulerDiscrete, video, Schedule::timesteps([999.0]), "timestep_type"),
        (
            DpmSolverMultistep,
            karras,
            Schedule::timesteps([999.0]),
            "use_karras_sigmas",
        ),
        (
            DpmSolverMultistep,
            json!({"use_lu_lambdas": true}),
            Schedule::timesteps([9.0]),
            "use_lu_lambdas",
        ),
        (
            DpmSolverMultistep,
            json!({"use_flow_sigmas": true}),
            Schedule::timesteps([9.0]),
            "use_flow_sigmas",
        ),
        (DpmSolverMultistep, json!({}), Schedule::sigmas([9.0, 0.0]), "sigmas"),
        (
            HeunDiscrete,
            json!({"use_karras_sigmas": true}),
            Schedule::timesteps([9.0]),
            "use_karras_sigmas",
        ),
        (HeunDiscrete, json!({}), Schedule::sigmas([9.0, 0.0]), "sigmas"),
        (LmsDiscrete, json!({}), Schedule::timesteps([9.0]), "timesteps"),
        (
            FlowMatchEulerDiscrete,
            json!({"use_dynamic_shifting": true}),
            Schedule::steps(5),
            "`mu` must be given",
        ),
        (
            FlowMatchEulerDiscrete,
            json!({"use_exponential_sigmas": true}),
            Schedule::sigmas([1.0, 0.5, 0.0]),
            "above 0",
        ),
        (FlowMatchHeunDiscrete, json!({}), Schedule::steps(5).with_mu(1.0), "mu"),
        (
            DpmSolverMultistep,
            json!({}),
            Schedule::steps(5).with_mu(1.0),
            "use_dynamic_shifting",
        ),
    ] {
        let text = from_config(kind, &config)
            .unwrap()
            .set_schedule(&schedule)
            .unwrap_err()
            .to_string();
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn other_schedulers_configurations_are_taken() {
    let deis = json!({
        "_class_name": "DEISMultistepScheduler", "algorithm_type": "deis", "solver_type": "logrho", "solver_order": 2,
    });
    let ddpm = json!({"_class_name": "DDPMScheduler", "variance_type": "fixed_small", "clip_sample": true, "foo": [1]});
    for config in [
        deis,
        ddpm,
        json!({"lambda_min_clipped": "-Infinity", "use_karras_sigmas": null}),
    ] {
        for &kind in SchedulerKind::ALL {
            let mut scheduler = from_config(kind, &config).unwrap();
            scheduler.set_timesteps(3).unwrap();
            assert_eq!(scheduler.kind(), kind);
        }
    }
}

#[test]
fn one_training_timestep_is_enough() {
    use SchedulerKind::{EulerAncestralDiscrete, EulerDiscrete, FlowMatchEulerDiscrete, FlowMatchHeunDiscrete};
    use SchedulerKind::{HeunDiscrete, KarrasVe, Kdpm2AncestralDiscrete, Kdpm2Discrete, LmsDiscrete};
    let config = json!({"num_train_timesteps": 1, "beta_start": 0.5, "beta_end": 0.5, "use_karras_sigmas": true});
    for kind in [
        LmsDiscrete,
        EulerDiscrete,
        EulerAncestralDiscrete,
        HeunDiscrete,
        Kdpm2Discrete,
        Kdpm2AncestralDiscrete,
        KarrasVe,
        FlowMatchEulerDiscrete,
        FlowMatchHeunDiscrete,
    ] {
        let mut scheduler = from_config(kind, &config).unwrap();
        scheduler.set_timesteps(1).unwrap();
        let timesteps = scheduler.timesteps();
        assert!(
            timesteps.iter().all(|t| (0.0..=1.0).contains(t)),
            "{kind}: {timesteps:?}"
        );
        assert!(
            run(scheduler.as_mut(), DType::F32).iter().all(|v| v.is_finite()),
            "{kind}"
        );
    }
}

#[test]
fn a_multistep_method_needs_an_order() {
    let x = Tensor::<5>::ones(SHAPE, &Device::flex());
    let mut scheduler = from_config(SchedulerKind::LmsDiscrete, &zeroscope()).unwrap();
    let mut options = StepOptions::default();
    options.order = 0;
    scheduler.set_step_options(options);
    scheduler.set_timesteps(3).unwrap();
    let error = scheduler.step(x.clone(), x, &mut TorchGenerator::new(0)).unwrap_err();
    assert!(error.to_string().contains("`order` is 0"), "{error}");
}
