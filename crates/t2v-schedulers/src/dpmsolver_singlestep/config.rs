//! The options of the singlestep DPM-Solver.

use serde_json::Value;

use super::KIND;
use crate::SchedulerError;
use crate::betas::BetaOptions;
use crate::config::ConfigReader;
use crate::dpmsolver::{Algorithm, Conversion, SOLVER_TYPES, SolverType, VARIANCE_TYPES, check_noise_prediction};
use crate::prediction::{PREDICTION_TYPES_AND_FLOW, PredictionType};
use crate::sigmas::{FINAL_SIGMAS, FinalSigma};
use crate::solver_sigmas::SigmaOptions;
use crate::thresholding::DynamicThreshold;

/// Another scheduler's `deis` stands for its nearest relative, also with a final sigma of 0, which diffusers then refuses.
const ALGORITHMS: &[(&str, Algorithm)] = &[
    ("dpmsolver", Algorithm::Dpm),
    ("dpmsolver++", Algorithm::DpmPlusPlus),
    ("sde-dpmsolver++", Algorithm::SdeDpmPlusPlus),
    ("deis", Algorithm::DpmPlusPlus),
];

/// The options of a `scheduler_config.json`, checked.
#[derive(Debug)]
pub(super) struct Config {
    pub(super) order: usize,
    pub(super) conversion: Conversion,
    pub(super) solver: SolverType,
    lower_order_final: bool,
    pub(super) final_sigma: FinalSigma,
    pub(super) lambda_min_clipped: f64,
}

impl Config {
    /// The options, those of the sigmas, and the cumulative products of the betas.
    pub(super) fn read(config: &Value) -> Result<(Self, SigmaOptions, Vec<f32>), SchedulerError> {
        let reader = ConfigReader::new(KIND, config)?;
        let mut betas = BetaOptions::read(&reader)?;
        // Not an option of this scheduler.
        betas.rescale_zero_snr = false;
        let variance = reader.optional_choice("variance_type", VARIANCE_TYPES)?;
        let config = Self {
            order: reader.count("solver_order", 2, 1..=3)?,
            conversion: Conversion {
                algorithm: reader.choice("algorithm_type", Algorithm::DpmPlusPlus, ALGORITHMS)?,
                prediction: reader.choice("prediction_type", PredictionType::Epsilon, PREDICTION_TYPES_AND_FLOW)?,
                threshold: DynamicThreshold::read(&reader)?,
                learned_variance: variance.unwrap_or(false),
            },
            solver: reader.choice("solver_type", SolverType::Midpoint, SOLVER_TYPES)?,
            lower_order_final: reader.flag("lower_order_final", false)?,
            final_sigma: reader.choice("final_sigmas_type", FinalSigma::Zero, FINAL_SIGMAS)?,
            lambda_min_clipped: reader.number_or_minus_infinity("lambda_min_clipped")?,
        };
        let Conversion {
            algorithm, prediction, ..
        } = config.conversion;
        check_noise_prediction(&reader, algorithm, config.final_sigma, prediction)?;
        Ok((config, SigmaOptions::read(&reader)?, betas.alphas_cumprod()))
    }

    /// The order of one of `steps` steps.
    ///
    /// The orders repeat 1, 2, .. up to the solver's. The last is 1 with `lower_order_final` and, even without, where the
    /// run ends at a sigma of 0.
    pub(super) fn order_at(&self, index: usize, steps: usize) -> usize {
        let lowers = self.lower_order_final && steps.is_multiple_of(self.order);
        match index + 1 == steps && (lowers || self.final_sigma == FinalSigma::Zero) {
            true => 1,
            false => index % self.order + 1,
        }
    }
}
