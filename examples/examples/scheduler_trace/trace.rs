//! The loop.

use burn::tensor::{Device, Tensor, TensorData};
use serde::Serialize;
use serde_json::Value;
use t2v_schedulers::{NoiseSource, SchedulerError, SchedulerKind, TorchGenerator, from_config};

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

pub(crate) fn trace(kind: SchedulerKind, config: &Value, steps: usize, seed: u64) -> Result<Trace, SchedulerError> {
    let mut noise = TorchGenerator::new(seed);
    by_steps(kind, config, steps, &mut noise)
}

fn by_steps(
    kind: SchedulerKind,
    config: &Value,
    steps: usize,
    noise: &mut dyn NoiseSource,
) -> Result<Trace, SchedulerError> {
    let mut scheduler = from_config(kind, config)?;
    scheduler.set_timesteps(steps)?;
    let timesteps = scheduler.timesteps().to_vec();
    let mut sample = ramp() * scheduler.init_noise_sigma();
    for &t in &timesteps {
        let input = scheduler.scale_model_input(sample.clone(), noise);
        sample = scheduler.step(model(input, t), sample, noise)?.prev_sample;
    }
    Ok(Trace::new(kind, timesteps.len(), timesteps, scheduler.sigmas(), sample))
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
