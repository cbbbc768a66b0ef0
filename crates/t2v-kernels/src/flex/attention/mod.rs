//! Attention in parts that fit into a core's cache: a block of a head's queries is one thread's work, and meets the keys a block
//! at a time. Besides the result, memory is taken for the part of each thread alone.

mod head;
mod rows;
mod softmax;
#[cfg(test)]
mod tests;

use std::ops::Range;

use burn::tensor::Tensor;
use rayon::prelude::*;

use self::{
    head::{HeadBlock, Room},
    rows::SharedRows,
};
use super::{attention_frames, elements, into_contiguous, is_supported, product::Matrix, scratch, tensor};
use crate::MultiHead;

/// A sequence of fewer keys is short: a matrix product costs more to prepare than to compute.
const SHORT_SEQUENCE: usize = 24;
/// Queries that one thread takes at a time, at most: enough that packing the keys for them costs little.
const MOST_QUERIES: usize = 1024;
/// What each thread should have at least: blocks of work, so that all end together, and queries in a block.
const BLOCKS_EACH: usize = 6;
const LEAST_QUERIES: usize = 64;

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
    let inputs = [query, key, value];
    if keys < SHORT_SEQUENCE || !inputs.iter().all(is_supported) {
        return Err(inputs);
    }
    let inputs = inputs.map(into_contiguous);
    let work = Work {
        inputs: inputs.each_ref().map(elements),
        split,
        queries,
        keys,
        causal,
    };
    let mut out = scratch(batch * queries * inner);
    work.attend(batch, &mut out);
    Ok(tensor(out, [batch, queries, inner]))
}

/// The queries that a block has: as many for all blocks of a sequence, and few enough that threads have several blocks.
fn queries_of_block(queries: usize, sequences: usize) -> usize {
    let each = (queries * sequences).div_ceil(BLOCKS_EACH * rayon::current_num_threads());
    let most = each.clamp(LEAST_QUERIES, MOST_QUERIES);
    queries.div_ceil(queries.div_ceil(most).max(1)).max(1)
}

/// Attention of all entries and heads.
struct Work<'a> {
    /// Queries, keys and values: `[batch, tokens, heads * head_dim]`.
    inputs: [&'a [f32]; 3],
    split: MultiHead,
    queries: usize,
    keys: usize,
    causal: bool,
}

impl<'a> Work<'a> {
    /// Writes the result to `[batch, queries, heads * head_dim]`.
    #[expect(unsafe_code, reason = "a head's channels of neighbouring tokens are no slice")]
    fn attend(&self, batch: usize, out: &mut [f32]) {
        let (heads, width, inner) = (self.split.heads, self.split.head_dim, self.split.inner_dim());
        let rows = queries_of_block(self.queries, batch * heads);
        let blocks = self.queries.div_ceil(rows);
        let out = SharedRows::new(out, inner);
        // The blocks of a head follow each other: what threads read of its keys and values, they read together.
        (0..batch * heads * blocks)
            .into_par_iter()
            .for_each_init(Room::default, |room, index| {
                let (entry, head, block) = (index / (heads * blocks), index / blocks % heads, index % blocks);
                let first = block * rows;
                let rows = rows.min(self.queries - first);
                let result = self.head_block([entry, head], first..first + rows).attend(room);
                for (row, values) in result.chunks_exact(width).enumerate() {
                    // SAFETY: no other index has this entry, head and block.
                    unsafe { out.write(entry * self.queries + first + row, head * width, values) };
                }
            });
    }

    fn head_block(&self, [entry, head]: [usize; 2], rows: Range<usize>) -> HeadBlock<'a> {
        let (width, inner) = (self.split.head_dim, self.split.inner_dim());
        let [query, key, value] = self.inputs;
        let part = |values: &'a [f32], tokens: usize, rows: Range<usize>| {
            let first = (entry * tokens + rows.start) * inner + head * width;
            Matrix::new(&values[first..], [rows.len(), width], [inner, 1])
        };
        HeadBlock {
            causal_from: self.causal.then_some(rows.start),
            query: part(query, self.queries, rows),
            key: part(key, self.keys, 0..self.keys),
            value: part(value, self.keys, 0..self.keys),
        }
    }
}
