//! Two linear layers with an activation between, which exists for some tokens at a time: it is several times as wide as they are.

use burn::{nn::Linear, tensor::Tensor};
use rayon::prelude::*;

use super::{
    buffer::Scratch,
    elements,
    elementwise::activate_slice,
    into_contiguous, is_supported,
    matrix::{Parameters, TOKENS},
    product::Matrix,
    scratch, tensor,
};
use crate::Activation;

/// `second(activation(first(x)))`. Few tokens are left to the layers, one after the other.
pub(crate) fn mlp([first, second]: [&Linear; 2], activation: Activation, x: Tensor<3>) -> Result<Tensor<3>, Tensor<3>> {
    let [batch, tokens, dim] = x.dims();
    let (Some(first), Some(second), true) = (Parameters::of(first), Parameters::of(second), is_supported(&x)) else {
        return Err(x);
    };
    if first.is_skinny(batch * tokens) || second.is_skinny(batch * tokens) {
        return Err(x);
    }
    let (inner, d_out) = (first.d_out(), second.d_out());
    let (first_weight, second_weight, x) = (first.packed(), second.packed(), into_contiguous(x));
    let mut out = scratch(batch * tokens * d_out);
    out.par_chunks_mut(TOKENS * d_out)
        .zip(elements(&x).par_chunks(TOKENS * dim))
        .for_each_init(Scratch::default, |room, (out, x)| {
            let rows = x.len() / dim;
            let hidden = room.at_least(rows * inner);
            first_weight.multiply(Matrix::new(x, [rows, dim], [dim, 1]), first.bias(), false, hidden);
            activate_slice(activation, hidden);
            let hidden = Matrix::new(hidden, [rows, inner], [inner, 1]);
            second_weight.multiply(hidden, second.bias(), false, out);
        });
    Ok(tensor(out, [batch, tokens, d_out]))
}
