//! Which vector instructions an operator is compiled for and runs with.

use rten_simd::{Isa, SimdOp, SimdUnaryOp, isa::GenericIsa, ops::BitOps};

use crate::settings::{Vectors, has_avx2, settings};

/// Runs an operator with the widest vectors of the processor that [settings](crate::settings) allow.
pub(super) fn run<Op: SimdOp>(op: Op) -> Op::Output {
    run_with(settings().vectors, op)
}

#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "functions for processors that have certain instructions")]
fn run_with<Op: SimdOp>(vectors: Vectors, op: Op) -> Op::Output {
    use rten_simd::isa::{Avx2Isa, Avx512Isa};

    #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,f16c")]
    fn avx512<Op: SimdOp>(isa: Avx512Isa, op: Op) -> Op::Output {
        op.eval(isa)
    }

    #[target_feature(enable = "avx2,fma,f16c")]
    fn avx2<Op: SimdOp>(isa: Avx2Isa, op: Op) -> Op::Output {
        op.eval(isa)
    }

    if vectors >= Vectors::Avx512
        && let Some(isa) = Avx512Isa::new()
    {
        // SAFETY: the processor has these instructions, or there would be no such value.
        return unsafe { avx512(isa, op) };
    }
    if vectors >= Vectors::Avx2
        && let Some(isa) = Avx2Isa::new()
    {
        // SAFETY: as above.
        return unsafe { avx2(isa, op) };
    }
    op.eval(GenericIsa::new())
}

#[cfg(not(target_arch = "x86_64"))]
fn run_with<Op: SimdOp>(vectors: Vectors, op: Op) -> Op::Output {
    match vectors {
        Vectors::Generic => op.eval(GenericIsa::new()),
        _ => op.dispatch(),
    }
}

/// Whether code for AVX2 may run.
pub(super) fn may_use_avx2() -> bool {
    settings().vectors >= Vectors::Avx2 && has_avx2()
}

/// Elements of a vector.
pub(super) fn lanes() -> usize {
    run(Lanes)
}

struct Lanes;

impl SimdOp for Lanes {
    type Output = usize;

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) -> usize {
        isa.f32().len()
    }
}

/// Replaces elements by their image under a function.
pub(super) fn map<F: SimdUnaryOp<f32>>(function: &F, values: &mut [f32]) {
    run(Map { function, values });
}

struct Map<'a, F> {
    function: &'a F,
    values: &'a mut [f32],
}

impl<F: SimdUnaryOp<f32>> SimdOp for Map<'_, F> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        let ops = isa.f32();
        let mut vectors = self.values.chunks_exact_mut(ops.len());
        for vector in vectors.by_ref() {
            let value = self.function.eval(isa, ops.load(vector));
            ops.store(value, vector);
        }
        let rest = vectors.into_remainder();
        if !rest.is_empty() {
            let value = self.function.eval(isa, ops.load_pad(rest).0);
            super::store_part(ops, value, rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Vectors are no wider than allowed, and the widest that there are where all are allowed.
    #[test]
    fn vectors_are_limited() {
        let lanes = [Vectors::Generic, Vectors::Avx2, Vectors::Best].map(|vectors| run_with(vectors, Lanes));
        assert_eq!(lanes[0], 4);
        assert_eq!(lanes[2], Lanes.dispatch());
        assert!(lanes.is_sorted() && lanes[1] <= 8, "{lanes:?}");
    }
}
