//! Two linear layers with an activation between, which exists for some tokens at a time: it is several times as wide as they are.

use burn::{nn::Linear, tensor::Tensor};
use rayon::prelude::*;

use super::{
    buffer::Scratch,
    elements,
    elementwise::activate_slice,
    int8::Rows,
    into_contiguous, is_supported,
    matrix::{Parameters, TOKENS},
    product::{Matrix, Target},
    scratch, tensor,
};
use crate::{Activation, Products};

/// `second(activation(first(x)))`. Few tokens are left to the layers, one after the other.
pub(crate) fn mlp(
    products: Products,
    [first, second]: [&Linear; 2],
    activation: Activation,
    x: Tensor<3>,
) -> Result<Tensor<3>, Tensor<3>> {
    let [batch, tokens, dim] = x.dims();
    let (Some(first), Some(second), true) = (
        Parameters::of(first, products),
        Parameters::of(second, products),
        is_supported(&x),
    ) else {
        return Err(x);
    };
    let rows = batch * tokens;
    let (Some(first_weight), Some(second_weight)) = (first.packed(rows, rows), second.packed(rows, rows)) else {
        return Err(x);
    };
    let (inner, d_out, x) = (first.d_out(), second.d_out(), into_contiguous(x));
    let mut out = scratch(batch * tokens * d_out);
    out.par_chunks_mut(TOKENS * d_out)
        .zip(elements(&x).par_chunks(TOKENS * dim))
        .for_each_init(<(Scratch, Rows)>::default, |(wide, room), (values, x)| {
            let rows = x.len() / dim;
            let hidden = wide.at_least(rows * inner);
            let target = Target {
                values: &mut *hidden,
                stride: inner,
                add: false,
            };
            first_weight.multiply(Matrix::new(x, [rows, dim], [dim, 1]), room, target);
            activate_slice(activation, hidden);
            let target = Target {
                values,
                stride: d_out,
                add: false,
            };
            second_weight.multiply(Matrix::new(hidden, [rows, inner], [inner, 1]), room, target);
        });
    Ok(tensor(out, [batch, tokens, d_out]))
}
