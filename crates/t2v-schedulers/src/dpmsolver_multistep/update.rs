//! One update of the multistep DPM-Solver.

use burn::tensor::Tensor;

use crate::dpmsolver::{Step, Transition};

/// The next sample from the present one, the converted model outputs (latest first) and noise.
///
/// The order of the solver is the number of levels.
pub(super) fn update(step: &Step, sample: Tensor<5>, outputs: &[Tensor<5>], noise: Option<Tensor<5>>) -> Tensor<5> {
    let transition = Transition::new(step.algorithm, step.levels[0], step.target);
    let ratio = |i: usize| transition.step_ratio(step.levels[i + 1], step.levels[i]);
    let mut next = sample * transition.sample() + outputs[0].clone() * transition.first_order();
    if step.levels.len() == 2 {
        let difference = (outputs[0].clone() - outputs[1].clone()) * (1.0 / ratio(0));
        next = next + difference * transition.second_order(step.solver);
    }
    if step.levels.len() == 3 {
        let (r0, r1) = (ratio(0), ratio(1));
        let late = (outputs[0].clone() - outputs[1].clone()) * (1.0 / r0);
        let early = (outputs[1].clone() - outputs[2].clone()) * (1.0 / r1);
        let second_difference = late.clone() - early;
        let slope = late + second_difference.clone() * (r0 / (r0 + r1));
        let curvature = second_difference * (1.0 / (r0 + r1));
        next = next + slope * transition.slope() + curvature * transition.curvature();
    }
    match noise {
        Some(noise) => next + noise * transition.noise(),
        None => next,
    }
}
