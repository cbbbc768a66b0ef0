//! The transforms of one dimension.

use rten_simd::ops::NumOps;

use super::{OUT, POINTS, TAPS};

/// The points are 0, ±A, ±B and infinity, where `A B = 1`.
const A: f32 = 2.0 / 3.0;
const B: f32 = 3.0 / 2.0;

/// Six neighbouring inputs at the points.
//
// Here and in the other transforms: no closures, since the compiler doesn't give them the vector instructions of the
// function that they are in.
#[inline(always)]
pub(super) fn input<O: NumOps<f32>>(ops: O, d: [O::Simd; POINTS]) -> [O::Simd; POINTS] {
    let (a2, b2, a2_b2) = (ops.splat(-A * A), ops.splat(-B * B), ops.splat(-(A * A + B * B)));
    let even_a = ops.mul_add(d[2], b2, d[4]);
    let even_b = ops.mul_add(d[2], a2, d[4]);
    let odd_a = ops.mul(ops.mul_add(d[1], b2, d[3]), ops.splat(A));
    let odd_b = ops.mul(ops.mul_add(d[1], a2, d[3]), ops.splat(B));
    [
        ops.mul_add(d[2], a2_b2, ops.add(d[0], d[4])),
        ops.add(even_a, odd_a),
        ops.sub(even_a, odd_a),
        ops.add(even_b, odd_b),
        ops.sub(even_b, odd_b),
        ops.mul_add(d[3], a2_b2, ops.add(d[1], d[5])),
    ]
}

/// Three taps at the points, divided by what the interpolation divides by.
#[inline(always)]
pub(super) fn kernel<O: NumOps<f32>>(ops: O, g: [O::Simd; TAPS]) -> [O::Simd; POINTS] {
    const SCALE_A: f32 = 1.0 / (2.0 * A * A * (A * A - B * B));
    const SCALE_B: f32 = 1.0 / (2.0 * B * B * (B * B - A * A));
    let even_a = ops.mul(ops.mul_add(g[2], ops.splat(A * A), g[0]), ops.splat(SCALE_A));
    let even_b = ops.mul(ops.mul_add(g[2], ops.splat(B * B), g[0]), ops.splat(SCALE_B));
    let odd_a = ops.mul(g[1], ops.splat(A * SCALE_A));
    let odd_b = ops.mul(g[1], ops.splat(B * SCALE_B));
    [
        g[0],
        ops.add(even_a, odd_a),
        ops.sub(even_a, odd_a),
        ops.add(even_b, odd_b),
        ops.sub(even_b, odd_b),
        g[2],
    ]
}

/// The products at the points, back as four neighbouring outputs.
#[inline(always)]
pub(super) fn output<O: NumOps<f32>>(ops: O, m: [O::Simd; POINTS]) -> [O::Simd; OUT] {
    let (sum_a, difference_a) = (ops.add(m[1], m[2]), ops.sub(m[1], m[2]));
    let (sum_b, difference_b) = (ops.add(m[3], m[4]), ops.sub(m[3], m[4]));
    let first = ops.mul(difference_b, ops.splat(B));
    let second = ops.mul(sum_b, ops.splat(B * B));
    let third = ops.mul_add(difference_b, ops.splat(B * B * B), m[5]);
    [
        ops.add(m[0], ops.add(sum_a, sum_b)),
        ops.mul_add(difference_a, ops.splat(A), first),
        ops.mul_add(sum_a, ops.splat(A * A), second),
        ops.mul_add(difference_a, ops.splat(A * A * A), third),
    ]
}
