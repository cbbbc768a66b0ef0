//! DEIS: Zhang and Chen, "Fast Sampling of Diffusion Models with Exponential Integrator",
//! <https://arxiv.org/abs/2204.13902>, multistep, of orders 1 to 3, by polynomials in the logarithm of rho.
//!
//! Follows diffusers' `scheduling_deis_multistep.py`: an order above 3 stands for 3, and other schedulers' algorithms and
//! solver types stand for the only ones here.

mod update;

use std::collections::VecDeque;

use burn::tensor::{DType, Tensor};
use serde_json::Value;

use self::update::update;
use crate::betas::BetaOptions;
use crate::config::{ConfigReader, SOLVER_ORDERS, STEPS_OFFSETS};
use crate::level::Level;
use crate::prediction::{PREDICTION_TYPES_AND_FLOW, PredictionType, epsilon_of};
use crate::progress::Progress;
use crate::scheduler::{NoiseSource, Schedule, SchedulePoints, Scheduler, StepOutput};
use crate::scheduler::{checked_steps, unsupported};
use crate::solver_sigmas::{SigmaOptions, SolverSigmas, spaced};
use crate::spacing::{TIMESTEP_SPACINGS, TimestepSpacing};
use crate::thresholding::DynamicThreshold;
use crate::{SchedulerError, SchedulerKind};

const KIND: SchedulerKind = SchedulerKind::DeisMultistep;

/// With `lower_order_final`, runs of fewer timesteps than this end in steps of lower order.
const SHORT_RUN: usize = 15;

const ALGORITHMS: &[(&str, ())] = &[("deis", ()), ("dpmsolver", ()), ("dpmsolver++", ())];
const SOLVER_TYPES: &[(&str, ())] = &[("logrho", ()), ("midpoint", ()), ("heun", ()), ("bh1", ()), ("bh2", ())];

/// `DEISMultistepScheduler`.
#[derive(Debug)]
pub(crate) struct DeisMultistep {
    order: usize,
    prediction: PredictionType,
    threshold: Option<DynamicThreshold>,
    lower_order_final: bool,
    spacing: TimestepSpacing,
    steps_offset: usize,
    training: SolverSigmas,
    timesteps: Vec<f64>,
    sigmas: Vec<f32>,
    /// Estimates of the noise, latest first.
    outputs: VecDeque<Tensor<5>>,
    progress: Progress,
}

impl DeisMultistep {
    pub(crate) fn from_config(config: &Value) -> Result<Self, SchedulerError> {
        let reader = ConfigReader::new(KIND, config)?;
        reader.choice("algorithm_type", (), ALGORITHMS)?;
        reader.choice("solver_type", (), SOLVER_TYPES)?;
        let mut betas = BetaOptions::read(&reader)?;
        // Not an option of this scheduler.
        betas.rescale_zero_snr = false;
        Ok(Self {
            order: reader.count("solver_order", 2, SOLVER_ORDERS)?.min(3),
            prediction: reader.choice("prediction_type", PredictionType::Epsilon, PREDICTION_TYPES_AND_FLOW)?,
            threshold: DynamicThreshold::read(&reader)?,
            lower_order_final: reader.flag("lower_order_final", true)?,
            spacing: reader.choice("timestep_spacing", TimestepSpacing::Linspace, TIMESTEP_SPACINGS)?,
            steps_offset: reader.count("steps_offset", 0, STEPS_OFFSETS)?,
            training: SolverSigmas::new(SigmaOptions::read(&reader)?, &betas.alphas_cumprod()),
            timesteps: Vec::new(),
            sigmas: Vec::new(),
            outputs: VecDeque::new(),
            progress: Progress::new(KIND),
        })
    }

    fn level(&self, index: usize) -> Level {
        Level::of_sigma(self.sigmas[index], self.training.options.flow)
    }

    /// The order of a step, for which there are `known` model outputs.
    fn order_at(&self, index: usize, known: usize) -> usize {
        let remaining = self.timesteps.len() - index;
        match self.lower_order_final && self.timesteps.len() < SHORT_RUN {
            true => known.min(remaining),
            false => known,
        }
    }

    /// The estimate of the clean sample, and that of the noise which follows from it.
    fn convert(&self, output: Tensor<5>, sample: Tensor<5>, index: usize) -> (Tensor<5>, Tensor<5>) {
        let level = self.level(index);
        let sigma = self.sigmas[index];
        let mut original = level.original(self.prediction, output, sample.clone(), sigma);
        if let Some(threshold) = self.threshold {
            original = threshold.apply(original);
        }
        // A flow's sigma is in the table as it is, and so it is in the level, but for other kinds of sigmas.
        let epsilon = match self.prediction {
            PredictionType::Flow => epsilon_of(original.clone(), sample, level.alpha, sigma),
            _ => epsilon_of(original.clone(), sample, level.alpha, level.sigma),
        };
        (original, epsilon)
    }
}

impl Scheduler for DeisMultistep {
    fn kind(&self) -> SchedulerKind {
        KIND
    }

    fn set_schedule(&mut self, schedule: &Schedule) -> Result<(), SchedulerError> {
        let (training, options) = (&self.training, &self.training.options);
        let shift = options.shift(KIND, schedule.mu)?;
        let steps = match &schedule.points {
            SchedulePoints::Steps(steps) => checked_steps(KIND, *steps)?,
            SchedulePoints::Timesteps(_) => return Err(unsupported(KIND, "timesteps", "cannot be given explicitly")),
            SchedulePoints::Sigmas(_) => return Err(unsupported(KIND, "sigmas", "cannot be given explicitly")),
        };
        let points = match (options.shape, options.flow) {
            (Some(shape), _) => training.by_shape(shape, steps),
            (None, true) => training.by_flow(shift, steps),
            (None, false) => training.interpolated(spaced(self.spacing, training.train(), steps, self.steps_offset)),
        };
        // Shaped and flow sigmas end twice in the same.
        let repeated = options.shape.is_some() || options.flow;
        let last = points.1.last().filter(|_| repeated).copied();
        let last = last.unwrap_or(training.sigma_min());
        (self.timesteps, self.sigmas) = training.table(KIND, points, last)?;
        self.outputs.clear();
        self.progress.restart(self.timesteps.len());
        Ok(())
    }

    fn timesteps(&self) -> &[f64] {
        &self.timesteps
    }

    fn sigmas(&self) -> Vec<f64> {
        self.sigmas.iter().map(|&sigma| f64::from(sigma)).collect()
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
        let dtype = sample.dtype();
        let sample = sample.cast(DType::F32);
        let (original, epsilon) = self.convert(model_output.cast(DType::F32), sample.clone(), index);
        self.outputs.truncate(self.order - 1);
        self.outputs.push_front(epsilon);
        let order = self.order_at(index, self.outputs.len());
        let levels: Vec<Level> = (0..order).map(|back| self.level(index - back)).collect();
        let target = self.level(index + 1);
        let prev_sample = update(sample, self.outputs.make_contiguous(), target, &levels);
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
        let level = self.level(self.progress.check(timestep_index)?);
        Ok(level.add_noise(original, noise))
    }
}
