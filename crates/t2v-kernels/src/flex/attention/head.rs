//! Attention of a block of a head's queries, a block of keys at a time: however many keys there are, the scores of few exist
//! ([Rabe and Staats, 2021](https://arxiv.org/abs/2112.05682)).

use std::ops::Range;

use super::softmax::{Scores, Softmax};
use crate::flex::{
    buffer::Scratch,
    product::{Bias, GAP, Matrix, RightSide, Target},
};

/// Keys of a block at most, a multiple of every panel's width: what is packed of them and their values stays in a core's cache.
const KEYS: usize = 384;
/// The numbers of keys of blocks are multiples of this, but for the last one's.
const KEYS_UNIT: usize = 48;
/// Queries whose scores exist at a time.
const QUERIES: usize = 64;

/// Neighbouring queries of a head, and its keys and values: rows of `head_dim` elements.
pub(super) struct HeadBlock<'a> {
    pub(super) query: Matrix<'a>,
    pub(super) key: Matrix<'a>,
    pub(super) value: Matrix<'a>,
    /// Where a query sees no keys behind its own position: the first one's position.
    pub(super) causal_from: Option<usize>,
}

/// A thread's buffers.
#[derive(Default)]
pub(super) struct Room {
    packed: Scratch,
    scores: Scratch,
    query: Scratch,
    mixed: Scratch,
    states: Vec<Softmax>,
}

impl HeadBlock<'_> {
    /// The result: a row of `head_dim` elements a query.
    pub(super) fn attend<'a>(&self, room: &'a mut Room) -> &'a [f32] {
        let (rows, width) = (self.query.rows(), self.query.columns());
        // Copied, since in their tensor rows may all be in the same place of the cache.
        let stride = width.next_multiple_of(GAP) + GAP;
        let query = room.query.at_least(rows * stride);
        self.query.copy_to(query, stride);
        let query = Matrix::new(query, [rows, width], [stride, 1]);
        let mixed = room.mixed.at_least(rows * width);
        room.states.clear();
        room.states.resize(rows, Softmax::EMPTY);
        for keys in self.key_blocks() {
            let block = self.pack(keys, &mut room.packed);
            for first in (self.first_to_see(&block.keys)..rows).step_by(QUERIES) {
                let rows = first..rows.min(first + QUERIES);
                Turn {
                    query: query.part(rows.clone(), 0..width),
                    states: &mut room.states[rows.clone()],
                    mixed: &mut mixed[rows.start * width..rows.end * width],
                    first_sees: match self.causal_from {
                        Some(from) => (from + first + 1) as isize - block.keys.start as isize,
                        None => block.keys.len() as isize,
                    },
                }
                .attend(&block, &mut room.scores);
            }
        }
        for (mixed, state) in mixed.chunks_exact_mut(width).zip(&room.states) {
            let norm = state.norm();
            mixed.iter_mut().for_each(|value| *value *= norm);
        }
        mixed
    }

    /// The keys that are seen, in blocks of about the same size.
    fn key_blocks(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let all = match self.causal_from {
            Some(from) => self.key.rows().min(from + self.query.rows()),
            None => self.key.rows(),
        };
        let each = all.div_ceil(all.div_ceil(KEYS)).next_multiple_of(KEYS_UNIT);
        (0..all).step_by(each).map(move |start| start..all.min(start + each))
    }

    /// The first of a turn's queries, the earliest turn that sees any of the keys.
    fn first_to_see(&self, keys: &Range<usize>) -> usize {
        self.causal_from
            .map_or(0, |from| keys.start.saturating_sub(from) / QUERIES * QUERIES)
    }

    fn pack<'a>(&self, keys: Range<usize>, packed: &'a mut Scratch) -> KeyBlock<'a> {
        let width = self.key.columns();
        let (key, value) = (RightSide::new(width, keys.len()), RightSide::new(keys.len(), width));
        let packed = packed.at_least(key.len() + value.len());
        let (packed_key, packed_value) = packed.split_at_mut(key.len());
        key.pack(self.key.part(keys.clone(), 0..width).transposed(), packed_key);
        value.pack(self.value.part(keys.clone(), 0..width), packed_value);
        KeyBlock {
            keys,
            key,
            packed_key,
            value,
            packed_value,
        }
    }
}

/// Some keys and their values, packed.
struct KeyBlock<'a> {
    keys: Range<usize>,
    /// `[head_dim, keys]`
    key: RightSide,
    packed_key: &'a [f32],
    /// `[keys, head_dim]`
    value: RightSide,
    packed_value: &'a [f32],
}

/// Queries whose turn it is to see a block of keys.
struct Turn<'a> {
    query: Matrix<'a>,
    states: &'a mut [Softmax],
    /// Sums of weighted values, a row of `head_dim` elements a query.
    mixed: &'a mut [f32],
    /// As in [`Scores`].
    first_sees: isize,
}

impl Turn<'_> {
    /// Adds what the queries see.
    fn attend(self, block: &KeyBlock, scores: &mut Scratch) {
        let (rows, width, keys) = (self.query.rows(), self.query.columns(), block.keys.len());
        let stride = keys.next_multiple_of(GAP) + GAP;
        let scores = scores.at_least(rows * stride);
        let target = Target {
            values: &mut *scores,
            stride,
            add: false,
        };
        block.key.multiply(self.query, block.packed_key, Bias::None, target);
        Scores {
            scores: &mut *scores,
            stride,
            keys,
            first_sees: self.first_sees,
            scale: 1.0 / (width as f32).sqrt(),
            states: self.states,
            mixed: &mut *self.mixed,
        }
        .weigh();
        let weights = Matrix::new(scores, [rows, keys], [stride, 1]);
        let target = Target {
            values: self.mixed,
            stride: width,
            add: block.keys.start > 0,
        };
        block.value.multiply(weights, block.packed_value, Bias::None, target);
    }
}
