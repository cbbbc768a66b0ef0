//! One update of the singlestep DPM-Solver.

use burn::tensor::Tensor;

use crate::dpmsolver::{Algorithm, SolverType, Transition};
use crate::level::Level;

/// The levels of a step: the one to reach, then the present one and those before in the group of model calls.
pub(super) struct Step<'a> {
    pub(super) algorithm: Algorithm,
    pub(super) solver: SolverType,
    pub(super) target: Level,
    pub(super) levels: &'a [Level],
}

impl Step<'_> {
    /// The next sample from the one at the group's start, the converted model outputs (latest first) and noise.
    ///
    /// The order of the solver is the number of levels.
    pub(super) fn update(&self, start: Tensor<5>, outputs: &[Tensor<5>], noise: Option<Tensor<5>>) -> Tensor<5> {
        let first = self.levels.len() - 1;
        let base = self.levels[first];
        let step = Transition::new(self.algorithm, base, self.target);
        let slope = |i: usize| {
            let ratio = step.step_ratio(base, self.levels[i]);
            (outputs[i].clone() - outputs[first].clone()) * (1.0 / ratio)
        };
        let mut next = start * step.sample() + outputs[first].clone() * step.first_order();
        if first == 1 {
            next = next + slope(0) * step.second_order(self.solver);
        }
        if first == 2 {
            next = next
                + match self.solver {
                    SolverType::Midpoint => slope(0) * step.slope(),
                    SolverType::Heun => {
                        let (r0, r1) = (
                            step.step_ratio(base, self.levels[0]),
                            step.step_ratio(base, self.levels[1]),
                        );
                        let (near, far) = (slope(1), slope(0));
                        let second_difference = (far.clone() - near.clone()) * 2.0 / (r0 - r1);
                        let straight = (near * r0 - far * r1) / (r0 - r1);
                        straight * step.slope() + second_difference * step.curvature()
                    }
                };
        }
        match noise {
            Some(noise) => next + noise * step.noise(),
            None => next,
        }
    }
}
