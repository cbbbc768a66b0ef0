//! Nearest-neighbour enlargement.

use burn::tensor::Tensor;
use rayon::prelude::*;

use super::{contiguous, elements, tensor};

/// `[batch, channels, height, width]` -> twice the height and width.
pub(crate) fn double(x: Tensor<4>) -> Result<Tensor<4>, Tensor<4>> {
    let [batch, channels, height, width] = x.dims();
    let x = contiguous(x)?;
    let mut out = vec![0.0; batch * channels * 4 * height * width];
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
