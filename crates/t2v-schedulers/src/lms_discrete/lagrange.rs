//! Integrals of Lagrange polynomials.

/// The integrals from 0 to `end` of the polynomials that are 1 at one of the nodes and 0 at the others.
pub(super) fn integrals(nodes: &[f64], end: f64) -> Vec<f64> {
    (0..nodes.len()).map(|one| integral(nodes, one, end)).collect()
}

fn integral(nodes: &[f64], one: usize, end: f64) -> f64 {
    // Coefficients, lowest power first.
    let mut polynomial = vec![1.0];
    for (_, node) in nodes.iter().enumerate().filter(|&(i, _)| i != one) {
        polynomial = times_linear(&polynomial, -node, nodes[one] - node);
    }
    let terms = polynomial.iter().zip(1..);
    terms.map(|(c, power)| c * end.powi(power) / f64::from(power)).sum()
}

/// A polynomial times `(x + constant) / divisor`.
fn times_linear(polynomial: &[f64], constant: f64, divisor: f64) -> Vec<f64> {
    let at = |i: usize| polynomial.get(i).copied().unwrap_or(0.0);
    let lower = |i: usize| i.checked_sub(1).map_or(0.0, at);
    let coefficient = |i: usize| (lower(i) + at(i) * constant) / divisor;
    (0..=polynomial.len()).map(coefficient).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_nodes_give_the_adams_bashforth_coefficients() {
        let expected = [55.0, -59.0, 37.0, -9.0].map(|c| c / 24.0);
        let found = integrals(&[0.0, -1.0, -2.0, -3.0], 1.0);
        assert!(
            found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-14),
            "{found:?}"
        );
        assert_eq!(integrals(&[0.0], -0.7), [-0.7]);
    }

    #[test]
    fn integrals_sum_to_the_length() {
        let sum: f64 = integrals(&[0.0, 0.3, 1.7, 2.9, 8.8], -0.4).iter().sum();
        assert!((sum + 0.4).abs() < 1e-14, "{sum}");
    }
}
