//! The loop.

use burn::tensor::{Device, Tensor, TensorData};
use serde::Serialize;
use serde_json::Value;
use t2v_schedulers::{KarrasVe, NoiseSource, Scheduler, SchedulerError, SchedulerKind, ScoreSdeVe, TorchGenerator};
use t2v_schedulers::{for_model, from_config};

/// Frames are the batch: `[batch, channels, 1, height, width]`.
const SHAPE: [usize; 5] = [4, 3, 1, 8, 8];

/// What is printed.
#[derive(Serialize)]
pub(crate) struct Trace {
    pub(crate) scheduler: String,
    pub(crate) timesteps: Vec<f64>,
    /// Noise levels; empty for schedulers that keep none.
    pub(crate) sigmas: Vec<f64>,
    /// Model calls.
    calls: usize,
    /// Of the final sample's absolute values.
    sum: f64,
    /// Of the final sample's absolute values.
    mean: f64,
    /// Sample standard deviation of the final sample.
    std: f64,
    /// The first eight values of the final sample.
    first: Vec<f32>,
}

/// Runs diffusers' own form of a scheduler.
pub(crate) fn trace(kind: SchedulerKind, config: &Value, steps: usize, seed: u64) -> Result<Trace, SchedulerError> {
    let mut noise = TorchGenerator::new(seed);
    match kind {
        SchedulerKind::KarrasVe => karras_ve(config, steps, &mut noise),
        SchedulerKind::ScoreSdeVe => score_sde_ve(config, steps, &mut noise),
        _ => by_steps(from_config(kind, config)?, steps, &mut noise),
    }
}

/// Runs the form of a scheduler for models that predict noise, velocity or clean samples.
pub(crate) fn trace_for_model(
    kind: SchedulerKind,
    config: &Value,
    steps: usize,
    seed: u64,
) -> Result<Trace, SchedulerError> {
    by_steps(for_model(kind, config)?, steps, &mut TorchGenerator::new(seed))
}

/// The loop of diffusers' `KarrasVePipeline`.
fn karras_ve(config: &Value, steps: usize, noise: &mut dyn NoiseSource) -> Result<Trace, SchedulerError> {
    let mut scheduler = KarrasVe::from_config(config)?;
    scheduler.set_timesteps(steps)?;
    let schedule = scheduler.schedule().to_vec();
    let network = |sample: Tensor<5>, sigma: f32| {
        let half = f64::from(sigma / 2.0);
        model((sample + 1.0) / 2.0, half) * half
    };
    let (mut sample, mut calls) = (ramp() * scheduler.init_noise_sigma(), 0);
    for t in scheduler.timesteps() {
        let below = if t == 0 { 0.0 } else { schedule[t - 1] };
        let (lifted, sigma) = scheduler.add_noise_to_input(sample, schedule[t], noise)?;
        let mut step = scheduler.step(network(lifted.clone(), sigma), sigma, below, lifted.clone());
        calls += 1;
        if below != 0.0 {
            let output = network(step.prev_sample.clone(), below);
            step = scheduler.step_correct(output, sigma, below, lifted, step.prev_sample, step.derivative);
            calls += 1;
        }
        sample = step.prev_sample;
    }
    let timesteps = scheduler.timesteps().into_iter().map(|t| t as f64).collect();
    let sigmas = schedule.iter().map(|&sigma| f64::from(sigma)).collect();
    Ok(Trace::new(SchedulerKind::KarrasVe, calls, timesteps, sigmas, sample))
}

/// The loop of diffusers' `ScoreSdeVePipeline`, which ends in the mean of the last step.
fn score_sde_ve(config: &Value, steps: usize, noise: &mut dyn NoiseSource) -> Result<Trace, SchedulerError> {
    let mut scheduler = ScoreSdeVe::from_config(config)?;
    scheduler.set_timesteps(steps, None)?;
    scheduler.set_sigmas(steps, None, None, None)?;
    let (timesteps, sigmas) = (scheduler.timesteps().to_vec(), scheduler.sigmas().to_vec());
    let mut sample = ramp() * scheduler.init_noise_sigma();
    let mut mean = sample.clone();
    for (&t, &sigma) in timesteps.iter().zip(&sigmas) {
        for _ in 0..scheduler.correct_steps() {
            sample = scheduler.step_correct(model(sample.clone(), sigma), sample, noise);
        }
        let step = scheduler.step_pred(model(sample.clone(), sigma), t, sample, noise)?;
        (sample, mean) = (step.prev_sample, step.prev_sample_mean);
    }
    let calls = steps * (scheduler.correct_steps() + 1);
    Ok(Trace::new(SchedulerKind::ScoreSdeVe, calls, timesteps, sigmas, mean))
}

fn by_steps(
    mut scheduler: Box<dyn Scheduler>,
    steps: usize,
    noise: &mut dyn NoiseSource,
) -> Result<Trace, SchedulerError> {
    scheduler.set_timesteps(steps)?;
    let timesteps = scheduler.timesteps().to_vec();
    let mut sample = ramp() * scheduler.init_noise_sigma();
    for &t in &timesteps {
        let input = scheduler.scale_model_input(sample.clone(), noise)?;
        sample = scheduler.step(model(input, t), sample, noise)?.prev_sample;
    }
    let (kind, sigmas) = (scheduler.kind(), scheduler.sigmas());
    Ok(Trace::new(kind, timesteps.len(), timesteps, sigmas, sample))
}

/// `x[b, c, h, w] = (((c * 8 + h) * 8 + w) * 4 + b) / 768`.
fn ramp() -> Tensor<5> {
    let [batch, channels, _, height, width] = SHAPE;
    let count = batch * channels * height * width;
    let inner = channels * height * width;
    let values: Vec<f32> = (0..count)
        .map(|i| ((i % inner) * batch + i / inner) as f32 / count as f32)
        .collect();
    Tensor::from_data(TensorData::new(values, SHAPE), &Device::flex())
}

fn model(sample: Tensor<5>, t: f64) -> Tensor<5> {
    sample * t / (t + 1.0)
}

impl Trace {
    fn new(kind: SchedulerKind, calls: usize, timesteps: Vec<f64>, sigmas: Vec<f64>, sample: Tensor<5>) -> Self {
        let values: Vec<f32> = sample.into_data().iter().collect();
        let count = values.len() as f64;
        let wide = || values.iter().map(|&value| f64::from(value));
        let sum: f64 = wide().map(f64::abs).sum();
        let centre = wide().sum::<f64>() / count;
        let squares: f64 = wide().map(|value| (value - centre).powi(2)).sum();
        Self {
            scheduler: kind.to_string(),
            timesteps,
            sigmas,
            calls,
            sum,
            mean: sum / count,
            std: (squares / (count - 1.0)).sqrt(),
            first: values[..8].to_vec(),
        }
    }
}
