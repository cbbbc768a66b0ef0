//! Heun's method for flow matching: Esser et al., <https://arxiv.org/abs/2403.03206>, with the solver of Karras et al.,
//! <https://arxiv.org/abs/2206.00364>, Algorithm 2.
//!
//! The model predicts the velocity `noise - original`. A step has two model calls, one at its start and one at its end;
//! the last step has only the first. A run that begins later than at the first timestep begins with a step's first call,
//! at an even index. Follows diffusers' `scheduling_flow_match_heun_discrete.py`; as there, the churn of a step counts
//! model calls where Karras et al. count steps, and draws noise in both calls, of which only the first one's has an effect.

use burn::tensor::{DType, Tensor};
use serde_json::Value;

use crate::churn;
use crate::config::{ConfigReader, TRAIN_TIMESTEPS};
use crate::flow_matching::{even_levels, noised, shifted, timesteps, to_double};
use crate::progress::Progress;
use crate::scheduler::{NoiseSource, Schedule, Scheduler, StepOptions, StepOutput};
use crate::two_calls::{all_twice_but_the_first, level_of_call, sigmas_of_calls};
use crate::{SchedulerError, SchedulerKind};

const KIND: SchedulerKind = SchedulerKind::FlowMatchHeunDiscrete;

/// What a step's first call leaves for the second.
#[derive(Debug)]
struct FirstCall {
    sample: Tensor<5>,
    derivative: Tensor<5>,
    /// The sigma of the step's start, before churn.
    sigma: f32,
    /// How much sigma changes in the step.
    change: f32,
}

/// `FlowMatchHeunDiscreteScheduler`.
#[derive(Debug)]
pub(crate) struct FlowMatchHeunDiscrete {
    num_train_timesteps: usize,
    shift: f64,
    options: StepOptions,
    timesteps: Vec<f64>,
    sigmas: Vec<f32>,
    first: Option<FirstCall>,
    progress: Progress,
}

impl FlowMatchHeunDiscrete {
    pub(crate) fn from_config(config: &Value) -> Result<Self, SchedulerError> {
        let reader = ConfigReader::new(KIND, config)?;
        Ok(Self {
            num_train_timesteps: reader.count("num_train_timesteps", 1000, TRAIN_TIMESTEPS)?,
            shift: reader.number("shift", 1.0)?,
            options: StepOptions::default(),
            timesteps: Vec::new(),
            sigmas: Vec::new(),
            first: None,
            progress: Progress::new(KIND),
        })
    }

    /// Adds the options' churn to a sample, and gives the level that it then has.
    fn churned(&self, sample: Tensor<5>, sigma: f32, noise: &mut dyn NoiseSource) -> (Tensor<5>, f32) {
        match churn::sigma_hat(&self.options, sigma, self.timesteps.len()) {
            Some(sigma_hat) => {
                let sample = churn::add(sample, sigma, sigma_hat, self.options.s_noise, noise);
                (sample, sigma_hat)
            }
            None => (sample, sigma),
        }
    }
}

impl Scheduler for FlowMatchHeunDiscrete {
    fn kind(&self) -> SchedulerKind {
        KIND
    }

    fn set_schedule(&mut self, schedule: &Schedule) -> Result<(), SchedulerError> {
        let steps = schedule.only_steps(KIND)?;
        let levels = even_levels(self.num_train_timesteps, self.shift, steps);
        let sigmas = levels.iter().map(|&sigma| shifted(sigma, self.shift, to_double) as f32);
        self.sigmas = sigmas.collect();
        self.timesteps = all_twice_but_the_first(&timesteps(&self.sigmas, self.num_train_timesteps));
        self.sigmas.push(0.0);
        self.first = None;
        self.progress.restart(self.timesteps.len());
        Ok(())
    }

    fn set_step_options(&mut self, options: StepOptions) {
        self.options = options;
    }

    fn timesteps(&self) -> &[f64] {
        &self.timesteps
    }

    fn order(&self) -> usize {
        2
    }

    fn sigmas(&self) -> Vec<f64> {
        sigmas_of_calls(&self.sigmas, 1)
    }

    fn current_index(&self) -> Result<usize, SchedulerError> {
        self.progress.current()
    }

    fn set_begin_index(&mut self, index: usize) {
        self.first = None;
        self.progress.begin_at(index);
    }

    fn step(
        &mut self,
        model_output: Tensor<5>,
        sample: Tensor<5>,
        noise: &mut dyn NoiseSource,
    ) -> Result<StepOutput, SchedulerError> {
        let index = self.progress.current()?;
        let level = self.sigmas[level_of_call(index)];
        let dtype = model_output.dtype();
        let (model_output, sample) = (model_output.cast(DType::F32), sample.cast(DType::F32));
        let start = self.first.as_ref().map_or(level, |first| first.sigma);
        let (sample, sigma_hat) = self.churned(sample, start, noise);
        let denoised = sample.clone() - model_output * level;
        let prev_sample = match self.first.take() {
            None => {
                let derivative = (sample.clone() - denoised) / sigma_hat;
                let change = self.sigmas[level_of_call(index + 1)] - sigma_hat;
                let prev_sample = sample.clone() + derivative.clone() * change;
                self.first = Some(FirstCall {
                    sample,
                    derivative,
                    sigma: level,
                    change,
                });
                prev_sample
            }
            Some(first) => {
                let derivative = (sample - denoised) / level;
                first.sample + (first.derivative + derivative) * 0.5 * first.change
            }
        };
        self.progress.advance();
        Ok(StepOutput {
            prev_sample: prev_sample.cast(dtype),
            pred_original_sample: None,
        })
    }

    /// Diffusers' `scale_noise`.
    fn add_noise(
        &self,
        original: Tensor<5>,
        noise: Tensor<5>,
        timestep_index: usize,
    ) -> Result<Tensor<5>, SchedulerError> {
        let sigma = self.sigmas[level_of_call(self.progress.check(timestep_index)?)];
        Ok(noised(original, noise, sigma))
    }
}
