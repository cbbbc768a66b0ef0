//! Products of integers, a tile at a time: a few rows by a few vectors of columns, whose sums stay in registers.

use super::{super::product::Target, instructions::Instructions};

/// Rows by a panel of columns. Words are the bits of floats, so that buffers are those of all operators.
#[derive(Clone, Copy)]
#[cfg_attr(
    not(target_arch = "x86_64"),
    allow(dead_code, reason = "there are no instructions that read them")
)]
pub(super) struct Operands<'a> {
    /// Words of rows, `stride` apart, and the rows' steps.
    pub(super) rows: &'a [f32],
    pub(super) stride: usize,
    pub(super) row_steps: &'a [f32],
    /// Words of a panel: the first of each column, then the second of each.
    pub(super) panel: &'a [f32],
    /// For each column its step, the part of a sum that comes of the rows' offset, and what is added to the product.
    pub(super) column_steps: &'a [f32],
    pub(super) surplus: &'a [i32],
    pub(super) bias: &'a [f32],
    /// Words of a row, and of a column.
    pub(super) depth: usize,
    /// Columns that are there; the rest of the panel's last vector is filled up.
    pub(super) columns: usize,
}

/// Writes, or adds, the product of rows and a panel.
///
/// # Panics
/// On instructions that the processor hasn't.
pub(super) fn multiply(instructions: Instructions, operands: &Operands, out: &mut Target) {
    assert!(instructions.are_there(), "only instructions that are there are chosen");
    #[cfg(target_arch = "x86_64")]
    x86_64::multiply(instructions, operands, out);
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (operands, out);
}

#[cfg(target_arch = "x86_64")]
#[expect(
    unsafe_code,
    reason = "vector instructions that have no safe name, and bounds that are checked once"
)]
mod x86_64 {
    //! AVX2 and AVX-512 VNNI.

    use std::arch::x86_64::{
        __m256i, __m512i, _mm256_add_epi32, _mm256_add_ps, _mm256_cvtepi32_ps, _mm256_loadu_ps, _mm256_loadu_si256,
        _mm256_madd_epi16, _mm256_mul_ps, _mm256_set1_epi32, _mm256_set1_ps, _mm256_setzero_si256, _mm256_storeu_ps,
        _mm256_sub_epi32, _mm512_add_ps, _mm512_cvtepi32_ps, _mm512_dpbusd_epi32, _mm512_loadu_ps, _mm512_loadu_si512,
        _mm512_mul_ps, _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_si512, _mm512_storeu_ps, _mm512_sub_epi32,
    };

    use super::{Instructions, Operands, Target};

    /// Columns of the widest panel.
    const MOST_COLUMNS: usize = 48;

    pub(super) fn multiply(instructions: Instructions, operands: &Operands, out: &mut Target) {
        match instructions {
            // SAFETY: the caller has seen that the processor has the instructions.
            Instructions::Avx2 => unsafe { avx2(operands, out) },
            // SAFETY: as above.
            Instructions::Vnni => unsafe { vnni(operands, out) },
        }
    }

    #[target_feature(enable = "avx2")]
    fn avx2(operands: &Operands, out: &mut Target) {
        match operands.columns.div_ceil(Avx2::LANES) {
            1 => panel::<Avx2, 6, 1>(operands, out),
            _ => panel::<Avx2, 6, 2>(operands, out),
        }
    }

    #[target_feature(enable = "avx512f,avx512vnni")]
    fn vnni(operands: &Operands, out: &mut Target) {
        match operands.columns.div_ceil(Vnni::LANES) {
            1 => panel::<Vnni, 8, 1>(operands, out),
            2 => panel::<Vnni, 8, 2>(operands, out),
            _ => panel::<Vnni, 8, 3>(operands, out),
        }
    }

    /// Where a vector of sums becomes a vector of the product. Each pointer is to as many values as a vector has.
    struct Ends {
        surplus: *const i32,
        column_steps: *const f32,
        bias: *const f32,
        out: *mut f32,
    }

    /// Vectors of integers whose products are added up. Only functions for processors that have the instructions call them.
    trait Vectors {
        type Integers: Copy;
        const LANES: usize;

        fn zero() -> Self::Integers;

        /// # Safety
        /// The pointer is to a vector of words.
        unsafe fn load(words: *const f32) -> Self::Integers;

        /// # Safety
        /// The pointer is to a word.
        unsafe fn splat(word: *const f32) -> Self::Integers;

        /// `sums` and, word by word, the products of integers of rows and columns.
        fn add_products(sums: Self::Integers, row: Self::Integers, column: Self::Integers) -> Self::Integers;

        /// Writes `(sums - surplus) * (column_steps * step) + bias`, or adds it.
        ///
        /// # Safety
        /// As [`Ends`] says.
        unsafe fn finish(sums: Self::Integers, step: f32, ends: Ends, add: bool);
    }

    /// All rows by a panel of `V` vectors, `R` rows at a time.
    #[inline(always)]
    fn panel<T: Vectors, const R: usize, const V: usize>(operands: &Operands, out: &mut Target) {
        let rows = operands.row_steps.len();
        let mut row = 0;
        while rows - row >= R {
            tile::<T, R, V>(operands, row, out);
            row += R;
        }
        while rows - row >= 2 {
            tile::<T, 2, V>(operands, row, out);
            row += 2;
        }
        if row < rows {
            tile::<T, 1, V>(operands, row, out);
        }
    }

    /// `R` rows, from the `row`th on, by `V` vectors.
    #[inline(always)]
    fn tile<T: Vectors, const R: usize, const V: usize>(operands: &Operands, row: usize, out: &mut Target) {
        let (columns, width) = (operands.columns, V * T::LANES);
        let (start, stride) = (row * out.stride, out.stride);
        let sums = sum_products::<T, R, V>(operands, row);
        let steps = &operands.row_steps[row..][..R];
        let values = &mut out.values[start..][..(R - 1) * stride + columns];
        if columns == width {
            return finish::<T, R, V>(operands, sums, steps, values, stride, out.add);
        }
        // The last vector is not whole.
        let mut whole = [[0.0; MOST_COLUMNS]; R];
        if out.add {
            for (whole, out) in whole.iter_mut().zip(values.chunks(stride)) {
                whole[..columns].copy_from_slice(&out[..columns]);
            }
        }
        finish::<T, R, V>(operands, sums, steps, whole.as_flattened_mut(), MOST_COLUMNS, out.add);
        for (whole, out) in whole.iter().zip(values.chunks_mut(stride)) {
            out[..columns].copy_from_slice(&whole[..columns]);
        }
    }

    #[inline(always)]
    #[expect(
        clippy::needless_range_loop,
        reason = "with iterators the sums don't stay in registers"
    )]
    fn sum_products<T: Vectors, const R: usize, const V: usize>(
        operands: &Operands,
        row: usize,
    ) -> [[T::Integers; V]; R] {
        let (depth, stride) = (operands.depth, operands.stride);
        let rows = &operands.rows[row * stride..][..(R - 1) * stride + depth];
        let panel = &operands.panel[..depth * V * T::LANES];
        let mut sums = [[T::zero(); V]; R];
        let (left, mut right) = (rows.as_ptr(), panel.as_ptr());
        // SAFETY: the words lie within the slices.
        unsafe {
            for k in 0..depth {
                let mut vectors = [T::zero(); V];
                for v in 0..V {
                    vectors[v] = T::load(right.add(v * T::LANES));
                }
                for r in 0..R {
                    let word = T::splat(left.add(r * stride + k));
                    for v in 0..V {
                        sums[r][v] = T::add_products(sums[r][v], word, vectors[v]);
                    }
                }
                right = right.add(V * T::LANES);
            }
        }
        sums
    }

    /// Makes numbers of the sums, in rows that are `stride` apart.
    #[inline(always)]
    #[allow(
        clippy::needless_range_loop,
        reason = "with iterators the sums don't stay in registers"
    )]
    fn finish<T: Vectors, const R: usize, const V: usize>(
        operands: &Operands,
        sums: [[T::Integers; V]; R],
        steps: &[f32],
        out: &mut [f32],
        stride: usize,
        add: bool,
    ) {
        let width = V * T::LANES;
        assert!(out.len() >= (R - 1) * stride + width && steps.len() == R);
        let surplus = operands.surplus[..width].as_ptr();
        let column_steps = operands.column_steps[..width].as_ptr();
        let bias = operands.bias[..width].as_ptr();
        let out = out.as_mut_ptr();
        for r in 0..R {
            for v in 0..V {
                let at = v * T::LANES;
                // SAFETY: all of these vectors lie within their slices.
                unsafe {
                    let ends = Ends {
                        surplus: surplus.add(at),
                        column_steps: column_steps.add(at),
                        bias: bias.add(at),
                        out: out.add(r * stride + at),
                    };
                    T::finish(sums[r][v], steps[r], ends, add);
                }
            }
        }
    }

    struct Avx2;

    impl Vectors for Avx2 {
        type Integers = __m256i;
        const LANES: usize = 8;

        #[inline(always)]
        fn zero() -> __m256i {
            // SAFETY: the instructions are there.
            unsafe { _mm256_setzero_si256() }
        }

        #[inline(always)]
        unsafe fn load(words: *const f32) -> __m256i {
            // SAFETY: the instructions are there, and the words by the caller's promise.
            unsafe { _mm256_loadu_si256(words.cast()) }
        }

        #[inline(always)]
        unsafe fn splat(word: *const f32) -> __m256i {
            // SAFETY: the instructions are there, and the words by the caller's promise.
            unsafe { _mm256_set1_epi32(word.cast::<i32>().read()) }
        }

        #[inline(always)]
        fn add_products(sums: __m256i, row: __m256i, column: __m256i) -> __m256i {
            // SAFETY: the instructions are there.
            unsafe { _mm256_add_epi32(sums, _mm256_madd_epi16(row, column)) }
        }

        #[inline(always)]
        unsafe fn finish(sums: __m256i, step: f32, ends: Ends, add: bool) {
            // SAFETY: the instructions are there, and the values by the caller's promise.
            unsafe {
                let sums = _mm256_cvtepi32_ps(_mm256_sub_epi32(sums, _mm256_loadu_si256(ends.surplus.cast())));
                let steps = _mm256_mul_ps(_mm256_loadu_ps(ends.column_steps), _mm256_set1_ps(step));
                let mut value = _mm256_add_ps(_mm256_mul_ps(sums, steps), _mm256_loadu_ps(ends.bias));
                if add {
                    value = _mm256_add_ps(value, _mm256_loadu_ps(ends.out));
                }
                _mm256_storeu_ps(ends.out, value);
            }
        }
    }

    struct Vnni;

    impl Vectors for Vnni {
        type Integers = __m512i;
        const LANES: usize = 16;

        #[inline(always)]
        fn zero() -> __m512i {
            // SAFETY: the instructions are there.
            unsafe { _mm512_setzero_si512() }
        }

        #[inline(always)]
        unsafe fn load(words: *const f32) -> __m512i {
            // SAFETY: the instructions are there, and the words by the caller's promise.
            unsafe { _mm512_loadu_si512(words.cast()) }
        }

        #[inline(always)]
        unsafe fn splat(word: *const f32) -> __m512i {
            // SAFETY: the instructions are there, and the words by the caller's promise.
            unsafe { _mm512_set1_epi32(word.cast::<i32>().read()) }
        }

        #[inline(always)]
        fn add_products(sums: __m512i, row: __m512i, column: __m512i) -> __m512i {
            // SAFETY: the instructions are there.
            unsafe { _mm512_dpbusd_epi32(sums, row, column) }
        }

        #[inline(always)]
        unsafe fn finish(sums: __m512i, step: f32, ends: Ends, add: bool) {
            // SAFETY: the instructions are there, and the values by the caller's promise.
            unsafe {
                let sums = _mm512_cvtepi32_ps(_mm512_sub_epi32(sums, _mm512_loadu_si512(ends.surplus.cast())));
                let steps = _mm512_mul_ps(_mm512_loadu_ps(ends.column_steps), _mm512_set1_ps(step));
                let mut value = _mm512_add_ps(_mm512_mul_ps(sums, steps), _mm512_loadu_ps(ends.bias));
                if add {
                    value = _mm512_add_ps(value, _mm512_loadu_ps(ends.out));
                }
                _mm512_storeu_ps(ends.out, value);
            }
        }
    }
}
