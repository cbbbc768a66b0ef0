//! The weights of the Adams-Bashforth method, which pseudo linear multistep methods combine model outputs with.

use std::collections::VecDeque;

use burn::tensor::Tensor;

/// The most outputs that are combined.
pub(crate) const MAX_ORDER: usize = 4;

/// The combination of outputs (latest first) of equal steps, of as high an order as there are outputs, up to 4.
pub(crate) fn combine(outputs: &VecDeque<Tensor<5>>) -> Option<Tensor<5>> {
    let (weights, divisor): (&[f32], f32) = match outputs.len() {
        0 | 1 => (&[1.0], 1.0),
        2 => (&[3.0, -1.0], 2.0),
        3 => (&[23.0, -16.0, 5.0], 12.0),
        _ => (&[55.0, -59.0, 37.0, -9.0], 24.0),
    };
    let terms = outputs
        .iter()
        .zip(weights)
        .map(|(output, &weight)| output.clone() * weight);
    Some(terms.reduce(|sum, term| sum + term)? / divisor)
}
