//! Blocks of 32 values with one scale: the first half of the values is in the low halves of bytes, the second in the high ones.

use super::{Blocks, nibble, scale};
use crate::GROUP;

/// Bytes that hold the low four bits of the values.
const NIBBLES: usize = GROUP / 2;

/// Writes `value(low four bits, index)` for each value.
#[inline(always)]
fn each(nibbles: &[u8], out: &mut [f32; GROUP], value: impl Fn(u8, usize) -> f32) {
    let (first, second) = out.split_at_mut(NIBBLES);
    for (i, ((first, second), byte)) in first.iter_mut().zip(second).zip(nibbles).enumerate() {
        *first = value(nibble(*byte, false), i);
        *second = value(nibble(*byte, true), i + NIBBLES);
    }
}

/// The fifth bits of all values.
#[inline(always)]
fn fifth_bits(block: &[u8], at: usize) -> impl Fn(usize) -> u8 {
    let bits = u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]);
    move |index| ((bits >> index & 1) << 4) as u8
}

pub(crate) struct Q4_0;

impl Blocks for Q4_0 {
    const VALUES: usize = GROUP;
    const BYTES: usize = 2 + NIBBLES;

    #[inline(always)]
    fn widen(block: &[u8], _group: usize, out: &mut [f32; GROUP]) {
        let scale = scale(block, 0);
        each(&block[2..][..NIBBLES], out, |low, _| f32::from(low as i8 - 8) * scale);
    }
}

pub(crate) struct Q4_1;

impl Blocks for Q4_1 {
    const VALUES: usize = GROUP;
    const BYTES: usize = 4 + NIBBLES;

    #[inline(always)]
    fn widen(block: &[u8], _group: usize, out: &mut [f32; GROUP]) {
        let (scale, least) = (scale(block, 0), scale(block, 2));
        each(&block[4..][..NIBBLES], out, |low, _| f32::from(low) * scale + least);
    }
}

pub(crate) struct Q5_0;

impl Blocks for Q5_0 {
    const VALUES: usize = GROUP;
    const BYTES: usize = 6 + NIBBLES;

    #[inline(always)]
    fn widen(block: &[u8], _group: usize, out: &mut [f32; GROUP]) {
        let (scale, fifth) = (scale(block, 0), fifth_bits(block, 2));
        each(&block[6..][..NIBBLES], out, |low, index| {
            f32::from((low | fifth(index)) as i8 - 16) * scale
        });
    }
}

pub(crate) struct Q5_1;

impl Blocks for Q5_1 {
    const VALUES: usize = GROUP;
    const BYTES: usize = 8 + NIBBLES;

    #[inline(always)]
    fn widen(block: &[u8], _group: usize, out: &mut [f32; GROUP]) {
        let (scale, least, fifth) = (scale(block, 0), scale(block, 2), fifth_bits(block, 4));
        each(&block[8..][..NIBBLES], out, |low, index| {
            f32::from(low | fifth(index)) * scale + least
        });
    }
}

pub(crate) struct Q8_0;

impl Blocks for Q8_0 {
    const VALUES: usize = GROUP;
    const BYTES: usize = 2 + GROUP;

    #[inline(always)]
    fn widen(block: &[u8], _group: usize, out: &mut [f32; GROUP]) {
        let scale = scale(block, 0);
        for (out, byte) in out.iter_mut().zip(&block[2..][..GROUP]) {
            *out = f32::from(*byte as i8) * scale;
        }
    }
}
