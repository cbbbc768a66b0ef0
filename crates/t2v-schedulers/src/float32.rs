//! Single-precision arithmetic with the roundings of torch and NumPy.

/// Exponential function, rounded once.
pub(crate) fn exp(x: f32) -> f32 {
    f64::from(x).exp() as f32
}

/// Exponential function less 1, rounded once.
pub(crate) fn exp_m1(x: f32) -> f32 {
    f64::from(x).exp_m1() as f32
}

/// Natural logarithm, rounded once.
pub(crate) fn ln(x: f32) -> f32 {
    f64::from(x).ln() as f32
}

/// The geometric mean of two values, by their logarithms; 0 if one is 0.
pub(crate) fn log_mean(a: f32, b: f32) -> f32 {
    let (a, b) = (ln(a), ln(b));
    exp(b - (b - a) * 0.5)
}

/// `torch.linspace(start, end, count, dtype=torch.float32)`: counted from the nearer end, with a fused multiplication.
pub(crate) fn linspace(start: f64, end: f64, count: usize) -> Vec<f32> {
    let (start, end) = (start as f32, end as f32);
    let step = if count > 1 {
        (end - start) / (count - 1) as f32
    } else {
        0.0
    };
    let value = |i: usize| match i < count / 2 {
        true => step.mul_add(i as f32, start),
        false => step.mul_add(-((count - 1 - i) as f32), end),
    };
    if count == 1 {
        vec![start]
    } else {
        (0..count).map(value).collect()
    }
}

/// Natural logarithm of a positive normal number with the error of NumPy's single-precision kernel on x86.
///
/// Diffusers truncates timesteps that come from such logarithms and lie at whole numbers but for a rounding error, so the
/// last bit counts. The kernel evaluates a rational approximation with fused operations.
pub(crate) fn numpy_ln(x: f32) -> f32 {
    const P: [f32; 6] = [0.025_899_792, 0.380_883_78, 1.480_000_6, 2.112_677_6, 1.0, 0.0];
    const Q: [f32; 6] = [0.005_875_095_3, 0.154_647_63, 0.986_494_3, 2.453_006, 2.612_677_6, 1.0];
    let mut exponent = ((x.to_bits() >> 23) as i32 - 127) as f32;
    let mut m = f32::from_bits((x.to_bits() & 0x007f_ffff) | 0x3f80_0000);
    if m > std::f32::consts::SQRT_2 {
        m *= 0.5;
        exponent += 1.0;
    }
    let m = m - 1.0;
    let horner = |c: &[f32; 6]| c.iter().skip(1).fold(c[0], |y, &next| y.mul_add(m, next));
    exponent.mul_add(std::f32::consts::LN_2, horner(&P) / horner(&Q))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numpy_ln_is_a_logarithm() {
        for i in 1..20_000 {
            let x = i as f32 * 7.3e-3;
            assert!((numpy_ln(x) - x.ln()).abs() <= 4e-7 * (1.0 + x.ln().abs()), "{x}");
        }
    }

    /// Values at which NumPy 2.4.6 rounds the other way than the nearest number.
    #[test]
    fn numpy_ln_has_the_bits_of_numpy() {
        for (x, expected) in [
            (0x3b36_3edc, 0xc0bc_51ec),
            (0x3e2d_8d12, 0xbfe3_3334),
            (0x3f40_8402, 0xbe91_eb83),
            (0x3f9f_7f71, 0x3e61_47ac),
            (0x4035_fa3e, 0x3f85_c290),
            (0x425c_9665, 0x4080_51ec),
        ] {
            let x = f32::from_bits(x);
            assert_eq!(numpy_ln(x).to_bits(), expected, "{x}");
            assert_ne!(ln(x).to_bits(), expected, "{x}");
        }
    }

    #[test]
    fn log_mean_is_the_geometric_mean() {
        assert!((log_mean(0.5, 8.0) - 2.0).abs() < 1e-6 && log_mean(0.0, 3.0) == 0.0);
    }

    #[test]
    fn linspace_hits_both_ends() {
        assert_eq!(linspace(0.1, 0.7, 1), [0.1]);
        assert_eq!(linspace(0.1, 0.7, 2), [0.1, 0.7]);
        let values = linspace(-1.0, 1.0, 5);
        assert_eq!(values, [-1.0, -0.5, 0.0, 0.5, 1.0]);
    }
}
