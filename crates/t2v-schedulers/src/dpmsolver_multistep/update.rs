//! One update of the multistep DPM-Solver.

use burn::tensor::Tensor;

use crate::dpmsolver::{Algorithm, SolverType, Transition};
use crate::level::Level;

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
        let step = Transition::new(self.algorithm, self.levels[0], self.target);
        let ratio = |i: usize| step.step_ratio(self.levels[i + 1], self.levels[i]);
        let mut next = sample * step.sample() + outputs[0].clone() * step.first_order();
        if self.levels.len() == 2 {
            let difference = (outputs[0].clone() - outputs[1].clone()) * (1.0 / ratio(0));
            next = next + difference * step.second_order(self.solver);
        }
        if self.levels.len() == 3 {
            let (r0, r1) = (ratio(0), ratio(1));
            let late = (outputs[0].clone() - outputs[1].clone()) * (1.0 / r0);
            let early = (outputs[1].clone() - outputs[2].clone()) * (1.0 / r1);
            let second_difference = late.clone() - early;
            let slope = late + second_difference.clone() * (r0 / (r0 + r1));
            let curvature = second_difference * (1.0 / (r0 + r1));
            next = next + slope * step.slope() + curvature * step.curvature();
        }
        match noise {
            Some(noise) => next + noise * step.noise(),
            None => next,
        }
    }
}
