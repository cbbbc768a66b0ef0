//! Improved pseudo linear multistep: F-PNDM of Liu et al., <https://arxiv.org/abs/2202.09778>, begun with lower orders in
//! place of Runge-Kutta steps (Zhang and Chen, <https://arxiv.org/abs/2204.13902>, section 3.3).
//!
//! Follows diffusers' `scheduling_ipndm.py`, made for a model of sound: its timesteps lie in `(0, 1]`, its noise levels are
//! its own, and a model's output is taken for the velocity, `alpha * noise - sigma * original`. For other models there is
//! [`crate::for_model`]. Diffusers has no `add_noise` here; this one is `alpha * original + sigma * noise`.

mod for_model;

use std::collections::VecDeque;
use std::f32::consts::PI;

use burn::tensor::{DType, Tensor};
use serde_json::Value;

use crate::adams_bashforth::{MAX_ORDER, combine};
use crate::config::{ConfigReader, TRAIN_TIMESTEPS};
use crate::float32::linspace;
use crate::level::Level;
use crate::progress::Progress;
use crate::scheduler::{NoiseSource, Schedule, Scheduler, StepOutput};
use crate::{SchedulerError, SchedulerKind};

pub(crate) use self::for_model::IpndmForModel;

const KIND: SchedulerKind = SchedulerKind::Ipndm;

/// `IPNDMScheduler`.
#[derive(Debug)]
pub(crate) struct Ipndm {
    /// Noise levels that take the place of the spaced ones, the final one included.
    trained: Option<Vec<f32>>,
    levels: Vec<Level>,
    timesteps: Vec<f64>,
    /// Estimates of the noise, latest first.
    outputs: VecDeque<Tensor<5>>,
    progress: Progress,
}

impl Ipndm {
    pub(crate) fn from_config(config: &Value) -> Result<Self, SchedulerError> {
        let reader = ConfigReader::new(KIND, config)?;
        reader.count("num_train_timesteps", 1000, TRAIN_TIMESTEPS)?;
        let trained = reader.optional_list("trained_betas")?;
        let fits = |sigmas: &Vec<f32>| sigmas.len() >= 2 && sigmas.iter().all(|sigma| (0.0..=1.0).contains(sigma));
        if !trained.as_ref().is_none_or(fits) {
            return Err(reader.unsupported("trained_betas", "needs at least 2 values, of 0 to 1"));
        }
        Ok(Self {
            trained,
            levels: Vec::new(),
            timesteps: Vec::new(),
            outputs: VecDeque::new(),
            progress: Progress::new(KIND),
        })
    }

    /// The noise levels of a run, the final one included.
    fn sigmas(&self, steps: usize) -> Vec<f32> {
        if let Some(sigmas) = &self.trained {
            return sigmas.clone();
        }
        let mut times = linspace(1.0, 0.0, steps + 1);
        times[steps] = 0.0;
        let sine = |time: &f32| f64::from(time * PI / 2.0).sin() as f32;
        times.iter().map(|time| sine(time) * sine(time)).collect()
    }
}

impl Scheduler for Ipndm {
    fn kind(&self) -> SchedulerKind {
        KIND
    }

    /// With `trained_betas` there are as many steps as these say, whatever the request.
    fn set_schedule(&mut self, schedule: &Schedule) -> Result<(), SchedulerError> {
        let sigmas = self.sigmas(schedule.only_steps(KIND)?);
        let level = |&sigma: &f32| Level {
            alpha: (1.0 - sigma * sigma).sqrt(),
            sigma,
        };
        self.levels = sigmas.iter().map(level).collect();
        let angle = |level: &Level| f64::from(level.sigma).atan2(f64::from(level.alpha)) as f32;
        let timesteps = self.levels.iter().map(|level| f64::from(angle(level) / PI * 2.0));
        self.timesteps = timesteps.take(sigmas.len() - 1).collect();
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
        let (level, next) = (self.levels[index], self.levels[index + 1]);
        let dtype = sample.dtype();
        let (sample, output) = (sample.cast(DType::F32), model_output.cast(DType::F32));
        let epsilon = sample.clone() * level.sigma + output * level.alpha;
        self.outputs.truncate(MAX_ORDER - 1);
        self.outputs.push_front(epsilon.clone());
        let epsilon = combine(&self.outputs).unwrap_or(epsilon);
        let original = (sample - epsilon.clone() * level.sigma) / level.alpha.max(1e-8);
        self.progress.advance();
        let prev_sample = original * next.alpha + epsilon * next.sigma;
        Ok(StepOutput {
            prev_sample: prev_sample.cast(dtype),
            pred_original_sample: None,
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
