//! The bytes of each kind of block. Numbers are little-endian, scales in f16.

mod legacy;
mod super_blocks;

use half::f16;

pub(crate) use legacy::{Q4_0, Q4_1, Q5_0, Q5_1, Q8_0};
pub(crate) use super_blocks::{Q2K, Q3K, Q4K, Q5K, Q6K};

use crate::GROUP;

/// A kind of block.
pub(crate) trait Blocks {
    /// Values of a block, a multiple of [`GROUP`].
    const VALUES: usize;
    /// Bytes of a block.
    const BYTES: usize;

    /// Widens a group of a block of [`BYTES`](Self::BYTES).
    fn widen(block: &[u8], group: usize, out: &mut [f32; GROUP]);
}

/// The scale at an offset.
#[inline(always)]
fn scale(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

/// The low four bits of a byte, or the high ones.
#[inline(always)]
fn nibble(byte: u8, high: bool) -> u8 {
    if high { byte >> 4 } else { byte & 15 }
}
