//! Numbers as they are stored, of 32 or 16 bits, and how those of 16 become single precision.

use half::{bf16, f16};
use rten_simd::{Isa, SimdOp};

use super::simd::{self, run};

/// Numbers that single precision holds exactly.
pub(super) trait Stored: Copy + Send + Sync {
    fn single(self) -> f32;

    /// Eight neighbours in single precision.
    ///
    /// # Safety
    /// The processor has AVX2 and F16C, and all eight can be read.
    #[cfg(target_arch = "x86_64")]
    #[expect(unsafe_code, reason = "a tile is read by pointer")]
    unsafe fn eight(from: *const Self) -> std::arch::x86_64::__m256;
}

impl Stored for f32 {
    fn single(self) -> f32 {
        self
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    #[expect(unsafe_code, reason = "a tile is read by pointer")]
    unsafe fn eight(from: *const Self) -> std::arch::x86_64::__m256 {
        // SAFETY: the caller's promise.
        unsafe { std::arch::x86_64::_mm256_loadu_ps(from) }
    }
}

impl Stored for f16 {
    #[inline(always)]
    fn single(self) -> f32 {
        self.to_f32()
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    #[expect(unsafe_code, reason = "a tile is read by pointer")]
    unsafe fn eight(from: *const Self) -> std::arch::x86_64::__m256 {
        use std::arch::x86_64::{_mm_loadu_si128, _mm256_cvtph_ps};
        // SAFETY: the caller's promise.
        unsafe { _mm256_cvtph_ps(_mm_loadu_si128(from.cast())) }
    }
}

impl Stored for bf16 {
    /// The upper half of the bits.
    #[inline(always)]
    fn single(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    #[expect(unsafe_code, reason = "a tile is read by pointer")]
    unsafe fn eight(from: *const Self) -> std::arch::x86_64::__m256 {
        use std::arch::x86_64::{_mm_loadu_si128, _mm256_castsi256_ps, _mm256_cvtepu16_epi32, _mm256_slli_epi32};
        // SAFETY: the caller's promise.
        unsafe {
            let bits = _mm256_cvtepu16_epi32(_mm_loadu_si128(from.cast()));
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(bits))
        }
    }
}

/// Writes numbers in single precision to as many elements.
pub(super) fn widen<T: Stored>(from: &[T], out: &mut [f32]) {
    assert_eq!(from.len(), out.len(), "each number has its place");
    #[cfg(target_arch = "x86_64")]
    if simd::may_use_avx2() {
        // SAFETY: the processor has AVX2 and F16C.
        #[expect(unsafe_code, reason = "a function for processors that have certain instructions")]
        return unsafe { widen_avx2(from, out) };
    }
    run(Widen { from, out });
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,f16c")]
#[expect(unsafe_code, reason = "vectors are read and written by pointer")]
fn widen_avx2<T: Stored>(from: &[T], out: &mut [f32]) {
    let (runs, last) = from.as_chunks::<8>();
    let (wide, wide_last) = out.as_chunks_mut::<8>();
    for (run, wide) in runs.iter().zip(wide) {
        // SAFETY: both have eight elements.
        unsafe { std::arch::x86_64::_mm256_storeu_ps(wide.as_mut_ptr(), T::eight(run.as_ptr())) };
    }
    for (number, wide) in last.iter().zip(wide_last) {
        *wide = number.single();
    }
}

struct Widen<'a, T> {
    from: &'a [T],
    out: &'a mut [f32],
}

impl<T: Stored> SimdOp for Widen<'_, T> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, _: I) {
        for (number, wide) in self.from.iter().zip(self.out) {
            *wide = number.single();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every number of 16 bits, at every place of a vector.
    #[test]
    fn halves_are_widened_exactly() {
        let bits: Vec<u16> = (0..=u16::MAX).collect();
        for shift in [0, 3] {
            let bits = &bits[shift..];
            let same =
                |wide: f32, expected: f32| wide.to_bits() == expected.to_bits() || wide.is_nan() && expected.is_nan();
            let mut wide = vec![0.0; bits.len()];
            let halves: Vec<f16> = bits.iter().map(|bits| f16::from_bits(*bits)).collect();
            widen(&halves, &mut wide);
            assert!(halves.iter().zip(&wide).all(|(half, wide)| same(*wide, half.to_f32())));
            let halves: Vec<bf16> = bits.iter().map(|bits| bf16::from_bits(*bits)).collect();
            widen(&halves, &mut wide);
            assert!(halves.iter().zip(&wide).all(|(half, wide)| same(*wide, half.to_f32())));
        }
    }
}
