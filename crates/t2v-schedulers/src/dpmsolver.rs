//! What the multistep and the singlestep DPM-Solver share: the algorithms, and the coefficients of an update.
//!
//! Equations: Lu et al., <https://arxiv.org/abs/2206.00927>, appendix B (`dpmsolver`), and
//! <https://arxiv.org/abs/2211.01095>, appendix B (`dpmsolver++` and its stochastic kin). `lambda = ln(alpha / sigma)`, and
//! `h` is its growth in the step.

use burn::tensor::{DType, Tensor};

use crate::SchedulerError;
use crate::config::ConfigReader;
use crate::float32::exp;
use crate::level::Level;
use crate::prediction::{PredictionType, epsilon_of};
use crate::scheduler::NoiseSource;
use crate::sigmas::FinalSigma;
use crate::thresholding::DynamicThreshold;

/// The option `algorithm_type`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Algorithm {
    Dpm,
    DpmPlusPlus,
    SdeDpm,
    SdeDpmPlusPlus,
}

/// The option `solver_type`, which matters to orders 2 and 3.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum SolverType {
    Midpoint,
    Heun,
}

/// The solver types by diffusers' names. Other schedulers' types stand for `midpoint`.
pub(crate) const SOLVER_TYPES: &[(&str, SolverType)] = &[
    ("midpoint", SolverType::Midpoint),
    ("heun", SolverType::Heun),
    ("logrho", SolverType::Midpoint),
    ("bh1", SolverType::Midpoint),
    ("bh2", SolverType::Midpoint),
];

/// Whether a model's output has the variance in its second half of channels. DDPM's other types mean that it has not.
pub(crate) const VARIANCE_TYPES: &[(&str, bool)] = &[
    ("learned", true),
    ("learned_range", true),
    ("fixed_small", false),
    ("fixed_small_log", false),
    ("fixed_large", false),
    ("fixed_large_log", false),
];

impl Algorithm {
    /// Whether the solver works on estimates of the clean sample, not of the noise.
    pub(crate) fn predicts_original(self) -> bool {
        matches!(self, Self::DpmPlusPlus | Self::SdeDpmPlusPlus)
    }

    /// The noise of a step, if the solver adds any.
    pub(crate) fn fresh_noise(self, sample: &Tensor<5>, noise: &mut dyn NoiseSource) -> Option<Tensor<5>> {
        let stochastic = matches!(self, Self::SdeDpm | Self::SdeDpmPlusPlus);
        stochastic.then(|| noise.normal(sample.dims(), &sample.device()).cast(DType::F32))
    }
}

/// Refuses, for algorithms that work on estimates of the noise, options for which there is no formula.
pub(crate) fn check_noise_prediction(
    reader: &ConfigReader,
    algorithm: Algorithm,
    final_sigma: FinalSigma,
    prediction: PredictionType,
) -> Result<(), SchedulerError> {
    if algorithm.predicts_original() {
        return Ok(());
    }
    if final_sigma == FinalSigma::Zero {
        let reason = "\"zero\" needs `algorithm_type` \"dpmsolver++\" or \"sde-dpmsolver++\"; expected \"sigma_min\"";
        return Err(reader.unsupported("final_sigmas_type", reason));
    }
    if prediction == PredictionType::Flow {
        let reason = "\"flow_prediction\" needs `algorithm_type` \"dpmsolver++\" or \"sde-dpmsolver++\"";
        return Err(reader.unsupported("prediction_type", reason));
    }
    Ok(())
}

/// How a model's output becomes the estimate that an algorithm works on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Conversion {
    pub(crate) algorithm: Algorithm,
    pub(crate) prediction: PredictionType,
    pub(crate) threshold: Option<DynamicThreshold>,
    /// The output's second half of channels is a variance.
    pub(crate) learned_variance: bool,
}

impl Conversion {
    /// The estimate, of the clean sample or of the noise, at a noise level that has `raw_sigma` in the table.
    pub(crate) fn apply(&self, output: Tensor<5>, sample: Tensor<5>, level: Level, raw_sigma: f32) -> Tensor<5> {
        let Level { alpha, sigma } = level;
        let threshold = |original| match self.threshold {
            Some(threshold) => threshold.apply(original),
            None => original,
        };
        let output = match self.learned_variance && self.prediction == PredictionType::Epsilon {
            true => output.narrow(1, 0, sample.dims()[1]),
            false => output,
        };
        if self.algorithm.predicts_original() {
            return threshold(level.original(self.prediction, output, sample, raw_sigma));
        }
        let epsilon = self.prediction.epsilon(output, sample.clone(), alpha, sigma);
        if self.threshold.is_none() {
            return epsilon;
        }
        let original = threshold((sample.clone() - epsilon * sigma) / alpha);
        epsilon_of(original, sample, alpha, sigma)
    }
}

/// A step of a solver: the level to reach, then the present one and those before that it uses.
pub(crate) struct Step<'a> {
    pub(crate) algorithm: Algorithm,
    pub(crate) solver: SolverType,
    pub(crate) target: Level,
    pub(crate) levels: &'a [Level],
}

/// The way from one noise level to a lower one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transition {
    algorithm: Algorithm,
    start: Level,
    target: Level,
    h: f32,
}

impl Transition {
    pub(crate) fn new(algorithm: Algorithm, start: Level, target: Level) -> Self {
        Self {
            algorithm,
            start,
            target,
            h: target.lambda() - start.lambda(),
        }
    }

    /// The growth of lambda from `early` to `late`, as a share of that in this step.
    pub(crate) fn step_ratio(&self, early: Level, late: Level) -> f32 {
        (late.lambda() - early.lambda()) / self.h
    }

    /// The coefficient of the sample.
    pub(crate) fn sample(&self) -> f32 {
        let (target, start) = (self.target, self.start);
        match self.algorithm {
            Algorithm::DpmPlusPlus => target.sigma / start.sigma,
            Algorithm::SdeDpmPlusPlus => target.sigma / start.sigma * exp(-self.h),
            Algorithm::Dpm | Algorithm::SdeDpm => target.alpha / start.alpha,
        }
    }

    /// The coefficient of noise.
    pub(crate) fn noise(&self) -> f32 {
        self.target.sigma
            * match self.algorithm {
                Algorithm::SdeDpmPlusPlus => (1.0 - exp(-2.0 * self.h)).sqrt(),
                Algorithm::SdeDpm => (exp(2.0 * self.h) - 1.0).sqrt(),
                Algorithm::Dpm | Algorithm::DpmPlusPlus => 0.0,
            }
    }

    /// The coefficient of the estimate itself.
    pub(crate) fn first_order(&self) -> f32 {
        let (Level { alpha, sigma }, h) = (self.target, self.h);
        match self.algorithm {
            Algorithm::DpmPlusPlus => -(alpha * (exp(-h) - 1.0)),
            Algorithm::Dpm => -(sigma * (exp(h) - 1.0)),
            Algorithm::SdeDpmPlusPlus => alpha * (1.0 - exp(-2.0 * h)),
            Algorithm::SdeDpm => -2.0 * (sigma * (exp(h) - 1.0)),
        }
    }

    /// The coefficient of the first difference in the second-order solvers.
    pub(crate) fn second_order(&self, solver: SolverType) -> f32 {
        match solver {
            SolverType::Midpoint => 0.5 * self.first_order(),
            SolverType::Heun => self.slope(),
        }
    }

    /// The coefficient of the slope, from the exact integral of a straight line.
    pub(crate) fn slope(&self) -> f32 {
        let (Level { alpha, sigma }, h) = (self.target, self.h);
        match self.algorithm {
            Algorithm::DpmPlusPlus => alpha * ((exp(-h) - 1.0) / h + 1.0),
            Algorithm::Dpm => -(sigma * ((exp(h) - 1.0) / h - 1.0)),
            Algorithm::SdeDpmPlusPlus => alpha * ((1.0 - exp(-2.0 * h)) / (-2.0 * h) + 1.0),
            Algorithm::SdeDpm => -2.0 * (sigma * ((exp(h) - 1.0) / h - 1.0)),
        }
    }

    /// The coefficient of the curvature in the third-order solvers; `sde-dpmsolver` has none.
    pub(crate) fn curvature(&self) -> f32 {
        let (Level { alpha, sigma }, h) = (self.target, self.h);
        let double = 2.0 * h;
        match self.algorithm {
            Algorithm::DpmPlusPlus => -(alpha * ((exp(-h) - 1.0 + h) / (h * h) - 0.5)),
            Algorithm::Dpm => -(sigma * ((exp(h) - 1.0 - h) / (h * h) - 0.5)),
            Algorithm::SdeDpmPlusPlus => alpha * ((1.0 - exp(-double) - double) / (double * double) - 0.5),
            Algorithm::SdeDpm => 0.0,
        }
    }
}
