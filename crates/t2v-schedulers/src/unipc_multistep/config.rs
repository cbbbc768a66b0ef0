//! The options of UniPC, and the timesteps and sigmas that follow from them.

use serde_json::Value;

use super::update::BhVariant;
use super::{KIND, VARIANTS};
use crate::betas::BetaOptions;
use crate::config::{ConfigReader, SOLVER_ORDERS, STEPS_OFFSETS};
use crate::prediction::{PREDICTION_TYPES_AND_FLOW, PredictionType};
use crate::scheduler::{Schedule, SchedulePoints, Scheduler, checked_steps, unsupported};
use crate::sigmas::{FINAL_SIGMAS, FinalSigma, SigmaShape, Table};
use crate::solver_sigmas::{Points, SigmaOptions, SolverSigmas, TimeShift};
use crate::spacing::{TIMESTEP_SPACINGS, TimestepSpacing, linspace};
use crate::thresholding::DynamicThreshold;
use crate::{SchedulerError, from_config, kind_of_config};

/// The options of a `scheduler_config.json`, checked.
#[derive(Debug)]
pub(super) struct Config {
    pub(super) training: SolverSigmas,
    pub(super) order: usize,
    pub(super) prediction: PredictionType,
    pub(super) threshold: Option<DynamicThreshold>,
    pub(super) predict_x0: bool,
    pub(super) variant: BhVariant,
    pub(super) lower_order_final: bool,
    /// Steps after which the corrector is off.
    disable_corrector: Vec<f32>,
    /// The option `solver_p`.
    pub(super) predictor: Option<Box<dyn Scheduler>>,
    final_sigma: FinalSigma,
    shift_terminal: Option<f64>,
    spacing: TimestepSpacing,
    steps_offset: usize,
}

impl Config {
    pub(super) fn read(config: &Value) -> Result<Self, SchedulerError> {
        let reader = ConfigReader::new(KIND, config)?;
        let alphas = BetaOptions::read(&reader)?.positive_alphas_cumprod();
        let config = Self {
            training: SolverSigmas::new(SigmaOptions::read(&reader)?, &alphas),
            order: reader.count("solver_order", 2, SOLVER_ORDERS)?,
            prediction: reader.choice("prediction_type", PredictionType::Epsilon, PREDICTION_TYPES_AND_FLOW)?,
            threshold: DynamicThreshold::read(&reader)?,
            predict_x0: reader.flag("predict_x0", true)?,
            variant: reader.choice("solver_type", BhVariant::Bh2, VARIANTS)?,
            lower_order_final: reader.flag("lower_order_final", true)?,
            disable_corrector: reader.optional_list("disable_corrector")?.unwrap_or_default(),
            predictor: match reader.get("solver_p") {
                None | Some(Value::Null) => None,
                Some(nested) => Some(from_config(kind_of_config(nested)?, nested)?),
            },
            final_sigma: reader.choice("final_sigmas_type", FinalSigma::Zero, FINAL_SIGMAS)?,
            shift_terminal: reader.optional_number("shift_terminal")?,
            spacing: reader.choice("timestep_spacing", TimestepSpacing::Linspace, TIMESTEP_SPACINGS)?,
            steps_offset: reader.count("steps_offset", 0, STEPS_OFFSETS)?,
        };
        config.check(&reader)?;
        Ok(config)
    }

    /// Refuses combinations for which there is no formula.
    fn check(&self, reader: &ConfigReader) -> Result<(), SchedulerError> {
        if self.shift_terminal.is_some() && !self.training.options.flow {
            return Err(reader.unsupported("shift_terminal", "needs `use_flow_sigmas`"));
        }
        if !self.predict_x0 && self.prediction == PredictionType::Flow {
            return Err(reader.unsupported("prediction_type", "\"flow_prediction\" needs `predict_x0`"));
        }
        Ok(())
    }

    /// Whether the sample of a step may be corrected.
    pub(super) fn corrects_after(&self, index: usize) -> bool {
        index > 0 && !self.disable_corrector.contains(&((index - 1) as f32))
    }

    /// The timesteps and sigmas of a request.
    pub(super) fn table(&self, schedule: &Schedule) -> Result<Table, SchedulerError> {
        let options = &self.training.options;
        if options.dynamic_shifting && schedule.mu.is_none() {
            return Err(unsupported(KIND, "mu", "must be given with `use_dynamic_shifting`"));
        }
        let points = match &schedule.points {
            SchedulePoints::Steps(steps) => self.by_steps(checked_steps(KIND, *steps)?, schedule.mu),
            SchedulePoints::Sigmas(sigmas) => {
                checked_steps(KIND, sigmas.len())?;
                self.check_explicit_sigmas()?;
                self.by_flow(sigmas.clone(), schedule.mu)
            }
            SchedulePoints::Timesteps(_) => return Err(unsupported(KIND, "timesteps", "cannot be given explicitly")),
        };
        let interpolated = options.shape.is_none() && !options.flow;
        let least = if interpolated { None } else { points.1.last().copied() };
        let last = match self.final_sigma {
            FinalSigma::Zero => 0.0,
            FinalSigma::SigmaMin => least.unwrap_or(self.training.sigma_min()),
        };
        self.training.table(KIND, points, last)
    }

    /// Explicit sigmas are those of a flow. With a shape, diffusers would make rising sigmas of them.
    fn check_explicit_sigmas(&self) -> Result<(), SchedulerError> {
        let reason = match (self.training.options.flow, self.training.options.shape) {
            (true, None) => return Ok(()),
            (true, Some(shape)) => format!("cannot be given with `{}`", shape.option()),
            (false, _) => "need `use_flow_sigmas`".to_owned(),
        };
        Err(unsupported(KIND, "sigmas", reason))
    }

    fn by_steps(&self, steps: usize, mu: Option<f64>) -> Points {
        let training = &self.training;
        match (training.options.shape, training.options.flow) {
            (Some(SigmaShape::Karras), true) => {
                let sigmas = training.shaped(SigmaShape::Karras, steps);
                let sigmas: Vec<f64> = sigmas.iter().map(|sigma| sigma / (sigma + 1.0)).collect();
                (training.flow_timesteps(&sigmas), sigmas)
            }
            (Some(shape), _) => training.by_shape(shape, steps),
            (None, true) => {
                let mut sigmas = linspace(1.0, 1.0 / training.train() as f64, steps + 1);
                sigmas.truncate(steps);
                self.by_flow(sigmas, mu)
            }
            (None, false) => training.by_spacing(self.spacing, steps, self.steps_offset),
        }
    }

    /// Shifts the levels of a flow, and adds their timesteps.
    fn by_flow(&self, mut sigmas: Vec<f64>, mu: Option<f64>) -> Points {
        /// How far below 1 the first level is kept, where its logarithmic signal-to-noise ratio is finite.
        const GAP: f64 = 1e-6;
        let options = &self.training.options;
        let mu = mu.filter(|_| options.dynamic_shifting);
        for sigma in &mut sigmas {
            *sigma = match mu {
                None => options.flow_shift * *sigma / (1.0 + (options.flow_shift - 1.0) * *sigma),
                Some(mu) => {
                    let factor = match options.time_shift {
                        TimeShift::Exponential => mu.exp(),
                        TimeShift::Linear => mu,
                    };
                    factor / (factor + (1.0 / *sigma - 1.0))
                }
            };
        }
        let terminal = self.shift_terminal.filter(|&terminal| terminal != 0.0);
        // A single level of 1 cannot be stretched.
        let least = sigmas.last().copied().filter(|&least| least != 1.0);
        if let (Some(terminal), Some(least)) = (terminal, least) {
            let scale = (1.0 - least) / (1.0 - terminal);
            sigmas
                .iter_mut()
                .for_each(|sigma| *sigma = 1.0 - (1.0 - *sigma) / scale);
        }
        if let Some(first) = sigmas.first_mut().filter(|first| (**first - 1.0).abs() < GAP) {
            *first -= GAP;
        }
        (self.training.flow_timesteps(&sigmas), sigmas)
    }
}
