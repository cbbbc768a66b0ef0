//! Attention over blocks of queries whose scores fit into a core's cache.

use burn::tensor::Tensor;
use rayon::prelude::*;
use rten_simd::{
    Isa, SimdOp, SimdUnaryOp,
    ops::{BitOps, NumOps},
};
use rten_vecmath::Exp;

use super::{
    MOST_LANES, attention_frames,
    buffer::Scratch,
    elements, into_contiguous, is_supported,
    product::{Bias, GAP, Matrix, RightSide, Target},
    scratch,
    simd::run,
    tensor,
};
use crate::MultiHead;

/// Scores that a block of queries may have.
const BLOCK_SCORES: usize = 1 << 17;

/// A sequence of fewer keys is short: a matrix product costs more to prepare than to compute.
const SHORT_SEQUENCE: usize = 24;

/// `softmax(query key^T / sqrt(head_dim)) value` for each head; `causal` hides later keys.
pub(crate) fn attention(
    [query, key, value]: [Tensor<3>; 3],
    split: MultiHead,
    causal: bool,
) -> Result<Tensor<3>, [Tensor<3>; 3]> {
    let ([batch, queries, inner], keys) = (query.dims(), key.dims()[1]);
    if keys < SHORT_SEQUENCE && queries == keys && !causal {
        // As one token in `keys` frames.
        let frames = [query, key, value].map(|x| x.reshape([batch * keys, 1, inner]));
        let back = |x: Tensor<3>| x.reshape([batch, queries, inner]);
        return attention_frames(frames, split, keys)
            .map(back)
            .map_err(|frames| frames.map(back));
    }
    if keys < SHORT_SEQUENCE {
        return Err([query, key, value]);
    }
    let inputs = [query, key, value];
    if !inputs.iter().all(is_supported) {
        return Err(inputs);
    }
    let inputs = inputs.map(into_contiguous);
    let [query, key, value] = inputs.each_ref().map(elements);
    let mut out = scratch(batch * queries * inner);
    out.par_chunks_mut(queries * inner)
        .zip(query.par_chunks(queries * inner))
        .zip(key.par_chunks(keys * inner).zip(value.par_chunks(keys * inner)))
        .for_each(|((out, query), keys_and_values)| {
            Entry::new(keys_and_values.into(), keys, split, causal).attend(query, out);
        });
    Ok(tensor(out, [batch, queries, inner]))
}

/// An entry of the batch: what all its queries share.
struct Entry {
    heads: Vec<Head>,
    keys: usize,
    split: MultiHead,
    causal: bool,
}

impl Entry {
    /// Of keys and values `[keys, heads * head_dim]`.
    fn new(keys_and_values: [&[f32]; 2], keys: usize, split: MultiHead, causal: bool) -> Self {
        let heads = (0..split.heads).into_par_iter().map(|head| {
            let of_head = keys_and_values.map(|x| &x[head * split.head_dim..]);
            Head::new(of_head, [keys, split.inner_dim()], split.head_dim)
        });
        Self {
            heads: heads.collect(),
            keys,
            split,
            causal,
        }
    }

    /// Attention of `[queries, heads * head_dim]`, a block of them at a time.
    fn attend(&self, query: &[f32], out: &mut [f32]) {
        let inner = self.split.inner_dim();
        let block = (BLOCK_SCORES / self.keys).clamp(1, query.len() / inner);
        out.par_chunks_mut(block * inner)
            .zip(query.par_chunks(block * inner))
            .enumerate()
            .for_each(|(index, (out, query))| self.attend_block(index * block, query, out));
    }

    /// Attention of neighbouring queries, `first` and those after it.
    fn attend_block(&self, first: usize, query: &[f32], out: &mut [f32]) {
        let (inner, width) = (self.split.inner_dim(), self.split.head_dim);
        let (rows, stride) = (out.len() / inner, self.keys + GAP);
        let scale = 1.0 / (width as f32).sqrt();
        let mut scores = vec![0.0; rows * stride];
        let mut sums = vec![0.0; rows];
        for (head, from) in self.heads.iter().zip((0..).step_by(width)) {
            let query = Matrix::new(&query[from..], [rows, width], [inner, 1]);
            head.score(query, &mut scores, stride);
            for (row, (scores, sum)) in scores.chunks_mut(stride).zip(&mut sums).enumerate() {
                let seen = match self.causal {
                    true => (first + row + 1).min(self.keys),
                    false => self.keys,
                };
                let (seen, hidden) = scores.split_at_mut(seen);
                *sum = run(Exponentials { scores: seen, scale });
                hidden.fill(0.0);
            }
            let weights = Matrix::new(&scores, [rows, self.keys], [stride, 1]);
            head.mix(weights, &mut out[from..], inner);
            for (out, sum) in out.chunks_mut(inner).zip(&sums) {
                let scale = 1.0 / sum;
                out[from..][..width].iter_mut().for_each(|out| *out *= scale);
            }
        }
    }
}

/// The keys and values of a head, packed for all blocks of queries.
struct Head {
    /// `[head_dim, keys]`
    key: RightSide,
    /// `[keys, head_dim]`
    value: RightSide,
    packed: Scratch,
}

impl Head {
    /// Of keys and values that begin with the first of this head, and are `inner` elements apart.
    fn new([key, value]: [&[f32]; 2], [keys, inner]: [usize; 2], head_dim: usize) -> Self {
        let shapes = [RightSide::new(head_dim, keys), RightSide::new(keys, head_dim)];
        let mut packed = Scratch::new(shapes[0].len() + shapes[1].len());
        let (packed_key, packed_value) = packed.split_at_mut(shapes[0].len());
        shapes[0].pack(Matrix::new(key, [head_dim, keys], [1, inner]), packed_key);
        shapes[1].pack(Matrix::new(value, [keys, head_dim], [inner, 1]), packed_value);
        let [key, value] = shapes;
        Self { key, value, packed }
    }

    /// Writes the products of queries and keys to rows that are `stride` elements apart.
    fn score(&self, query: Matrix, values: &mut [f32], stride: usize) {
        let add = false;
        let out = Target { values, stride, add };
        self.key.multiply(query, &self.packed, Bias::None, out);
    }

    /// Writes the values, mixed with these weights, to rows that are `stride` elements apart.
    fn mix(&self, weights: Matrix, values: &mut [f32], stride: usize) {
        let add = false;
        let out = Target { values, stride, add };
        self.value
            .multiply(weights, &self.packed[self.key.len()..], Bias::None, out);
    }
}

/// Replaces scores by the exponentials of their products with `scale`, which is positive, and gives the sum of these. The
/// largest becomes 1.
struct Exponentials<'a> {
    scores: &'a mut [f32],
    scale: f32,
}

impl SimdOp for Exponentials<'_> {
    type Output = f32;

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) -> f32 {
        /// Vectors at a time.
        const AT_ONCE: usize = 4;
        let ops = isa.f32();
        let width = AT_ONCE * ops.len();
        let mut largest = [ops.splat(f32::NEG_INFINITY); AT_ONCE];
        let mut chunks = self.scores.chunks_exact(width);
        for chunk in chunks.by_ref() {
            for (largest, scores) in largest.iter_mut().zip(chunk.chunks_exact(ops.len())) {
                *largest = ops.max(*largest, ops.load(scores));
            }
        }
        let [a, b, c, d] = largest;
        let mut lanes = [f32::NEG_INFINITY; MOST_LANES];
        ops.store(ops.max(ops.max(a, b), ops.max(c, d)), &mut lanes);
        let rest = chunks.remainder().iter().chain(&lanes);
        let largest = rest.fold(f32::NEG_INFINITY, |a, &b| a.max(b));

        let (scale, shift) = (ops.splat(self.scale), ops.splat(-self.scale * largest));
        let mut sums = [ops.zero(); AT_ONCE];
        let mut chunks = self.scores.chunks_exact_mut(width);
        for chunk in chunks.by_ref() {
            for (sum, scores) in sums.iter_mut().zip(chunk.chunks_exact_mut(ops.len())) {
                let value = Exp {}.eval(isa, ops.mul_add(ops.load(scores), scale, shift));
                ops.store(value, scores);
                *sum = ops.add(*sum, value);
            }
        }
        let [a, b, c, d] = sums;
        let mut sum = ops.sum(ops.add(ops.add(a, b), ops.add(c, d)));
        for scores in chunks.into_remainder().chunks_mut(ops.len()) {
            let value = Exp {}.eval(isa, ops.mul_add(ops.load_pad(scores).0, scale, shift));
            ops.store(value, &mut lanes);
            for (score, value) in scores.iter_mut().zip(lanes) {
                *score = value;
                sum += value;
            }
        }
        sum
    }
}
