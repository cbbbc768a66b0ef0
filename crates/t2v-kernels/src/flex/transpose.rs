//! Transposing matrices.

use super::{simd, stored::Stored};

/// Rows and columns that are transposed by a few instructions.
const TILE: usize = 8;

/// A part of a buffer: lines that are `stride` elements apart.
pub(super) struct Lines<'a, T = f32> {
    pub(super) values: &'a [T],
    pub(super) stride: usize,
}

impl<T> Lines<'_, T> {
    /// Asks the processor for the first `len` elements of each of `count` lines, which are used soon.
    #[cfg_attr(
        not(target_arch = "x86_64"),
        expect(unused_variables, reason = "others are asked for nothing")
    )]
    pub(super) fn prefetch(&self, [count, len]: [usize; 2]) {
        #[cfg(target_arch = "x86_64")]
        for line in 0..count {
            x86_64::prefetch(&self.values[line * self.stride..][..len]);
        }
    }
}

/// Writes the first `len` elements of each of `count` lines, in single precision, as columns of `out`, whose rows are `stride` elements
/// apart.
pub(super) fn transpose<T: Stored>(from: Lines<T>, [count, len]: [usize; 2], out: &mut [f32], stride: usize) {
    let whole = if simd::may_use_avx2() {
        [count / TILE * TILE, len / TILE * TILE]
    } else {
        [0, 0]
    };
    #[cfg(target_arch = "x86_64")]
    x86_64::transpose_tiles(&from, whole, out, stride);
    plainly(&from, [0..whole[0], whole[1]..len], out, stride);
    plainly(&from, [whole[0]..count, 0..len], out, stride);
}

/// Transposes these lines and these elements of each.
fn plainly<T: Stored>(from: &Lines<T>, [lines, elements]: [std::ops::Range<usize>; 2], out: &mut [f32], stride: usize) {
    /// Lines that are read beside each other.
    const RUN: usize = 16;
    for first in lines.clone().step_by(RUN) {
        let lines = first..lines.end.min(first + RUN);
        for element in elements.clone() {
            let out = &mut out[element * stride..][lines.clone()];
            for (out, line) in out.iter_mut().zip(lines.clone()) {
                *out = from.values[line * from.stride + element].single();
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "vector instructions that have no safe name")]
mod x86_64 {
    use std::arch::x86_64::{
        _MM_HINT_T1, _mm_prefetch, _mm256_permute2f128_ps, _mm256_setzero_ps, _mm256_shuffle_ps, _mm256_storeu_ps,
        _mm256_unpackhi_ps, _mm256_unpacklo_ps,
    };

    use super::{Lines, Stored, TILE};

    /// Asks for `values` to be in the second cache.
    pub(super) fn prefetch<T>(values: &[T]) {
        /// Bytes that come from memory together.
        const CACHE_LINE: usize = 64;
        for line in values.chunks(CACHE_LINE / size_of::<T>()) {
            // SAFETY: nothing is read.
            unsafe { _mm_prefetch::<_MM_HINT_T1>(line.as_ptr().cast()) }
        }
    }

    /// Transposes whole tiles: `count` lines and `len` elements of each, both multiples of [`TILE`], or none.
    pub(super) fn transpose_tiles<T: Stored>(
        from: &Lines<T>,
        [count, len]: [usize; 2],
        out: &mut [f32],
        stride: usize,
    ) {
        if count == 0 || len == 0 {
            return;
        }
        assert!(from.values.len() >= (count - 1) * from.stride + len && out.len() >= (len - 1) * stride + count);
        // SAFETY: there are tiles only where the processor has AVX2, and all of them lie within the slices.
        unsafe { transpose_all(from, [count, len], out.as_mut_ptr(), stride) }
    }

    /// # Safety
    /// All tiles lie within their buffers.
    #[target_feature(enable = "avx2,f16c")]
    unsafe fn transpose_all<T: Stored>(from: &Lines<T>, [count, len]: [usize; 2], out: *mut f32, stride: usize) {
        for line in (0..count).step_by(TILE) {
            for element in (0..len).step_by(TILE) {
                // SAFETY: the caller's promise.
                unsafe {
                    let from_tile = from.values.as_ptr().add(line * from.stride + element);
                    transpose_tile(from_tile, from.stride, out.add(element * stride + line), stride);
                }
            }
        }
    }

    /// # Safety
    /// The tiles lie within their buffers.
    #[target_feature(enable = "avx2,f16c")]
    #[inline]
    unsafe fn transpose_tile<T: Stored>(from: *const T, from_stride: usize, out: *mut f32, stride: usize) {
        const LOW: i32 = 0b01_00_01_00;
        const HIGH: i32 = 0b11_10_11_10;
        let mut lines = [_mm256_setzero_ps(); TILE];
        for (index, line) in lines.iter_mut().enumerate() {
            // SAFETY: the caller's promise.
            *line = unsafe { T::eight(from.add(index * from_stride)) };
        }
        // Halves of columns: elements 0 to 3 of each half of a vector, from lines 0 to 3 and from lines 4 to 7.
        let mut halves = [[_mm256_setzero_ps(); 4]; 2];
        for (half, lines) in halves.iter_mut().zip(lines.chunks_exact(4)) {
            let (low_a, high_a) = (
                _mm256_unpacklo_ps(lines[0], lines[1]),
                _mm256_unpackhi_ps(lines[0], lines[1]),
            );
            let (low_b, high_b) = (
                _mm256_unpacklo_ps(lines[2], lines[3]),
                _mm256_unpackhi_ps(lines[2], lines[3]),
            );
            *half = [
                _mm256_shuffle_ps::<LOW>(low_a, low_b),
                _mm256_shuffle_ps::<HIGH>(low_a, low_b),
                _mm256_shuffle_ps::<LOW>(high_a, high_b),
                _mm256_shuffle_ps::<HIGH>(high_a, high_b),
            ];
        }
        let [above, below] = halves;
        for (index, (above, below)) in above.into_iter().zip(below).enumerate() {
            // SAFETY: the caller's promise.
            unsafe {
                _mm256_storeu_ps(out.add(index * stride), _mm256_permute2f128_ps::<0x20>(above, below));
                _mm256_storeu_ps(
                    out.add((index + 4) * stride),
                    _mm256_permute2f128_ps::<0x31>(above, below),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_the_lines_and_nothing_else_is_written() {
        for [count, len] in [
            [1, 1],
            [8, 8],
            [16, 24],
            [7, 9],
            [9, 7],
            [19, 37],
            [40, 3],
            [0, 5],
            [5, 0],
        ] {
            let (from_stride, stride) = (len + 3, count + 2);
            let values: Vec<f32> = (0..count * from_stride).map(|i| i as f32).collect();
            let mut out = vec![-1.0; len * stride];
            let from = Lines {
                values: &values,
                stride: from_stride,
            };
            transpose(from, [count, len], &mut out, stride);
            for (i, out) in out.iter().enumerate() {
                let (element, line) = (i / stride, i % stride);
                let expected = if line < count {
                    values[line * from_stride + element]
                } else {
                    -1.0
                };
                assert_eq!(*out, expected, "{count}x{len}: line {line}, element {element}");
            }
        }
    }
}
