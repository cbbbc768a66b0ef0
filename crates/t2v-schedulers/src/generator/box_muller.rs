//! Box–Muller as torch's AVX2 path computes it: G. E. P. Box and M. E. Muller, Ann. Math. Stat. 29 (1958).
//!
//! Torch takes the logarithm, sine and cosine from the single-precision polynomials of Cephes (S. L. Moshier), eight
//! lanes at a time, and its compiler fuses some multiplications and additions. The same operations in the same order,
//! with [`f32::mul_add`] where torch's build has a fused one, give the same bits on any platform.

/// Turns 16 uniforms of `[0, 1)` into normal values: radii from the first eight, angles from the last eight.
pub(super) fn box_muller_16(values: &mut [f32; 16]) {
    for i in 0..8 {
        let radius = (-2.0 * ln(1.0 - values[i])).sqrt();
        let (sine, cosine) = sin_cos(2.0 * std::f32::consts::PI * values[i + 8]);
        // Adding zero turns -0 into +0, as torch's addition of the mean does.
        values[i] = radius * cosine + 0.0;
        values[i + 8] = radius * sine + 0.0;
    }
}

/// Evaluates a polynomial, highest coefficient first, with fused operations.
fn horner(coefficients: &[f32], x: f32) -> f32 {
    coefficients
        .iter()
        .skip(1)
        .fold(coefficients[0], |y, &c| y.mul_add(x, c))
}

/// Natural logarithm of a positive normal number.
fn ln(x: f32) -> f32 {
    const P: [f32; 9] = [
        0.070_376_836,
        -0.115_146_1,
        0.116_769_984,
        -0.124_201_41,
        0.142_493_23,
        -0.166_680_57,
        0.200_007_14,
        -0.249_999_94,
        0.333_333_3,
    ];
    const LN2_LOW: f32 = -0.000_212_194_44;
    const LN2_HIGH: f32 = 0.693_359_4;
    let bits = x.to_bits();
    let mut exponent = ((bits >> 23) as i32 - 126) as f32;
    let mut m = f32::from_bits((bits & 0x007f_ffff) | 0x3f00_0000);
    if m < std::f32::consts::FRAC_1_SQRT_2 {
        exponent -= 1.0;
        m = (m - 1.0) + m;
    } else {
        m -= 1.0;
    }
    let square = m * m;
    let cube = horner(&P, m) * m;
    let low = cube.mul_add(square, exponent * LN2_LOW);
    let tail = square.mul_add(-0.5, low);
    exponent.mul_add(LN2_HIGH, m + tail)
}

/// Sine and cosine of an angle of `[0, 2π]`.
fn sin_cos(angle: f32) -> (f32, f32) {
    const SINE: [f32; 3] = [-0.000_195_152_96, 0.008_332_161, -0.166_666_55];
    const COSINE: [f32; 3] = [2.443_315_7e-5, -0.001_388_731_6, 0.041_666_646];
    let octant = ((angle * std::f32::consts::FRAC_2_PI * 2.0) as u32 + 1) & !1;
    let y = octant as f32;
    // The angle less its octants of π/4, in three parts (Cody and Waite).
    let x = y.mul_add(-0.785_156_25, angle);
    let x = y.mul_add(-0.000_241_875_65, x);
    let x = y.mul_add(-3.774_895e-8, x);
    let z = x * x;
    let cosine = (horner(&COSINE, z) * z).mul_add(z, -(z * 0.5)) + 1.0;
    let sine = (horner(&SINE, z) * z).mul_add(x, x);
    let (sine, cosine) = if octant & 2 == 0 {
        (sine, cosine)
    } else {
        (cosine, sine)
    };
    let flip = |value: f32, yes: bool| if yes { -value } else { value };
    (flip(sine, octant & 4 != 0), flip(cosine, (octant + 2) & 4 != 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_functions_are_close_to_those_of_the_standard_library() {
        for i in 1..=4096 {
            let x = i as f32 / 4096.0;
            assert!((ln(x) - x.ln()).abs() < 1e-6, "ln {x}");
            let angle = x * std::f32::consts::TAU;
            let (sine, cosine) = sin_cos(angle);
            assert!(
                (sine - angle.sin()).abs() < 1e-6 && (cosine - angle.cos()).abs() < 1e-6,
                "{angle}"
            );
        }
    }
}
