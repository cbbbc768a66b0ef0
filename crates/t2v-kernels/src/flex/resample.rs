//! Nearest-neighbour enlargement, channels after channels, and batches after themselves.

use burn::tensor::Tensor;
use rayon::prelude::*;

use super::{elements, into_contiguous, is_supported, parallel_copy_to, scratch, tensor, try_into_contiguous};

/// `[batch, channels, height, width]` -> twice the height and width.
pub(crate) fn upsample_2x(x: Tensor<4>) -> Result<Tensor<4>, Tensor<4>> {
    let [batch, channels, height, width] = x.dims();
    let x = try_into_contiguous(x)?;
    let mut out = scratch(batch * channels * 4 * height * width);
    out.par_chunks_mut(4 * width)
        .zip(elements(&x).par_chunks(width))
        .for_each(|(two_rows, row)| {
            let (first, second) = two_rows.split_at_mut(2 * width);
            for (pair, value) in first.chunks_exact_mut(2).zip(row) {
                pair.fill(*value);
            }
            second.copy_from_slice(first);
        });
    Ok(tensor(out, [batch, channels, 2 * height, 2 * width]))
}

/// The channels of `x`, then those of `y`.
pub(crate) fn cat_channels(x: Tensor<4>, y: Tensor<4>) -> Result<Tensor<4>, [Tensor<4>; 2]> {
    let ([batch, first, height, width], [_, second, ..]) = (x.dims(), y.dims());
    if !is_supported(&x) || !is_supported(&y) || y.dims() != [batch, second, height, width] {
        return Err([x, y]);
    }
    let (x, y) = (into_contiguous(x), into_contiguous(y));
    let [first_len, second_len] = [first, second].map(|channels| channels * height * width);
    let mut out = scratch(batch * (first_len + second_len));
    out.par_chunks_mut(first_len + second_len)
        .zip(
            elements(&x)
                .par_chunks(first_len)
                .zip(elements(&y).par_chunks(second_len)),
        )
        .for_each(|(out, (x, y))| {
            out[..first_len].copy_from_slice(x);
            out[first_len..].copy_from_slice(y);
        });
    Ok(tensor(out, [batch, first + second, height, width]))
}

/// All entries, `times` times one after the other.
pub(crate) fn repeat_batch<const D: usize>(x: Tensor<D>, times: usize) -> Result<Tensor<D>, Tensor<D>> {
    let mut shape = x.dims();
    shape[0] *= times;
    let x = try_into_contiguous(x)?;
    let values = elements(&x);
    let mut out = scratch(times * values.len());
    for copy in out.chunks_mut(values.len().max(1)) {
        parallel_copy_to(values, copy);
    }
    Ok(tensor(out, shape))
}
