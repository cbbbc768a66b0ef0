//! Attention over blocks of queries whose scores fit into a core's cache.

use burn::tensor::Tensor;
use rayon::prelude::*;
use rten_gemm::{GemmExecutor, GemmInputA, GemmInputB, GemmOptions};
use rten_simd::SimdOp;
use rten_vecmath::Softmax;

use super::{
    attention_frames, elements,
    matrix::{fits, view},
    scratch, suits, taken, tensor,
};
use crate::MultiHead;

/// Scores that a block of queries may have.
const BLOCK_SCORES: usize = 1 << 17;

/// Below this many keys a matrix product costs more to prepare than to compute.
const FEW_KEYS: usize = 24;

/// `softmax(query key^T / sqrt(head_dim)) value` for each head; `causal` hides later keys.
pub(crate) fn attention(
    [query, key, value]: [Tensor<3>; 3],
    split: MultiHead,
    causal: bool,
) -> Result<Tensor<3>, [Tensor<3>; 3]> {
    let ([batch, queries, inner], keys) = (query.dims(), key.dims()[1]);
    if keys < FEW_KEYS && queries == keys && !causal {
        // As one token in `keys` frames.
        let frames = [query, key, value].map(|x| x.reshape([batch * keys, 1, inner]));
        let back = |x: Tensor<3>| x.reshape([batch, queries, inner]);
        return attention_frames(frames, split, keys)
            .map(back)
            .map_err(|frames| frames.map(back));
    }
    if keys < FEW_KEYS {
        return Err([query, key, value]);
    }
    let inputs = [query, key, value];
    if !inputs.iter().all(suits) {
        return Err(inputs);
    }
    let inputs = inputs.map(taken);
    let [query, key, value] = inputs.each_ref().map(elements);
    let block = (BLOCK_SCORES / keys).clamp(1, queries);
    let mut out = scratch(batch * queries * inner);
    let blocks: Vec<(usize, usize, &mut [f32])> = out
        .chunks_mut(queries * inner)
        .enumerate()
        .flat_map(|(entry, out)| {
            let blocks = out.chunks_mut(block * inner).enumerate();
            blocks.map(move |(i, out)| (entry, i * block, out))
        })
        .collect();
    blocks.into_par_iter().for_each(|(entry, first, out)| {
        let gemm = GemmExecutor::<f32>::default();
        let rows = out.len() / inner;
        let mut scores = vec![0.0; rows * keys];
        let mut mixed = vec![0.0; rows * split.head_dim];
        for head in 0..split.heads {
            let from = head * split.head_dim;
            let q = &query[(entry * queries + first) * inner + from..];
            let [k, v] = [key, value].map(|x| &x[entry * keys * inner + from..]);
            let scale = GemmOptions {
                alpha: 1.0 / (split.head_dim as f32).sqrt(),
                ..Default::default()
            };
            let q = GemmInputA::Unpacked(view(q, [rows, split.head_dim], [inner, 1]));
            let k = GemmInputB::Unpacked(view(k, [split.head_dim, keys], [1, inner]));
            fits(gemm.gemm(&mut scores, q, k, scale));
            for (row, scores) in scores.chunks_mut(keys).enumerate() {
                let seen = if causal { (first + row + 1).min(keys) } else { keys };
                Softmax::new_mut(&mut scores[..seen]).dispatch();
                scores[seen..].fill(0.0);
            }
            let p = GemmInputA::Unpacked(view(&scores, [rows, keys], [keys, 1]));
            let v = GemmInputB::Unpacked(view(v, [keys, split.head_dim], [inner, 1]));
            fits(gemm.gemm(&mut mixed, p, v, GemmOptions::default()));
            for (out, mixed) in out.chunks_mut(inner).zip(mixed.chunks(split.head_dim)) {
                out[from..from + split.head_dim].copy_from_slice(mixed);
            }
        }
    });
    Ok(tensor(out, [batch, queries, inner]))
}
