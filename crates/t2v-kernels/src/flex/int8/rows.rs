//! The left side of products, and how rows of numbers become small integers.

use rten_simd::{Isa, SimdOp};

use super::{
    super::{
        buffer::{Scratch, bytes_mut},
        product::Matrix,
        simd::run,
    },
    instructions::Instructions,
};

/// The largest integer; the smallest is its negative, so that zero stays zero.
const LARGEST: f32 = 127.0;
/// Added to a number of at most 22 bits, it leaves the nearest integer in the lowest bits.
const ROUNDING: f32 = 12_582_912.0;
/// Rows in which nothing is as large count as zeros, since the inverse of their step would not be finite.
const TINY: f32 = 1e-30;
/// Words that are left free between rows, so that they aren't all in one place of the cache.
const GAP: usize = 16;

/// How a row becomes integers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Steps {
    /// What its values are taken to be multiples of. NaN if one of them is not finite, so that no product with the row is.
    pub(super) step: f32,
    inverse: f32,
}

impl Steps {
    pub(super) fn of(values: &[f32]) -> Self {
        let largest = run(Magnitude { values });
        let [step, inverse] = match largest {
            _ if !largest.is_finite() => [f32::NAN, 0.0],
            _ if largest < TINY => [0.0; 2],
            _ => [largest / LARGEST, LARGEST / largest],
        };
        Self { step, inverse }
    }

    /// Writes the nearest multiples of the step, plus `offset`, as words of `group` integers. What is left of the last word is
    /// `offset`.
    pub(super) fn quantise(self, values: &[f32], offset: i32, group: usize, words: &mut [f32]) {
        let (inverse, rounding) = (self.inverse, ROUNDING + offset as f32);
        let bytes = bytes_mut(words);
        if group == 4 {
            let out = bytes.as_chunks_mut::<1>().0;
            run(Quantise {
                values,
                inverse,
                rounding,
                out,
            });
        } else {
            let out = bytes.as_chunks_mut::<2>().0;
            run(Quantise {
                values,
                inverse,
                rounding,
                out,
            });
        }
    }
}

/// The largest absolute value, or one that is not finite if there is one.
struct Magnitude<'a> {
    values: &'a [f32],
}

impl SimdOp for Magnitude<'_> {
    type Output = f32;

    #[inline(always)]
    fn eval<I: Isa>(self, _: I) -> f32 {
        // Without their signs, bits of numbers are in the order of the numbers, infinity and NaN above all others.
        let mut largest = 0;
        for x in self.values {
            largest = largest.max(x.abs().to_bits() as i32);
        }
        f32::from_bits(largest as u32)
    }
}

/// Writes integers of `N` bytes.
struct Quantise<'a, const N: usize> {
    values: &'a [f32],
    inverse: f32,
    rounding: f32,
    out: &'a mut [[u8; N]],
}

impl<const N: usize> SimdOp for Quantise<'_, N> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, _: I) {
        let (out, behind) = self.out.split_at_mut(self.values.len());
        for (out, x) in out.iter_mut().zip(self.values) {
            *out = lowest_bytes(x * self.inverse + self.rounding);
        }
        behind.fill(lowest_bytes(self.rounding));
    }
}

#[inline(always)]
fn lowest_bytes<const N: usize>(x: f32) -> [u8; N] {
    let bytes = x.to_bits().to_le_bytes();
    let mut lowest = [0; N];
    lowest.copy_from_slice(&bytes[..N]);
    lowest
}

/// Rows of integers, and their steps; one for many matrices, one after the other.
#[derive(Default)]
pub(in super::super) struct Rows {
    words: Scratch,
    stride: usize,
    steps: Vec<f32>,
    /// Room for matrices whose rows are not in order.
    room: Scratch,
}

impl Rows {
    /// Words, how many there are from one row to the next, and the rows' steps.
    pub(super) fn words(&self) -> (&[f32], usize, &[f32]) {
        (&self.words, self.stride, &self.steps)
    }

    /// Quantises a matrix, in place of what was here.
    pub(super) fn fill(&mut self, matrix: Matrix, instructions: Instructions) {
        let (rows, columns) = (matrix.rows(), matrix.columns());
        let (group, offset) = (instructions.group(), instructions.row_offset());
        let depth = columns.div_ceil(group);
        self.stride = depth + GAP;
        self.steps.clear();
        let words = self.words.at_least(rows * self.stride);
        let (values, value_stride) = matrix.by_rows(&mut self.room);
        for (row, words) in words.chunks_exact_mut(self.stride).enumerate() {
            let values = &values[row * value_stride..][..columns];
            let steps = Steps::of(values);
            steps.quantise(values, offset, group, &mut words[..depth]);
            self.steps.push(steps.step);
        }
    }
}
