//! The options of the singlestep DPM-Solver.

use serde_json::Value;

use super::KIND;
use crate::SchedulerError;
use crate::betas::BetaOptions;
use crate::config::ConfigReader;
use crate::dpmsolver::{Algorithm, Conversion, SOLVER_TYPES, SolverType, VARIANCE_TYPES};
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
        config.check(&reader)?;
        Ok((config, SigmaOptions::read(&reader)?, betas.alphas_cumprod()))
    }

    /// Refuses combinations for which there is no formula.
    fn check(&self, reader: &ConfigReader) -> Result<(), SchedulerError> {
        if self.conversion.algorithm.predicts_original() {
            return Ok(());
        }
        if self.final_sigma == FinalSigma::Zero {
            let reason =
                "\"zero\" needs `algorithm_type` \"dpmsolver++\" or \"sde-dpmsolver++\"; expected \"sigma_min\"";
            return Err(reader.unsupported("final_sigmas_type", reason));
        }
        if self.conversion.prediction == PredictionType::Flow {
            let reason = "\"flow_prediction\" needs `algorithm_type` \"dpmsolver++\" or \"sde-dpmsolver++\"";
            return Err(reader.unsupported("prediction_type", reason));
        }
        Ok(())
    }

    /// The order of each step of a run.
    ///
    /// The orders repeat 1, 2, .. up to the solver's. The last is 1 with `lower_order_final` and, even without, where the
    /// run ends at a sigma of 0.
    pub(super) fn orders(&self, steps: usize) -> Vec<usize> {
        let mut orders: Vec<usize> = (0..steps).map(|index| index % self.order + 1).collect();
        let lowers = self.lower_order_final && steps.is_multiple_of(self.order);
        if let Some(last) = orders
            .last_mut()
            .filter(|_| lowers || self.final_sigma == FinalSigma::Zero)
        {
            *last = 1;
        }
        orders
    }
}
