//! One update of the singlestep DPM-Solver.

use burn::tensor::Tensor;

use crate::dpmsolver::{SolverType, Step, Transition};

/// The next sample from the one at the group's start, the converted model outputs (latest first) and noise.
///
/// The order of the solver is the number of levels, all of the same group.
pub(super) fn update(step: &Step, start: Tensor<5>, outputs: &[Tensor<5>], noise: Option<Tensor<5>>) -> Tensor<5> {
    let first = step.levels.len() - 1;
    let base = step.levels[first];
    let transition = Transition::new(step.algorithm, base, step.target);
    let slope = |i: usize| {
        let ratio = transition.step_ratio(base, step.levels[i]);
        (outputs[i].clone() - outputs[first].clone()) * (1.0 / ratio)
    };
    let mut next = start * transition.sample() + outputs[first].clone() * transition.first_order();
    if first == 1 {
        next = next + slope(0) * transition.second_order(step.solver);
    }
    if first == 2 {
        next = next
            + match step.solver {
                SolverType::Midpoint => slope(0) * transition.slope(),
                SolverType::Heun => {
                    let (r0, r1) = (
                        transition.step_ratio(base, step.levels[0]),
                        transition.step_ratio(base, step.levels[1]),
                    );
                    let (near, far) = (slope(1), slope(0));
                    let second_difference = (far.clone() - near.clone()) * 2.0 / (r0 - r1);
                    let straight = (near * r0 - far * r1) / (r0 - r1);
                    straight * transition.slope() + second_difference * transition.curvature()
                }
            };
    }
    match noise {
        Some(noise) => next + noise * transition.noise(),
        None => next,
    }
}
