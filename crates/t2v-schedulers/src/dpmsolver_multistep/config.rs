//! The options of the multistep DPM-Solver.

use serde_json::Value;

use super::KIND;
use crate::SchedulerError;
use crate::betas::{BetaOptions, BetaSchedule};
use crate::config::{ConfigReader, STEPS_OFFSETS};
use crate::dpmsolver::{Algorithm, Conversion, SOLVER_TYPES, SolverType, VARIANCE_TYPES, check_noise_prediction};
use crate::prediction::{PREDICTION_TYPES_AND_FLOW, PredictionType};
use crate::sigmas::{FINAL_SIGMAS, FinalSigma};
use crate::solver_sigmas::SigmaOptions;
use crate::spacing::{TIMESTEP_SPACINGS, TimestepSpacing};
use crate::thresholding::DynamicThreshold;

/// Another scheduler's `deis` stands for its nearest relative.
const ALGORITHMS: &[(&str, Algorithm)] = &[
    ("dpmsolver", Algorithm::Dpm),
    ("dpmsolver++", Algorithm::DpmPlusPlus),
    ("sde-dpmsolver", Algorithm::SdeDpm),
    ("sde-dpmsolver++", Algorithm::SdeDpmPlusPlus),
    ("deis", Algorithm::DpmPlusPlus),
];

/// The options of a `scheduler_config.json`, checked.
#[derive(Debug)]
pub(super) struct Config {
    pub(super) betas: BetaOptions,
    pub(super) order: usize,
    prediction: PredictionType,
    threshold: Option<DynamicThreshold>,
    algorithm: Algorithm,
    pub(super) solver: SolverType,
    pub(super) lower_order_final: bool,
    pub(super) euler_at_final: bool,
    pub(super) lu_lambdas: bool,
    pub(super) sigmas: SigmaOptions,
    pub(super) final_sigma: FinalSigma,
    pub(super) lambda_min_clipped: f64,
    learned_variance: bool,
    pub(super) spacing: TimestepSpacing,
    pub(super) steps_offset: usize,
}

impl Config {
    pub(super) fn read(config: &Value) -> Result<Self, SchedulerError> {
        let reader = ConfigReader::new(KIND, config)?;
        reader.choice("time_shift_type", (), &[("exponential", ())])?;
        let config = Self {
            betas: BetaOptions::read(&reader)?,
            order: reader.count("solver_order", 2, 1..=3)?,
            prediction: reader.choice("prediction_type", PredictionType::Epsilon, PREDICTION_TYPES_AND_FLOW)?,
            threshold: DynamicThreshold::read(&reader)?,
            algorithm: reader.choice("algorithm_type", Algorithm::DpmPlusPlus, ALGORITHMS)?,
            solver: reader.choice("solver_type", SolverType::Midpoint, SOLVER_TYPES)?,
            lower_order_final: reader.flag("lower_order_final", true)?,
            euler_at_final: reader.flag("euler_at_final", false)?,
            lu_lambdas: reader.flag("use_lu_lambdas", false)?,
            sigmas: SigmaOptions::read(&reader)?,
            final_sigma: reader.choice("final_sigmas_type", FinalSigma::Zero, FINAL_SIGMAS)?,
            lambda_min_clipped: reader.number_or_minus_infinity("lambda_min_clipped")?,
            learned_variance: reader
                .optional_choice("variance_type", VARIANCE_TYPES)?
                .unwrap_or(false),
            spacing: reader.choice("timestep_spacing", TimestepSpacing::Linspace, TIMESTEP_SPACINGS)?,
            steps_offset: reader.count("steps_offset", 0, STEPS_OFFSETS)?,
        };
        config.check(&reader)?;
        Ok(config)
    }

    /// Refuses combinations for which there is no formula.
    fn check(&self, reader: &ConfigReader) -> Result<(), SchedulerError> {
        if self.order == 3 && self.algorithm == Algorithm::SdeDpm {
            let reason = "is 3, \"sde-dpmsolver\" has orders 1 and 2 only";
            return Err(reader.unsupported("solver_order", reason));
        }
        check_noise_prediction(reader, self.algorithm, self.final_sigma, self.prediction)
    }

    /// How a model's output becomes the solver's estimate.
    pub(super) fn conversion(&self) -> Conversion {
        Conversion {
            algorithm: self.algorithm,
            prediction: self.prediction,
            threshold: self.threshold,
            learned_variance: self.learned_variance,
        }
    }

    /// Whether timesteps found from sigmas are rounded.
    pub(super) fn rounds_timesteps(&self) -> bool {
        self.betas.schedule != BetaSchedule::SquaredCosine
    }
}
