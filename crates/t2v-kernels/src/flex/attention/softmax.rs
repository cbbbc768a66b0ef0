//! The softmax of scores that become known a block of keys at a time ([Milakov and Gimelshein, 2018](https://arxiv.org/abs/1805.02867)).

use rten_simd::{
    Isa, Simd, SimdOp,
    ops::{BitOps, IntOps, NumOps},
};

use crate::flex::{MOST_LANES, simd::run};

/// Vectors at a time: neighbours don't wait for each other.
const AT_ONCE: usize = 4;

/// The softmax of a row of scores, of which some blocks were seen: its largest score, and the sum of the exponentials of what
/// scores are less than that.
#[derive(Debug, Clone, Copy)]
pub(super) struct Softmax {
    largest: f32,
    sum: f32,
}

impl Softmax {
    /// Of no scores.
    pub(super) const EMPTY: Self = Self {
        largest: f32::NEG_INFINITY,
        sum: 0.0,
    };

    /// What the sum of weighted values is to be multiplied with in the end.
    pub(super) fn norm(&self) -> f32 {
        self.sum.recip()
    }
}

/// The scores of some queries and a block of keys, and what was computed for these queries with the blocks before.
pub(super) struct Scores<'a> {
    /// A row a query: scores, and room for the rest of a vector.
    pub(super) scores: &'a mut [f32],
    /// Elements from one row to the next.
    pub(super) stride: usize,
    pub(super) keys: usize,
    /// Keys that the first query sees, where each sees one more than the one before it: all if they are as many or more, none if
    /// the number is negative.
    pub(super) first_sees: isize,
    /// What scores are multiplied with, positive.
    pub(super) scale: f32,
    /// A state a query.
    pub(super) states: &'a mut [Softmax],
    /// A sum of weighted values a query, as they were weighted in the blocks before.
    pub(super) mixed: &'a mut [f32],
}

impl Scores<'_> {
    /// Replaces scores by weights: the exponentials of what their products with `scale` are less than the largest one yet, none
    /// for keys that a query doesn't see. Sums of the blocks before are weighted accordingly.
    pub(super) fn weigh(self) {
        run(self);
    }
}

impl SimdOp for Scores<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        let (ops, width) = (isa.f32(), self.mixed.len() / self.states.len());
        // In powers of two, which cost least.
        let scale = self.scale * std::f32::consts::LOG2_E;
        let each = self.scores.chunks_mut(self.stride).zip(self.states);
        for (row, ((scores, state), mixed)) in each.zip(self.mixed.chunks_exact_mut(width)).enumerate() {
            let seen = (self.first_sees + row as isize).clamp(0, self.keys as isize) as usize;
            if seen == 0 {
                scores[..self.keys].fill(0.0);
                continue;
            }
            let end = seen.next_multiple_of(ops.len());
            scores[seen..end].fill(f32::NEG_INFINITY);
            let before = *state;
            state.largest = largest(isa, &scores[..end], before.largest);
            state.sum = exponentials(isa, &mut scores[..end], state.largest, scale);
            if seen < self.keys {
                scores[seen..self.keys].fill(0.0);
            }
            if before.sum == 0.0 {
                continue;
            }
            let mut factor = 1.0;
            if state.largest > before.largest {
                factor = ((before.largest - state.largest) * scale).exp2();
                multiply(isa, mixed, factor);
            }
            state.sum += before.sum * factor;
        }
    }
}

#[inline(always)]
fn multiply<I: Isa>(isa: I, values: &mut [f32], factor: f32) {
    let ops = isa.f32();
    let mut vectors = values.chunks_exact_mut(ops.len());
    for vector in vectors.by_ref() {
        ops.store(ops.mul(ops.load(vector), ops.splat(factor)), vector);
    }
    for value in vectors.into_remainder() {
        *value *= factor;
    }
}

/// The largest of whole vectors of scores and another.
#[inline(always)]
fn largest<I: Isa>(isa: I, scores: &[f32], other: f32) -> f32 {
    let ops = isa.f32();
    let mut largest = [ops.splat(other); AT_ONCE];
    let groups = scores.chunks_exact(AT_ONCE * ops.len());
    for scores in groups.remainder().chunks_exact(ops.len()) {
        largest[0] = ops.max(largest[0], ops.load(scores));
    }
    for group in groups {
        for (largest, scores) in largest.iter_mut().zip(group.chunks_exact(ops.len())) {
            *largest = ops.max(*largest, ops.load(scores));
        }
    }
    let [a, b, c, d] = largest;
    let mut lanes = [f32::NEG_INFINITY; MOST_LANES];
    ops.store(ops.max(ops.max(a, b), ops.max(c, d)), &mut lanes);
    let mut largest = f32::NEG_INFINITY;
    for lane in lanes {
        largest = if lane > largest { lane } else { largest };
    }
    largest
}

/// Replaces whole vectors of scores by `2^((score - largest) scale)`, and gives the sum.
#[inline(always)]
fn exponentials<I: Isa>(isa: I, scores: &mut [f32], largest: f32, scale: f32) -> f32 {
    let ops = isa.f32();
    let (largest, scale) = (ops.splat(largest), ops.splat(scale));
    let mut sums = [ops.zero(); AT_ONCE];
    let mut groups = scores.chunks_exact_mut(AT_ONCE * ops.len());
    for group in groups.by_ref() {
        for (sum, scores) in sums.iter_mut().zip(group.chunks_exact_mut(ops.len())) {
            let value = power_of_two(isa, ops.mul(ops.sub(ops.load(scores), largest), scale));
            ops.store(value, scores);
            *sum = ops.add(*sum, value);
        }
    }
    for scores in groups.into_remainder().chunks_exact_mut(ops.len()) {
        let value = power_of_two(isa, ops.mul(ops.sub(ops.load(scores), largest), scale));
        ops.store(value, scores);
        sums[0] = ops.add(sums[0], value);
    }
    let [a, b, c, d] = sums;
    ops.sum(ops.add(ops.add(a, b), ops.add(c, d)))
}

/// `2^x` of numbers that are at most 0, to 1e-7 of it; below the powers that have a normal number, the least of them.
#[inline(always)]
fn power_of_two<I: Isa>(isa: I, x: I::F32) -> I::F32 {
    /// The least whole power.
    const LEAST: f32 = -125.0;
    /// A number of this size has no fractions: added and taken away, it rounds; added, it leaves what was rounded in the last bits.
    const ROUNDING: f32 = 12_582_912.0;
    /// Of the polynomial that is nearest to `2^x`, by the largest relative difference, between -1/2 and 1/2, from the sixth power
    /// down.
    const COEFFICIENTS: [f32; 7] = [
        1.534_581_2e-4,
        1.339_993_1e-3,
        9.618_489e-3,
        5.550_328_6e-2,
        2.402_264_6e-1,
        std::f32::consts::LN_2,
        1.0,
    ];
    let (ops, integers) = (isa.f32(), isa.i32());
    // What is no number stays none, which the larger of the two need not.
    let x = ops.select(ops.splat(LEAST), x, ops.lt(x, ops.splat(LEAST)));
    let shifted = ops.add(x, ops.splat(ROUNDING));
    let rest = ops.sub(x, ops.sub(shifted, ops.splat(ROUNDING)));
    let mut value = ops.splat(COEFFICIENTS[0]);
    for coefficient in &COEFFICIENTS[1..] {
        value = ops.mul_add(value, rest, ops.splat(*coefficient));
    }
    // The whole power is added to the exponent.
    let (bits, whole): (I::I32, I::I32) = (value.reinterpret_cast(), shifted.reinterpret_cast());
    integers.add(bits, integers.shift_left::<23>(whole)).reinterpret_cast()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct PowersOfTwo<'a>(&'a mut [f32]);

    impl SimdOp for PowersOfTwo<'_> {
        type Output = ();

        #[inline(always)]
        fn eval<I: Isa>(self, isa: I) {
            let ops = isa.f32();
            for values in self.0.chunks_exact_mut(ops.len()) {
                ops.store(power_of_two(isa, ops.load(values)), values);
            }
        }
    }

    #[test]
    fn powers_of_two_are_right_to_the_last_bits() {
        let exponents: Vec<f32> = (0..1 << 20).map(|i| i as f32 * -1.19e-4).collect();
        let mut powers = exponents.clone();
        run(PowersOfTwo(&mut powers));
        for (exponent, power) in exponents.into_iter().zip(powers) {
            let expected = f64::from(exponent).exp2();
            let difference = (f64::from(power) - expected).abs();
            assert!(difference <= 1.3e-7 * expected, "2^{exponent}: {power}, {expected}");
        }
        let mut ends = [f32::NEG_INFINITY; 2 * MOST_LANES];
        ends[0] = -0.0;
        ends[1] = -1e30;
        ends[2] = f32::NAN;
        run(PowersOfTwo(&mut ends));
        assert_eq!(ends[0], 1.0);
        assert!(ends[1] < 3e-38 && ends[31] < 3e-38 && ends[2].is_nan(), "{ends:?}");
    }
}
