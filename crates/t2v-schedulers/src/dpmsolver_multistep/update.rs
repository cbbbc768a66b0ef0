//! One update of the multistep DPM-Solver: the coefficients of sample, finite differences and noise.
//!
//! Equations: Lu et al., <https://arxiv.org/abs/2206.00927>, appendix B (`dpmsolver`), and
//! <https://arxiv.org/abs/2211.01095>, appendix B (`dpmsolver++` and its stochastic kin). `lambda = ln(alpha / sigma)`, and
//! `h` is its growth in the step.

use burn::tensor::Tensor;

use super::{Algorithm, SolverType};
use crate::float32::{exp, ln};

/// A noise level, as the parts of a sample `alpha * original + sigma * noise`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Level {
    pub(super) alpha: f32,
    pub(super) sigma: f32,
}

impl Level {
    fn lambda(self) -> f32 {
        ln(self.alpha) - ln(self.sigma)
    }
}

/// The levels of a step: the one to reach, then the present one and the ones before.
pub(super) struct Step<'a> {
    pub(super) algorithm: Algorithm,
    pub(super) solver: SolverType,
    pub(super) target: Level,
    pub(super) levels: &'a [Level],
}

impl Step<'_> {
    /// The next sample from the present one, the converted model outputs (latest first) and noise.
    ///
    /// The order of the solver is the number of levels.
    pub(super) fn update(&self, sample: Tensor<5>, outputs: &[Tensor<5>], noise: Option<Tensor<5>>) -> Tensor<5> {
        let h = self.target.lambda() - self.levels[0].lambda();
        let growth = |i: usize| (self.levels[i].lambda() - self.levels[i + 1].lambda()) / h;
        let mut next = sample * self.sample_coefficient(h) + outputs[0].clone() * self.first(h);
        if self.levels.len() == 2 {
            let difference = (outputs[0].clone() - outputs[1].clone()) * (1.0 / growth(0));
            next = next + difference * self.second(h);
        }
        if self.levels.len() == 3 {
            let (r0, r1) = (growth(0), growth(1));
            let late = (outputs[0].clone() - outputs[1].clone()) * (1.0 / r0);
            let early = (outputs[1].clone() - outputs[2].clone()) * (1.0 / r1);
            let bend = late.clone() - early;
            let slope = late + bend.clone() * (r0 / (r0 + r1));
            let curvature = bend * (1.0 / (r0 + r1));
            next = next + slope * self.heun_second(h) + curvature * self.third(h);
        }
        match noise {
            Some(noise) => next + noise * self.noise_coefficient(h),
            None => next,
        }
    }

    fn sample_coefficient(&self, h: f32) -> f32 {
        let (target, present) = (self.target, self.levels[0]);
        match self.algorithm {
            Algorithm::DpmPlusPlus => target.sigma / present.sigma,
            Algorithm::SdeDpmPlusPlus => target.sigma / present.sigma * exp(-h),
            Algorithm::Dpm | Algorithm::SdeDpm => target.alpha / present.alpha,
        }
    }

    fn noise_coefficient(&self, h: f32) -> f32 {
        self.target.sigma
            * match self.algorithm {
                Algorithm::SdeDpmPlusPlus => (1.0 - exp(-2.0 * h)).sqrt(),
                Algorithm::SdeDpm => (exp(2.0 * h) - 1.0).sqrt(),
                Algorithm::Dpm | Algorithm::DpmPlusPlus => 0.0,
            }
    }

    /// The coefficient of the latest output.
    fn first(&self, h: f32) -> f32 {
        let Level { alpha, sigma } = self.target;
        match self.algorithm {
            Algorithm::DpmPlusPlus => -(alpha * (exp(-h) - 1.0)),
            Algorithm::Dpm => -(sigma * (exp(h) - 1.0)),
            Algorithm::SdeDpmPlusPlus => alpha * (1.0 - exp(-2.0 * h)),
            Algorithm::SdeDpm => -2.0 * (sigma * (exp(h) - 1.0)),
        }
    }

    /// The coefficient of the first difference in the second-order solvers.
    fn second(&self, h: f32) -> f32 {
        match self.solver {
            SolverType::Midpoint => 0.5 * self.first(h),
            SolverType::Heun => self.heun_second(h),
        }
    }

    /// The coefficient of the slope from the exact integral of a straight line.
    fn heun_second(&self, h: f32) -> f32 {
        let Level { alpha, sigma } = self.target;
        match self.algorithm {
            Algorithm::DpmPlusPlus => alpha * ((exp(-h) - 1.0) / h + 1.0),
            Algorithm::Dpm => -(sigma * ((exp(h) - 1.0) / h - 1.0)),
            Algorithm::SdeDpmPlusPlus => alpha * ((1.0 - exp(-2.0 * h)) / (-2.0 * h) + 1.0),
            Algorithm::SdeDpm => -2.0 * (sigma * ((exp(h) - 1.0) / h - 1.0)),
        }
    }

    /// The coefficient of the curvature in the third-order solvers; `sde-dpmsolver` has none.
    fn third(&self, h: f32) -> f32 {
        let Level { alpha, sigma } = self.target;
        let double = 2.0 * h;
        match self.algorithm {
            Algorithm::DpmPlusPlus => -(alpha * ((exp(-h) - 1.0 + h) / (h * h) - 0.5)),
            Algorithm::Dpm => -(sigma * ((exp(h) - 1.0 - h) / (h * h) - 0.5)),
            Algorithm::SdeDpmPlusPlus => alpha * ((1.0 - exp(-double) - double) / (double * double) - 0.5),
            Algorithm::SdeDpm => 0.0,
        }
    }
}
