//! Activations, in place where nobody else holds the tensor.

use burn::tensor::Tensor;
use rayon::prelude::*;
use rten_vecmath::{ApproxGelu, Gelu, Silu, Swish};

use super::{
    CHUNK, elements, into_contiguous, into_elements, is_supported, scratch, simd::map, tensor, try_into_contiguous,
};
use crate::Activation;

/// Applies `activation` to neighbouring elements.
pub(super) fn activate_slice(activation: Activation, x: &mut [f32]) {
    match activation {
        Activation::Silu => map(&Silu {}, x),
        Activation::Gelu => map(&Gelu {}, x),
        Activation::GeluNew => map(&ApproxGelu {}, x),
        Activation::QuickGelu => map(&Swish { alpha: 1.702 }, x),
        Activation::Relu => x.iter_mut().for_each(|x| *x = x.max(0.0)),
        Activation::Mish => x.iter_mut().for_each(|x| *x *= x.exp().ln_1p().tanh()),
    }
}

/// `activation` of each element.
pub(crate) fn activate<const D: usize>(activation: Activation, x: Tensor<D>) -> Result<Tensor<D>, Tensor<D>> {
    let shape = x.dims();
    let mut values = into_elements(try_into_contiguous(x)?);
    values
        .par_chunks_mut(CHUNK)
        .for_each(|chunk| activate_slice(activation, chunk));
    Ok(tensor(values, shape))
}

/// `value * gelu(gate)` of a row that holds values, then gates.
pub(super) fn geglu_row(row: &[f32], out: &mut [f32]) {
    let (value, gate) = row.split_at(out.len());
    out.copy_from_slice(gate);
    map(&Gelu {}, out);
    out.iter_mut().zip(value).for_each(|(out, value)| *out *= value);
}

/// `value * gelu(gate)` of a last dimension that holds values, then gates.
pub(crate) fn geglu(x: Tensor<3>) -> Result<Tensor<3>, Tensor<3>> {
    let [batch, tokens, width] = x.dims();
    let inner = width / 2;
    let x = try_into_contiguous(x)?;
    let rows = elements(&x);
    let mut out = scratch(batch * tokens * inner);
    out.par_chunks_mut(inner)
        .zip(rows.par_chunks(width))
        .for_each(|(out, row)| {
            geglu_row(row, out);
        });
    Ok(tensor(out, [batch, tokens, inner]))
}

/// `x + y`, in the place of `x` where nobody else holds it.
pub(crate) fn add<const D: usize>(x: Tensor<D>, y: Tensor<D>) -> Result<Tensor<D>, [Tensor<D>; 2]> {
    let shape = x.dims();
    if !is_supported(&x) || !is_supported(&y) || y.dims() != shape {
        return Err([x, y]);
    }
    let (mut sum, y) = (into_elements(into_contiguous(x)), into_contiguous(y));
    sum.par_chunks_mut(CHUNK)
        .zip(elements(&y).par_chunks(CHUNK))
        .for_each(|(x, y)| x.iter_mut().zip(y).for_each(|(x, y)| *x += y));
    Ok(tensor(sum, shape))
}

/// Adds a value a channel, `[batch, channels]`, to all pixels of it.
pub(crate) fn add_to_channels(x: Tensor<4>, y: Tensor<2>) -> Result<Tensor<4>, (Tensor<4>, Tensor<2>)> {
    let shape = x.dims();
    let [batch, channels, height, width] = shape;
    if !is_supported(&x) || !is_supported(&y) || y.dims() != [batch, channels] {
        return Err((x, y));
    }
    let (mut sum, y) = (into_elements(into_contiguous(x)), into_contiguous(y));
    sum.par_chunks_mut(height * width)
        .zip(elements(&y))
        .for_each(|(plane, y)| plane.iter_mut().for_each(|x| *x += y));
    Ok(tensor(sum, shape))
}
