//! Trajectories equal to those of diffusers 0.42.1; `scripts/make_fixtures.py` and `make_sigma_fixtures.py` made them.

use std::path::Path;

use crate::common::{Fixture, assert_close, fake_model, peak, tensor, values};
use burn::tensor::Tensor;
use serde_json::Value;
use t2v_schedulers::{NoiseSource, Schedule, Scheduler, SchedulerKind, StepOptions, TorchGenerator, from_config};

fn numbers(value: &Value) -> Vec<f64> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|number| number.as_f64().unwrap())
        .collect()
}

fn schedule(run: &Value) -> Schedule {
    let wanted = &run["schedule"];
    let schedule = match (wanted.get("timesteps"), wanted.get("sigmas")) {
        (Some(timesteps), _) => Schedule::timesteps(numbers(timesteps)),
        (_, Some(sigmas)) => Schedule::sigmas(numbers(sigmas)),
        _ => Schedule::steps(wanted["steps"].as_u64().unwrap() as usize),
    };
    let schedule = match wanted.get("original_inference_steps").and_then(Value::as_u64) {
        Some(steps) => schedule.with_original_inference_steps(steps as usize),
        None => schedule,
    };
    let schedule = match wanted.get("strength").and_then(Value::as_f64) {
        Some(strength) => schedule.with_strength(strength),
        None => schedule,
    };
    match wanted.get("mu").and_then(Value::as_f64) {
        Some(mu) => schedule.with_mu(mu),
        None => schedule,
    }
}

fn options(run: &Value) -> StepOptions {
    let mut options = StepOptions::default();
    for (key, value) in run.get("options").and_then(Value::as_object).into_iter().flatten() {
        match key.as_str() {
            "eta" => options.eta = value.as_f64().unwrap(),
            "use_clipped_model_output" => options.use_clipped_model_output = value.as_bool().unwrap(),
            "s_churn" => options.s_churn = value.as_f64().unwrap(),
            "s_tmin" => options.s_tmin = value.as_f64().unwrap(),
            "s_tmax" => options.s_tmax = value.as_f64().unwrap(),
            "s_noise" => options.s_noise = value.as_f64().unwrap(),
            "order" => options.order = value.as_u64().unwrap() as usize,
            other => panic!("unknown step option {other}"),
        }
    }
    options
}

fn scheduler(run: &Value) -> Box<dyn Scheduler> {
    let kind: SchedulerKind = run["class"].as_str().unwrap().parse().unwrap();
    let mut scheduler = from_config(kind, &run["config"]).unwrap();
    scheduler.set_step_options(options(run));
    scheduler.set_schedule(&schedule(run)).unwrap();
    scheduler
}

fn shape(run: &Value) -> [usize; 5] {
    let shape: Vec<usize> = numbers(&run["shape"]).iter().map(|&size| size as usize).collect();
    shape.try_into().unwrap()
}

/// Whether timesteps are equal but for the last bits of the logarithms that some come from, which weigh most near 0.
fn same_timestep(found: f64, expected: f64) -> bool {
    (found - expected).abs() <= 1e-6 * expected.abs().max(10.0)
}

/// Repeats one run and compares all of it.
fn check(fixture: &Fixture, index: usize, run: &Value) {
    let what = format!("run {index}, {} {} {}", run["class"], run["config"], run["schedule"]);
    let mut scheduler = scheduler(run);
    let expected = fixture.f64s(&format!("{index}.timesteps"));
    assert_eq!(scheduler.timesteps().len(), expected.len(), "{what}");
    for (&found, expected) in scheduler.timesteps().iter().zip(expected) {
        assert!(
            same_timestep(found, expected),
            "{what}: timestep {found}, expected {expected}"
        );
    }
    let sigma = run["init_noise_sigma"].as_f64().unwrap();
    let close = (scheduler.init_noise_sigma() - sigma).abs() <= 1e-6 * sigma;
    assert!(close, "{what}: init_noise_sigma");
    for forced in [true, false] {
        scheduler.set_schedule(&schedule(run)).unwrap();
        let mut noise = TorchGenerator::new(run["seed"].as_u64().unwrap());
        check_trajectory(fixture, index, run, scheduler.as_mut(), &mut noise, forced);
        check_noised(fixture, index, run, &mut noise, &what);
    }
}

/// Compares the samples and the estimates of the clean sample.
///
/// If `forced`, each step goes on from diffusers' sample, and errors count against the values of that step alone. If not,
/// it goes on from this crate's own, and errors count against the greatest value since the start.
fn check_trajectory(
    fixture: &Fixture,
    index: usize,
    run: &Value,
    scheduler: &mut dyn Scheduler,
    noise: &mut TorchGenerator,
    forced: bool,
) {
    let what = format!("run {index}, {run}, forced {forced}");
    let samples = fixture.samples(&format!("{index}.samples"));
    let begin = run.get("begin").and_then(Value::as_u64).unwrap_or(0) as usize;
    scheduler.set_begin_index(begin);
    let timesteps = scheduler.timesteps()[begin..].to_vec();
    let variance = run["config"]["variance_type"].as_str();
    let learned = matches!(variance, Some("learned" | "learned_range"));
    let originals = format!("{index}.originals");
    let originals = fixture.has(&originals).then(|| fixture.samples(&originals));
    assert_eq!(samples.len(), timesteps.len() + 1, "{what}");
    let mut sample = noise.normal(shape(run), &t2v_test_support::device()) * scheduler.init_noise_sigma();
    assert_close(&values(&sample), &samples[0], 0.0, &what);
    let mut scale = 0f32;
    for (step, t) in timesteps.into_iter().enumerate() {
        let input = scheduler.scale_model_input(sample.clone(), noise).unwrap();
        let mut output = fake_model(input, t);
        if learned {
            output = Tensor::cat(vec![output.clone(), output.abs() * 0.3], 1);
        }
        let result = scheduler.step(output, sample, noise).unwrap();
        sample = result.prev_sample;
        let what = format!("{what}, step {step}");
        let size = slack(run) * peak(&samples[step]).max(peak(&samples[step + 1]));
        scale = if forced { size } else { scale.max(size * growth(run)) };
        assert_close(&values(&sample), &samples[step + 1], scale, &what);
        if let (Some(found), Some(originals)) = (result.pred_original_sample, &originals) {
            let scale = scale.max(peak(&originals[step]));
            assert_close(&values(&found), &originals[step], scale, &format!("{what}, original"));
        }
        if forced {
            sample = tensor(&samples[step + 1], shape(run), &t2v_test_support::device());
        }
    }
}

/// How much more than others a run's tables depend on the last bit of torch's square root, logarithm and exponential,
/// which differs from the nearest number, and between processors.
///
/// The alphas of rescaled betas are differences of roots; a flow begins where 1 less its sigma is a small difference; and the
/// noise that is left at the end, if a clean sample is predicted, is a small difference too. Runs of a sweep bring their own.
fn slack(run: &Value) -> f32 {
    if let Some(slack) = run.get("slack").and_then(Value::as_f64) {
        return slack as f32;
    }
    let (class, config) = (run["class"].as_str().unwrap(), &run["config"]);
    match class {
        "DEISMultistepScheduler" if config["use_flow_sigmas"] == true => 60.0,
        "DDPMScheduler" if config["rescale_betas_zero_snr"] == true => 10.0,
        "UniPCMultistepScheduler" if config["predict_x0"] == false && config["prediction_type"] == "sample" => 10.0,
        _ => 1.0,
    }
}

/// How much more than others a run enlarges rounding errors.
///
/// Third-order `sde-dpmsolver++` is ill-conditioned in its last step: in diffusers itself, a start that differs by 2e-7
/// ends 6e-5 away. Singlestep, with `heun`, it is so in each: there a difference of 2e-7 is one of 5e-4 after 12 steps.
fn growth(run: &Value) -> f32 {
    let config = &run["config"];
    let ill = config["solver_order"] == 3 && config["algorithm_type"] == "sde-dpmsolver++";
    let singlestep = run["class"] == "DPMSolverSinglestepScheduler" && config["solver_type"] == "heun";
    match (ill, singlestep) {
        (true, true) => 60.0,
        (true, false) => 10.0,
        (false, _) => 1.0,
    }
}

/// Compares `add_noise`.
fn check_noised(fixture: &Fixture, index: usize, run: &Value, noise: &mut TorchGenerator, what: &str) {
    let device = t2v_test_support::device();
    if numbers(&run["noised"]).is_empty() {
        return;
    }
    let (shape, scheduler) = (shape(run), scheduler(run));
    let original = tensor(&fixture.samples(&format!("{index}.samples"))[0], shape, &device);
    let noise = noise.normal(shape, &device);
    let expected = fixture.samples(&format!("{index}.noised"));
    for (at, expected) in numbers(&run["noised"]).into_iter().zip(expected) {
        let found = scheduler
            .add_noise(original.clone(), noise.clone(), at as usize)
            .unwrap();
        assert_close(
            &values(&found),
            &expected,
            peak(&expected),
            &format!("{what}: add_noise at {at}"),
        );
    }
}

/// Compares the timesteps of each configuration for 1 to 50 steps.
fn check_tables(fixture: &Fixture) {
    let tables = fixture.json("tables");
    for (index, table) in tables.as_array().unwrap().iter().enumerate() {
        let kind: SchedulerKind = table[0].as_str().unwrap().parse().unwrap();
        let mut scheduler = from_config(kind, &table[1]).unwrap();
        let mut expected = fixture.f32s(&format!("table.{index}")).into_iter();
        for steps in 1..=50 {
            scheduler.set_timesteps(steps).unwrap();
            for &t in scheduler.timesteps() {
                let expected = f64::from(expected.next().unwrap());
                assert!(same_timestep(t, expected), "{table}, {steps}: {t}, not {expected}");
            }
        }
        assert_eq!(expected.next(), None, "{table}");
    }
}

fn check_file(name: &str) {
    let fixture = Fixture::open(name);
    let runs = fixture.json("runs");
    let runs = runs.as_array().unwrap();
    assert!(runs.len() >= 24);
    for (index, run) in runs.iter().enumerate() {
        check(&fixture, index, run);
    }
    check_tables(&fixture);
}

#[test]
fn ddim() {
    check_file("ddim");
}

#[test]
fn euler_discrete() {
    check_file("euler_discrete");
}

#[test]
fn dpmsolver_multistep() {
    check_file("dpmsolver_multistep");
}

#[test]
fn euler_ancestral_discrete() {
    check_file("euler_ancestral_discrete");
}

#[test]
fn heun_discrete() {
    check_file("heun_discrete");
}

#[test]
fn kdpm2_discrete() {
    check_file("kdpm2_discrete");
}

#[test]
fn kdpm2_ancestral_discrete() {
    check_file("kdpm2_ancestral_discrete");
}

#[test]
fn lms_discrete() {
    check_file("lms_discrete");
}

#[test]
fn flow_match_euler_discrete() {
    check_file("flow_match_euler_discrete");
}

#[test]
fn flow_match_heun_discrete() {
    check_file("flow_match_heun_discrete");
}

#[test]
fn ddpm() {
    check_file("ddpm");
}

#[test]
fn pndm() {
    check_file("pndm");
}

#[test]
fn dpmsolver_singlestep() {
    check_file("dpmsolver_singlestep");
}

#[test]
fn unipc_multistep() {
    check_file("unipc_multistep");
}

#[test]
fn deis_multistep() {
    check_file("deis_multistep");
}

#[test]
fn ddim_inverse() {
    check_file("ddim_inverse");
}

#[test]
fn ipndm() {
    check_file("ipndm");
}

#[test]
fn lcm() {
    check_file("lcm");
}

/// Classes made from the files of others, as by a `model_index.json` that names another class than the file.
#[test]
fn other_classes() {
    check_file("other_classes");
}

/// Compares trajectories of random configurations, which `scripts/make_sweep.py` and `make_sigma_sweep.py` write.
///
///     T2V_SWEEP=/tmp/sweep.safetensors cargo test -p t2v-schedulers --test it -- --ignored sweep
#[test]
#[ignore = "needs the file that T2V_SWEEP names"]
fn sweep() {
    let path = std::env::var("T2V_SWEEP").expect("T2V_SWEEP is the path of such a file");
    let fixture = Fixture::at(Path::new(&path));
    let runs = fixture.json("runs");
    let mut failed = 0;
    for (index, run) in runs.as_array().unwrap().iter().enumerate() {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(&fixture, index, run)));
        failed += usize::from(result.is_err());
    }
    assert_eq!(failed, 0, "of {} runs", runs.as_array().unwrap().len());
}
