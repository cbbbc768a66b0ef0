//! Activations, in place where nobody else holds the tensor.

use burn::tensor::Tensor;
use rayon::prelude::*;
use rten_simd::SimdUnaryOp;
use rten_vecmath::{ApproxGelu, Gelu, Silu, Swish};

use super::{CHUNK, contiguous, elements, into_elements, tensor};
use crate::Activation;

/// Applies `activation` to neighbouring elements.
pub(super) fn activate_slice(activation: Activation, x: &mut [f32]) {
    match activation {
        Activation::Silu => Silu {}.map_mut(x),
        Activation::Gelu => Gelu {}.map_mut(x),
        Activation::GeluNew => ApproxGelu {}.map_mut(x),
        Activation::QuickGelu => Swish { alpha: 1.702 }.map_mut(x),
        Activation::Relu => x.iter_mut().for_each(|x| *x = x.max(0.0)),
        Activation::Mish => x.iter_mut().for_each(|x| *x *= x.exp().ln_1p().tanh()),
    }
}

/// `activation` of each element.
pub(crate) fn activate<const D: usize>(activation: Activation, x: Tensor<D>) -> Result<Tensor<D>, Tensor<D>> {
    let shape = x.dims();
    let mut values = into_elements(contiguous(x)?);
    values
        .par_chunks_mut(CHUNK)
        .for_each(|chunk| activate_slice(activation, chunk));
    Ok(tensor(values, shape))
}

/// `value * gelu(gate)` of a last dimension that holds values, then gates.
pub(crate) fn gated_gelu(x: Tensor<3>) -> Result<Tensor<3>, Tensor<3>> {
    let [batch, tokens, width] = x.dims();
    let inner = width / 2;
    let x = contiguous(x)?;
    let rows = elements(&x);
    let mut out = vec![0.0; batch * tokens * inner];
    out.par_chunks_mut(inner)
        .zip(rows.par_chunks(width))
        .for_each(|(out, row)| {
            let (value, gate) = row.split_at(inner);
            out.copy_from_slice(gate);
            Gelu {}.map_mut(out);
            out.iter_mut().zip(value).for_each(|(out, value)| *out *= value);
        });
    Ok(tensor(out, [batch, tokens, inner]))
}
