//! The quantile function of the beta distribution with both parameters 0.6.
//!
//! These are the parameters of "Beta Sampling is All You Need", <https://arxiv.org/abs/2407.12173>, and the only ones in
//! diffusers. The distribution function is the regularised incomplete beta function by its continued fraction (DLMF 8.17.22);
//! its inverse is found by bisection, to the last bit.

const A: f64 = 0.6;
/// The beta function at (0.6, 0.6).
const BETA: f64 = 2.415_344_208_002_475;

/// `scipy.stats.beta.ppf(p, 0.6, 0.6)` for `p` in `[0, 1]`.
pub(crate) fn beta_quantile(p: f64) -> f64 {
    if p <= 0.0 {
        return 0.0;
    }
    if p > 0.5 {
        return 1.0 - beta_quantile(1.0 - p);
    }
    let (mut low, mut high) = (0.0, 0.5);
    loop {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            return high;
        }
        if distribution(middle) < p {
            low = middle
        } else {
            high = middle
        }
    }
}

/// The distribution function on `[0, 0.5]`, where the continued fraction converges fast.
fn distribution(x: f64) -> f64 {
    (x * (1.0 - x)).powf(A) / (A * BETA) * continued_fraction(x)
}

/// Lentz's evaluation of the continued fraction.
fn continued_fraction(x: f64) -> f64 {
    let mut c = 1.0;
    let mut d = 1.0 / (1.0 - 2.0 * A / (A + 1.0) * x);
    let mut value = d;
    for m in 1..200 {
        let m = f64::from(m);
        let even = m * (A - m) * x / ((A + 2.0 * m - 1.0) * (A + 2.0 * m));
        let odd = -(A + m) * (2.0 * A + m) * x / ((A + 2.0 * m) * (A + 2.0 * m + 1.0));
        let mut change = 1.0;
        for term in [even, odd] {
            d = 1.0 / (1.0 + term * d);
            c = 1.0 + term / c;
            change = c * d;
            value *= change;
        }
        if (change - 1.0).abs() < 1e-16 {
            break;
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From `scipy.stats.beta.ppf`, SciPy 1.17.1.
    const SCIPY: &[(f64, f64)] = &[
        (1e-06, 1.8558824624053043e-10),
        (0.001, 1.855873851745199e-05),
        (0.034482758620689655, 0.006768365908747951),
        (0.1, 0.03958440558878085),
        (0.25, 0.17568037865269498),
        (0.3333333333333333, 0.2754132907776234),
        (0.5, 0.5000000000000001),
        (0.6, 0.6372990092467856),
        (0.9, 0.9604155944112192),
        (0.999, 0.9999814412614826),
    ];

    #[test]
    fn quantiles_equal_those_of_scipy() {
        for &(p, expected) in SCIPY {
            let value = beta_quantile(p);
            assert!((value - expected).abs() <= 1e-13 * expected, "{p}: {value} {expected}");
        }
    }

    #[test]
    fn the_distribution_is_symmetric() {
        assert_eq!((beta_quantile(0.0), beta_quantile(1.0)), (0.0, 1.0));
        assert!((beta_quantile(0.5) - 0.5).abs() < 1e-15);
        assert!((beta_quantile(0.2) + beta_quantile(0.8) - 1.0).abs() < 1e-15);
    }
}
