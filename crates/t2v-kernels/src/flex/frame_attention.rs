//! Attention of each token to itself in the other frames of its clip, where the frames lie in memory: nothing is permuted.

use std::ops::Range;

use burn::tensor::Tensor;
use rayon::prelude::*;
use rten_simd::{
    Isa, SimdOp,
    ops::{BitOps, NumOps},
};
use rten_vecmath::Softmax;

use super::{elements, into_contiguous, is_supported, scratch, simd::run, store_part, tensor};
use crate::MultiHead;

/// Tokens that one thread takes at a time.
const BLOCK: usize = 16;
/// Queries that share what is loaded of the keys and values.
const QUERIES: usize = 4;

/// Attention within `[batch * frames, tokens, heads * head_dim]`.
pub(crate) fn attention_frames(
    [query, key, value]: [Tensor<3>; 3],
    split: MultiHead,
    frames: usize,
) -> Result<Tensor<3>, [Tensor<3>; 3]> {
    let [rows, tokens, inner] = query.dims();
    let inputs = [query, key, value];
    if !inputs.iter().all(is_supported) {
        return Err(inputs);
    }
    let inputs = inputs.map(into_contiguous);
    let all = inputs.each_ref().map(elements);
    let (clip, blocks) = (frames * tokens * inner, tokens.div_ceil(BLOCK));
    let mut out = scratch(rows * tokens * inner);
    // The parts of a clip's frames that belong to the same tokens go to one thread.
    let mut parts: Vec<Vec<&mut [f32]>> = Vec::new();
    parts.resize_with(rows / frames * blocks, Vec::new);
    for (row, frame) in out.chunks_mut(tokens * inner).enumerate() {
        for (block, part) in frame.chunks_mut(BLOCK * inner).enumerate() {
            parts[row / frames * blocks + block].push(part);
        }
    }
    parts.into_par_iter().enumerate().for_each(|(index, out)| {
        let start = index / blocks * clip + index % blocks * BLOCK * inner;
        let [query, key, value] = all.map(|x| &x[start..]);
        run(Block {
            query,
            key,
            value,
            stride: tokens * inner,
            split,
            out,
        });
    });
    Ok(tensor(out, [rows, tokens, inner]))
}

/// Neighbouring tokens in all frames of a clip.
struct Block<'a> {
    query: &'a [f32],
    key: &'a [f32],
    value: &'a [f32],
    /// From one frame to the next.
    stride: usize,
    split: MultiHead,
    /// A part for each frame.
    out: Vec<&'a mut [f32]>,
}

impl SimdOp for Block<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(mut self, isa: I) {
        let ops = isa.f32();
        let (frames, width) = (self.out.len(), self.split.head_dim);
        let scale = ops.splat(1.0 / (width as f32).sqrt());
        let (room, stride) = (frames.next_multiple_of(ops.len()), width.next_multiple_of(ops.len()));
        // Keys lie transposed, so that a vector holds the scores of neighbouring frames.
        let mut keys = vec![0.0; width * room];
        let mut values = vec![0.0; frames * stride];
        let mut scores = vec![0.0; QUERIES * room];
        let heads = self.out.first().map_or(0, |part| part.len() / width);
        for from in (0..heads).map(|head| head * width) {
            for frame in 0..frames {
                let start = frame * self.stride + from;
                for (keys, key) in keys.chunks_exact_mut(room).zip(&self.key[start..][..width]) {
                    keys[frame] = *key;
                }
                values[frame * stride..][..width].copy_from_slice(&self.value[start..][..width]);
            }
            for first in (0..frames).step_by(QUERIES) {
                // Past the last frame the last one stands in again.
                let frame = |i: usize| (first + i).min(frames - 1);
                let queries: [&[f32]; QUERIES] =
                    std::array::from_fn(|i| &self.query[frame(i) * self.stride + from..][..width]);
                score(ops, queries, &keys, scale, &mut scores);
                for scores in scores.chunks_exact_mut(room) {
                    Softmax::new_mut(&mut scores[..frames]).eval(isa);
                }
                mix(ops, &scores, &values, from..from + width, &mut self.out[first..]);
            }
        }
    }
}

/// The products of queries with the keys `[width, room]`, by `scale`, as `[QUERIES, room]`.
#[inline(always)]
fn score<O: NumOps<f32>>(ops: O, queries: [&[f32]; QUERIES], keys: &[f32], scale: O::Simd, scores: &mut [f32]) {
    let room = scores.len() / QUERIES;
    for column in (0..room).step_by(ops.len()) {
        let mut sums = [ops.zero(); QUERIES];
        for (d, keys) in keys.chunks_exact(room).enumerate() {
            let keys = ops.load(&keys[column..]);
            for (sum, query) in sums.iter_mut().zip(&queries) {
                *sum = ops.mul_add(ops.splat(query[d]), keys, *sum);
            }
        }
        for (scores, sum) in scores.chunks_exact_mut(room).zip(sums) {
            ops.store(ops.mul(sum, scale), &mut scores[column..]);
        }
    }
}

/// Writes the values, rows of whole vectors, weighted by the scores `[QUERIES, room]`: the `columns` of a part for each
/// query.
#[inline(always)]
fn mix<O: NumOps<f32>>(ops: O, scores: &[f32], values: &[f32], columns: Range<usize>, out: &mut [&mut [f32]]) {
    let (room, width) = (scores.len() / QUERIES, columns.len());
    let stride = width.next_multiple_of(ops.len());
    for column in (0..width).step_by(ops.len()) {
        let mut sums = [ops.zero(); QUERIES];
        for (frame, values) in values.chunks_exact(stride).enumerate() {
            let values = ops.load(&values[column..]);
            for (sum, scores) in sums.iter_mut().zip(scores.chunks_exact(room)) {
                *sum = ops.mul_add(ops.splat(scores[frame]), values, *sum);
            }
        }
        let len = ops.len().min(width - column);
        for (part, sum) in out.iter_mut().zip(sums) {
            store_part(ops, sum, &mut part[columns.start + column..][..len]);
        }
    }
}
