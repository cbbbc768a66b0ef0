//! What a transformer does to tokens between its products: normalisation by the root mean square, rotation by position, gates.
//! Each is one pass over memory, in the place of the tokens where nobody else holds them.

use burn::tensor::Tensor;
use rayon::prelude::*;
use rten_simd::{
    Isa, SimdOp,
    ops::{BitOps, NumOps},
};
use rten_vecmath::SumSquare;

use super::{CHUNK, elements, into_elements, is_supported, parameter, simd::run, tensor, try_into_contiguous};
use crate::{MultiHead, RmsNorm, Rotation};

/// Normalises each token by the root of its mean square.
pub(crate) fn rms_norm(norm: &RmsNorm, x: Tensor<3>) -> Result<Tensor<3>, Tensor<3>> {
    let shape = x.dims();
    let Some(gamma) = parameter(norm.gamma.val()) else {
        return Err(x);
    };
    let (gamma, width) = (elements(&gamma), shape[2]);
    let mut values = into_elements(try_into_contiguous(x)?);
    values
        .par_chunks_mut(width)
        .with_min_len(CHUNK.div_ceil(width))
        .for_each(|token| {
            let mean = f64::from(run(SumSquare::new(token))) / width as f64;
            let scale = (1.0 / (mean + norm.epsilon).sqrt()) as f32;
            for (value, gamma) in token.iter_mut().zip(gamma) {
                *value *= scale * gamma;
            }
        });
    Ok(tensor(values, shape))
}

/// Turns the pairs of neighbouring channels of every head by the angles of their token.
pub(crate) fn rotate(rotation: &Rotation, x: Tensor<3>, split: MultiHead) -> Result<Tensor<3>, Tensor<3>> {
    let shape @ [_, tokens, width] = x.dims();
    let tables = [&rotation.cos, &rotation.sin].map(|table| parameter(table.clone()));
    let [Some(cos), Some(sin)] = &tables else {
        return Err(x);
    };
    let (cos, sin, pairs) = (elements(cos), elements(sin), split.head_dim / 2);
    let mut values = into_elements(try_into_contiguous(x)?);
    values
        .par_chunks_mut(width)
        .with_min_len(CHUNK.div_ceil(width))
        .enumerate()
        .for_each(|(row, token)| {
            let angles = row % tokens * pairs;
            let (cos, sin) = (&cos[angles..][..pairs], &sin[angles..][..pairs]);
            for head in token.chunks_exact_mut(split.head_dim) {
                let (channels, _) = head.as_chunks_mut::<2>();
                for ((pair, cos), sin) in channels.iter_mut().zip(cos).zip(sin) {
                    let [first, second] = *pair;
                    *pair = [first * cos - second * sin, first * sin + second * cos];
                }
            }
        });
    Ok(tensor(values, shape))
}

/// `residual + x * gate`, in the place of the residual: a gate, `[runs, dim]`, for each run of tokens.
pub(crate) fn add_gated(residual: Tensor<3>, x: Tensor<3>, gate: Tensor<2>) -> Result<Tensor<3>, [Tensor<3>; 2]> {
    let shape @ [_, tokens, width] = residual.dims();
    let (length, gates) = (tokens / gate.dims()[0], parameter(gate));
    let (Some(gates), true, true) = (gates, is_supported(&residual), is_supported(&x)) else {
        return Err([residual, x]);
    };
    let (mut values, x) = (
        into_elements(super::into_contiguous(residual)),
        super::into_contiguous(x),
    );
    values
        .par_chunks_mut(width)
        .zip(elements(&x).par_chunks(width))
        .with_min_len(CHUNK.div_ceil(width))
        .enumerate()
        .for_each(|(row, (sum, x))| {
            let gate = &elements(&gates)[row % tokens / length * width..][..width];
            run(AddProducts { sum, x, by: gate });
        });
    Ok(tensor(values, shape))
}

/// Adds the products of neighbours to sums.
struct AddProducts<'a> {
    sum: &'a mut [f32],
    x: &'a [f32],
    by: &'a [f32],
}

impl SimdOp for AddProducts<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        let ops = isa.f32();
        let mut sums = self.sum.chunks_exact_mut(ops.len());
        let (xs, factors) = (self.x.chunks_exact(ops.len()), self.by.chunks_exact(ops.len()));
        let rest = (xs.remainder(), factors.remainder());
        for ((sum, x), by) in sums.by_ref().zip(xs).zip(factors) {
            let value = ops.mul_add(ops.load(x), ops.load(by), ops.load(sum));
            ops.store(value, sum);
        }
        for ((sum, x), by) in sums.into_remainder().iter_mut().zip(rest.0).zip(rest.1) {
            *sum = x.mul_add(*by, *sum);
        }
    }
}
