//! One update of DEIS: the integrals of Lagrange's polynomials in `ln(rho)` over `rho = sigma / alpha`.

use burn::tensor::Tensor;

use crate::float32::{exp, numpy_ln};
use crate::level::Level;

/// The next sample from the present one and the estimates of the noise (latest first).
///
/// `levels` are the present level and the ones before, as many as the order of the solver.
pub(super) fn update(sample: Tensor<5>, outputs: &[Tensor<5>], target: Level, levels: &[Level]) -> Tensor<5> {
    let present = levels[0];
    if levels.len() == 1 {
        let h = target.lambda() - present.lambda();
        let change = outputs[0].clone() * (target.sigma * (exp(h) - 1.0));
        return sample * (target.alpha / present.alpha) - change;
    }
    let rho = |level: Level| level.sigma / level.alpha;
    let (end, start) = (rho(target), rho(present));
    let integral = |of: usize| {
        let node = |i: usize| numpy_ln(rho(levels[(of + i) % levels.len()]));
        match levels.len() {
            2 => second(end, node(0), node(1)) - second(start, node(0), node(1)),
            _ => third(end, [node(0), node(1), node(2)]) - third(start, [node(0), node(1), node(2)]),
        }
    };
    let terms = (0..levels.len()).map(|of| outputs[of].clone() * integral(of));
    terms.fold(sample / present.alpha, |sum, term| sum + term) * target.alpha
}

/// An antiderivative in rho of the line that is 1 at the logarithm `b` and 0 at `c`.
fn second(rho: f32, b: f32, c: f32) -> f32 {
    rho * (-c + numpy_ln(rho) - 1.0) / (b - c)
}

/// An antiderivative in rho of the parabola that is 1 at the logarithm `b` and 0 at `c` and `d`.
fn third(rho: f32, [b, c, d]: [f32; 3]) -> f32 {
    let t = numpy_ln(rho);
    let numerator = rho * (c * (d - t + 1.0) - d * t + d + t * t - 2.0 * t + 2.0);
    numerator / ((b - c) * (b - d))
}
