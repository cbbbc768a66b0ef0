//! Attention over blocks of queries whose scores fit into a core's cache.

use burn::tensor::Tensor;
use rayon::prelude::*;
use rten_gemm::{GemmExecutor, GemmInputA, GemmInputB, GemmOptions, PackedBMatrix};
use rten_simd::{
    Isa, SimdOp, SimdUnaryOp,
    ops::{BitOps, NumOps},
};
use rten_tensor::Matrix;
use rten_vecmath::Exp;

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
    out.par_chunks_mut(queries * inner)
        .zip(query.par_chunks(queries * inner))
        .zip(key.par_chunks(keys * inner).zip(value.par_chunks(keys * inner)))
        .for_each(|((out, query), (key, value))| {
            let heads: Vec<Head> = (0..split.heads)
                .into_par_iter()
                .map(|head| Head::new([key, value].map(|x| &x[head * split.head_dim..]), [keys, inner], split))
                .collect();
            out.par_chunks_mut(block * inner)
                .zip(query.par_chunks(block * inner))
                .enumerate()
                .for_each(|(index, (out, query))| {
                    let rows = out.len() / inner;
                    let mut scores = vec![0.0; rows * keys];
                    let mut mixed = vec![0.0; rows * split.head_dim];
                    for (head, from) in heads.iter().zip((0..).step_by(split.head_dim)) {
                        head.score(view(&query[from..], [rows, split.head_dim], [inner, 1]), &mut scores);
                        for (row, scores) in scores.chunks_mut(keys).enumerate() {
                            let seen = if causal {
                                (index * block + row + 1).min(keys)
                            } else {
                                keys
                            };
                            let (seen, hidden) = scores.split_at_mut(seen);
                            let sum = Exponentials(seen).dispatch();
                            hidden.fill(0.0);
                            // Kept where the mixture goes until that is scaled with it.
                            out[row * inner + from] = 1.0 / sum;
                        }
                        head.mix(view(&scores, [rows, keys], [keys, 1]), &mut mixed);
                        for (out, mixed) in out.chunks_mut(inner).zip(mixed.chunks(split.head_dim)) {
                            let out = &mut out[from..][..split.head_dim];
                            let scale = out[0];
                            out.iter_mut().zip(mixed).for_each(|(out, mixed)| *out = mixed * scale);
                        }
                    }
                });
        });
    Ok(tensor(out, [batch, queries, inner]))
}

/// The keys and values of a head, packed for all blocks of queries.
struct Head {
    /// `[head_dim, keys]`
    key: PackedBMatrix<f32>,
    /// `[keys, head_dim]`
    value: PackedBMatrix<f32>,
    scale: f32,
}

impl Head {
    /// Of keys and values that begin with the first of this head, and are `inner` elements apart.
    fn new([key, value]: [&[f32]; 2], [keys, inner]: [usize; 2], split: MultiHead) -> Self {
        let gemm = GemmExecutor::<f32>::default();
        Self {
            key: gemm.prepack_b(view(key, [split.head_dim, keys], [1, inner])),
            value: gemm.prepack_b(view(value, [keys, split.head_dim], [inner, 1])),
            scale: 1.0 / (split.head_dim as f32).sqrt(),
        }
    }

    fn score(&self, query: Matrix, scores: &mut [f32]) {
        let options = GemmOptions {
            alpha: self.scale,
            ..Default::default()
        };
        let (a, b) = (GemmInputA::Unpacked(query), GemmInputB::Packed(&self.key));
        fits(GemmExecutor::default().gemm(scores, a, b, options));
    }

    fn mix(&self, weights: Matrix, mixed: &mut [f32]) {
        let (a, b) = (GemmInputA::Unpacked(weights), GemmInputB::Packed(&self.value));
        fits(GemmExecutor::default().gemm(mixed, a, b, GemmOptions::default()));
    }
}

/// Replaces scores by their exponentials, the largest of which is 1, and gives the sum of these.
struct Exponentials<'a>(&'a mut [f32]);

impl SimdOp for Exponentials<'_> {
    type Output = f32;

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) -> f32 {
        /// Vectors at a time.
        const AT_ONCE: usize = 4;
        let ops = isa.f32();
        let width = AT_ONCE * ops.len();
        let mut largest = [ops.splat(f32::NEG_INFINITY); AT_ONCE];
        let mut chunks = self.0.chunks_exact(width);
        for chunk in chunks.by_ref() {
            for (largest, scores) in largest.iter_mut().zip(chunk.chunks_exact(ops.len())) {
                *largest = ops.max(*largest, ops.load(scores));
            }
        }
        let [a, b, c, d] = largest;
        let mut lanes = [f32::NEG_INFINITY; 16];
        ops.store(ops.max(ops.max(a, b), ops.max(c, d)), &mut lanes);
        let rest = chunks.remainder().iter().chain(&lanes);
        let largest = rest.fold(f32::NEG_INFINITY, |a, &b| a.max(b));

        let shift = ops.splat(largest);
        let mut sums = [ops.zero(); AT_ONCE];
        let mut chunks = self.0.chunks_exact_mut(width);
        for chunk in chunks.by_ref() {
            for (sum, scores) in sums.iter_mut().zip(chunk.chunks_exact_mut(ops.len())) {
                let value = Exp {}.eval(isa, ops.sub(ops.load(scores), shift));
                ops.store(value, scores);
                *sum = ops.add(*sum, value);
            }
        }
        let [a, b, c, d] = sums;
        let mut sum = ops.sum(ops.add(ops.add(a, b), ops.add(c, d)));
        for scores in chunks.into_remainder().chunks_mut(ops.len()) {
            let value = Exp {}.eval(isa, ops.sub(ops.load_pad(scores).0, shift));
            ops.store(value, &mut lanes);
            for (score, value) in scores.iter_mut().zip(lanes) {
                *score = value;
                sum += value;
            }
        }
        sum
    }
}
