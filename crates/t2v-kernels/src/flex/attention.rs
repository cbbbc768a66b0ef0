//! Attention over blocks of queries whose scores fit into a core's cache.

use burn::tensor::Tensor;
use rayon::prelude::*;
use rten_gemm::{GemmExecutor, GemmInputA, GemmInputB, GemmOptions};
use rten_simd::SimdOp;
use rten_vecmath::Softmax;

use super::{attention_frames, contiguous, elements, matrix::matrix, scratch, tensor};
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
    let kept = [query.clone(), key.clone(), value.clone()];
    let attend = || {
        let (query, key, value) = (contiguous(query).ok()?, contiguous(key).ok()?, contiguous(value).ok()?);
        let (query, key, value) = (elements(&query), elements(&key), elements(&value));
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
        blocks.into_par_iter().try_for_each(|(entry, first, out)| {
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
                let q = matrix(q, [rows, split.head_dim], [inner, 1])?;
                let k = matrix(k, [split.head_dim, keys], [1, inner])?;
                gemm.gemm(&mut scores, GemmInputA::Unpacked(q), GemmInputB::Unpacked(k), scale)
                    .ok()?;
                for (row, scores) in scores.chunks_mut(keys).enumerate() {
                    let seen = if causal { (first + row + 1).min(keys) } else { keys };
                    Softmax::new_mut(&mut scores[..seen]).dispatch();
                    scores[seen..].fill(0.0);
                }
                let p = matrix(&scores, [rows, keys], [keys, 1])?;
                let v = matrix(v, [keys, split.head_dim], [inner, 1])?;
                let plain = GemmOptions::default();
                gemm.gemm(&mut mixed, GemmInputA::Unpacked(p), GemmInputB::Unpacked(v), plain)
                    .ok()?;
                for (out, mixed) in out.chunks_mut(inner).zip(mixed.chunks(split.head_dim)) {
                    out[from..from + split.head_dim].copy_from_slice(mixed);
                }
            }
            Some(())
        })?;
        Some(tensor(out, [batch, queries, inner]))
    };
    attend().ok_or(kept)
}
