//! IPNDM on the noise levels of a model.
//!
//! A variance-preserving sample at the angle `phi`, of which the cumulative product of the alphas is the squared cosine, is
//! `x = cos(phi) * original + sin(phi) * noise`. With `rho = tan(phi)`, the probability-flow ODE is
//! `d(x / cos(phi)) = noise(phi) d(rho)`, so that a step to `psi` has the exact solution
//!
//! ```text
//! x(psi) / cos(psi) = x(phi) / cos(phi) + integral from phi to psi of noise(s) / cos²(s) ds
//! ```
//!
//! Like the Adams-Bashforth method, the solver puts a polynomial in the angle through the latest four estimates of the noise
//! (fewer in the first three steps), at the angles where they were made, which need not be equally spaced. With one estimate
//! a step is the rotation of IPNDM and DDIM, `cos(psi) * original + sin(psi) * noise`, and so it is computed, which has no
//! pole at a level without signal. The others add `cos(psi) * w_i * (noise_i - noise)`, with the integral `w_i` of Lagrange's
//! polynomial over `cos²`.
//!
//! The timesteps are DDIM's, but for a single step, which starts at the last timestep of training whatever the spacing: at the
//! first, where two of the spacings have it, nothing would be left to do.

use std::collections::VecDeque;

use burn::tensor::{DType, Tensor};
use serde_json::Value;

use super::KIND;
use crate::SchedulerError;
use crate::SchedulerKind;
use crate::adams_bashforth::MAX_ORDER;
use crate::betas::BetaOptions;
use crate::config::{ConfigReader, STEPS_OFFSETS};
use crate::level::Level;
use crate::prediction::{PREDICTION_TYPES, PredictionType};
use crate::progress::Progress;
use crate::scheduler::{NoiseSource, Schedule, Scheduler, StepOutput};
use crate::spacing::{TIMESTEP_SPACINGS, TimestepSpacing};

/// What [`crate::for_model`] gives for IPNDM.
///
/// Its options are DDIM's: `beta_*`, `trained_betas`, `rescale_betas_zero_snr`, `prediction_type`, `timestep_spacing`,
/// `steps_offset` and `set_alpha_to_one`.
#[derive(Debug)]
pub(crate) struct IpndmForModel {
    prediction: PredictionType,
    spacing: TimestepSpacing,
    steps_offset: usize,
    alphas_cumprod: Vec<f32>,
    /// The cumulative product after the last step.
    final_alpha: f32,
    /// The levels of a run, the final one included.
    levels: Vec<Level>,
    timesteps: Vec<f64>,
    /// Estimates of the noise, latest first.
    outputs: VecDeque<Tensor<5>>,
    progress: Progress,
}

impl IpndmForModel {
    pub(crate) fn from_config(config: &Value) -> Result<Self, SchedulerError> {
        let reader = ConfigReader::new(KIND, config)?;
        let alphas_cumprod = BetaOptions::read(&reader)?.positive_alphas_cumprod();
        let set_alpha_to_one = reader.flag("set_alpha_to_one", true)?;
        Ok(Self {
            prediction: reader.choice("prediction_type", PredictionType::Epsilon, PREDICTION_TYPES)?,
            spacing: reader.choice("timestep_spacing", TimestepSpacing::Leading, TIMESTEP_SPACINGS)?,
            steps_offset: reader.count("steps_offset", 0, STEPS_OFFSETS)?,
            final_alpha: if set_alpha_to_one { 1.0 } else { alphas_cumprod[0] },
            alphas_cumprod,
            levels: Vec::new(),
            timesteps: Vec::new(),
            outputs: VecDeque::new(),
            progress: Progress::new(KIND),
        })
    }
}

fn angle(level: Level) -> f64 {
    f64::from(level.sigma).atan2(f64::from(level.alpha))
}

/// Lagrange's polynomial that is 1 at the node number `of` and 0 at the others.
fn lagrange(nodes: &[f64], of: usize, x: f64) -> f64 {
    let others = nodes.iter().enumerate().filter(|(i, _)| *i != of);
    others.map(|(_, node)| (x - node) / (nodes[of] - node)).product()
}

/// The integral of a function by the three-point rule of Gauss on equal panels.
fn integral(from: f64, to: f64, f: impl Fn(f64) -> f64) -> f64 {
    const PANELS: usize = 64;
    let half = (to - from) / (2 * PANELS) as f64;
    let offset = half * 0.6f64.sqrt();
    let panel = |i: usize| {
        let middle = from + half * (2 * i + 1) as f64;
        half * (5.0 * (f(middle - offset) + f(middle + offset)) + 8.0 * f(middle)) / 9.0
    };
    (0..PANELS).map(panel).sum()
}

impl Scheduler for IpndmForModel {
    fn kind(&self) -> SchedulerKind {
        KIND
    }

    fn set_schedule(&mut self, schedule: &Schedule) -> Result<(), SchedulerError> {
        let steps = schedule.only_steps(KIND)?;
        let train = self.alphas_cumprod.len();
        self.timesteps = self.spacing.checked_timesteps(KIND, train, steps, self.steps_offset)?;
        if steps == 1 {
            self.timesteps = vec![(train - 1) as f64];
        }
        let products = self.timesteps.iter().map(|&t| self.alphas_cumprod[t as usize]);
        self.levels = products.chain([self.final_alpha]).map(Level::of_product).collect();
        self.outputs.clear();
        self.progress.restart(self.timesteps.len());
        Ok(())
    }

    fn timesteps(&self) -> &[f64] {
        &self.timesteps
    }

    fn current_index(&self) -> Result<usize, SchedulerError> {
        self.progress.current()
    }

    fn set_begin_index(&mut self, index: usize) {
        self.outputs.clear();
        self.progress.begin_at(index);
    }

    fn step(
        &mut self,
        model_output: Tensor<5>,
        sample: Tensor<5>,
        _noise: &mut dyn NoiseSource,
    ) -> Result<StepOutput, SchedulerError> {
        let index = self.progress.current()?;
        let (dtype, next) = (sample.dtype(), self.levels[index + 1]);
        let Level { alpha, sigma } = self.levels[index];
        let (sample, output) = (sample.cast(DType::F32), model_output.cast(DType::F32));
        let original = self.prediction.original(output.clone(), sample.clone(), alpha, sigma);
        let epsilon = self.prediction.epsilon(output, sample, alpha, sigma);
        self.outputs.truncate(MAX_ORDER - 1);
        self.outputs.push_front(epsilon.clone());
        let nodes: Vec<f64> = (0..self.outputs.len())
            .map(|back| angle(self.levels[index - back]))
            .collect();
        let mut prev_sample = original.clone() * next.alpha + epsilon.clone() * next.sigma;
        for (i, earlier) in self.outputs.iter().enumerate().skip(1) {
            let weight = integral(nodes[0], angle(next), |s| lagrange(&nodes, i, s) / s.cos().powi(2));
            prev_sample = prev_sample + (earlier.clone() - epsilon.clone()) * (weight * f64::from(next.alpha));
        }
        self.progress.advance();
        Ok(StepOutput {
            prev_sample: prev_sample.cast(dtype),
            pred_original_sample: Some(original),
        })
    }

    fn add_noise(
        &self,
        original: Tensor<5>,
        noise: Tensor<5>,
        timestep_index: usize,
    ) -> Result<Tensor<5>, SchedulerError> {
        let level = self.levels[self.progress.check(timestep_index)?];
        Ok(level.add_noise(original, noise))
    }
}
