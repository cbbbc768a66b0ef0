//! DEIS: Zhang and Chen, "Fast Sampling of Diffusion Models with Exponential Integrator",
//! <https://arxiv.org/abs/2204.13902>, multistep, of orders 1 to 3, by polynomials in the logarithm of rho.
//!
//! Follows diffusers' `scheduling_deis_multistep.py`: an order above 3 stands for 3, and other schedulers' algorithms and
//! solver types stand for the only ones here.

mod update;

use burn::tensor::{DType, Tensor};
use serde_json::Value;

use self::update::update;
use crate::betas::BetaOptions;
use crate::config::{ConfigReader, SOLVER_ORDERS, STEPS_OFFSETS};
use crate::lambda_sampler::{LambdaSampler, LambdaSolver, Run};
use crate::prediction::{PREDICTION_TYPES_AND_FLOW, PredictionType, epsilon_of};
use crate::scheduler::{NoiseSource, Schedule, SchedulePoints, StepOutput, checked_steps, unsupported};
use crate::sigmas::Table;
use crate::solver_sigmas::{SigmaOptions, SolverSigmas};
use crate::spacing::{TIMESTEP_SPACINGS, TimestepSpacing};
use crate::thresholding::DynamicThreshold;
use crate::{SchedulerError, SchedulerKind};

const KIND: SchedulerKind = SchedulerKind::DeisMultistep;

const ALGORITHMS: &[(&str, ())] = &[("deis", ()), ("dpmsolver", ()), ("dpmsolver++", ())];
const SOLVER_TYPES: &[(&str, ())] = &[("logrho", ()), ("midpoint", ()), ("heun", ()), ("bh1", ()), ("bh2", ())];

/// `DEISMultistepScheduler`.
pub(crate) type DeisMultistep = LambdaSampler<Deis>;

/// DEIS.
#[derive(Debug)]
pub(crate) struct Deis {
    order: usize,
    prediction: PredictionType,
    threshold: Option<DynamicThreshold>,
    lower_order_final: bool,
    spacing: TimestepSpacing,
    steps_offset: usize,
    training: SolverSigmas,
}

impl DeisMultistep {
    pub(crate) fn from_config(config: &Value) -> Result<Self, SchedulerError> {
        let reader = ConfigReader::new(KIND, config)?;
        reader.choice("algorithm_type", (), ALGORITHMS)?;
        reader.choice("solver_type", (), SOLVER_TYPES)?;
        let mut betas = BetaOptions::read(&reader)?;
        // Not an option of this scheduler.
        betas.rescale_zero_snr = false;
        let solver = Deis {
            order: reader.count("solver_order", 2, SOLVER_ORDERS)?.min(3),
            prediction: reader.choice("prediction_type", PredictionType::Epsilon, PREDICTION_TYPES_AND_FLOW)?,
            threshold: DynamicThreshold::read(&reader)?,
            lower_order_final: reader.flag("lower_order_final", true)?,
            spacing: reader.choice("timestep_spacing", TimestepSpacing::Linspace, TIMESTEP_SPACINGS)?,
            steps_offset: reader.count("steps_offset", 0, STEPS_OFFSETS)?,
            training: SolverSigmas::new(SigmaOptions::read(&reader)?, &betas.alphas_cumprod()),
        };
        let flow = solver.training.options.flow;
        Ok(Self::new(solver, flow))
    }
}

impl Deis {
    /// The estimate of the clean sample, and that of the noise which follows from it.
    fn convert(&self, output: Tensor<5>, sample: Tensor<5>, run: &Run, index: usize) -> (Tensor<5>, Tensor<5>) {
        let (level, sigma) = (run.level(index), run.sigma(index));
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

impl LambdaSolver for Deis {
    const KIND: SchedulerKind = KIND;

    fn table(&mut self, schedule: &Schedule) -> Result<Table, SchedulerError> {
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
            (None, false) => training.by_spacing(self.spacing, steps, self.steps_offset),
        };
        // Shaped and flow sigmas end twice in the same.
        let repeated = options.shape.is_some() || options.flow;
        let last = points.1.last().filter(|_| repeated).copied();
        let last = last.unwrap_or(training.sigma_min());
        training.table(KIND, points, last)
    }

    fn step(
        &mut self,
        run: &mut Run,
        index: usize,
        model_output: Tensor<5>,
        sample: Tensor<5>,
        _noise: &mut dyn NoiseSource,
    ) -> Result<StepOutput, SchedulerError> {
        let dtype = sample.dtype();
        let sample = sample.cast(DType::F32);
        let (original, epsilon) = self.convert(model_output.cast(DType::F32), sample.clone(), run, index);
        run.keep(epsilon, self.order);
        let order = run.order(index, self.lower_order_final && run.is_short());
        let prev_sample = update(sample, run.outputs(), run.level(index + 1), &run.levels(index, order));
        Ok(StepOutput {
            prev_sample: prev_sample.cast(dtype),
            pred_original_sample: Some(original),
        })
    }
}
