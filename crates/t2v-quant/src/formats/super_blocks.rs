//! Blocks of 256 values, whose parts have scales that are integers times one of the block.
//!
//! Values lie in planes: the groups of a half block share bytes, each with bits of its own.

use super::{Blocks, nibble, scale};
use crate::GROUP;

/// Values of a block.
const VALUES: usize = 256;
/// Values that have a scale of their own where a group has two.
const SUB_GROUP: usize = GROUP / 2;
/// Groups whose bits lie in the same bytes, two bits each.
const PLANES: usize = 4;
/// Bytes of the scales and minima of [`Q4K`] and [`Q5K`].
const SCALES: usize = 12;

/// Widens the two halves of a group, each with a scale and a minimum, from integers.
#[inline(always)]
fn halves(out: &mut [f32; GROUP], value: impl Fn(usize) -> f32, scale: impl Fn(usize) -> (f32, f32)) {
    for (half, out) in out.chunks_exact_mut(SUB_GROUP).enumerate() {
        let (scale, least) = scale(half);
        for (i, out) in out.iter_mut().enumerate() {
            *out = scale * value(half * SUB_GROUP + i) - least;
        }
    }
}

pub(crate) struct Q2K;

impl Blocks for Q2K {
    const VALUES: usize = VALUES;
    const BYTES: usize = 84;

    /// Scales 16, values 64, scale, minimum.
    #[inline(always)]
    fn widen(block: &[u8], group: usize, out: &mut [f32; GROUP]) {
        let (all, least) = (scale(block, 80), scale(block, 82));
        let (half, plane) = (group / PLANES, group % PLANES);
        let bytes = &block[16 + GROUP * half..][..GROUP];
        halves(
            out,
            |i| f32::from(bytes[i] >> (2 * plane) & 3),
            |part| {
                let byte = block[2 * group + part];
                (all * f32::from(byte & 15), least * f32::from(byte >> 4))
            },
        );
    }
}

pub(crate) struct Q3K;

impl Blocks for Q3K {
    const VALUES: usize = VALUES;
    const BYTES: usize = 110;

    /// Third bits 32, values 64, scales 12, scale. A third bit that is not set takes 4 off.
    #[inline(always)]
    fn widen(block: &[u8], group: usize, out: &mut [f32; GROUP]) {
        let all = scale(block, 108);
        let (half, plane) = (group / PLANES, group % PLANES);
        let (third, bytes) = (&block[..GROUP], &block[32 + GROUP * half..][..GROUP]);
        let scales = &block[96..][..SCALES];
        halves(
            out,
            |i| {
                let low = (bytes[i] >> (2 * plane) & 3) as i8;
                f32::from(low - 4 * (third[i] >> group & 1 ^ 1) as i8)
            },
            |part| {
                let index = 2 * group + part;
                let low = nibble(scales[index % 8], index >= 8);
                let high = scales[8 + index % 4] >> (2 * (index / 4)) & 3;
                (all * f32::from((low | high << 4) as i8 - 32), 0.0)
            },
        );
    }
}

/// Scale and minimum of a group, of 6 bits each, of eight in 12 bytes.
#[inline(always)]
fn scale_and_least(scales: &[u8], group: usize) -> (f32, f32) {
    let (scale, least) = match group {
        0..4 => (scales[group] & 63, scales[group + 4] & 63),
        _ => (
            scales[group + 4] & 15 | scales[group - 4] >> 6 << 4,
            scales[group + 4] >> 4 | scales[group] >> 6 << 4,
        ),
    };
    (f32::from(scale), f32::from(least))
}

pub(crate) struct Q4K;

impl Blocks for Q4K {
    const VALUES: usize = VALUES;
    const BYTES: usize = 144;

    /// Scale, minimum, scales and minima 12, values 128.
    #[inline(always)]
    fn widen(block: &[u8], group: usize, out: &mut [f32; GROUP]) {
        let (of_scales, of_least) = (scale(block, 0), scale(block, 2));
        let (scale, least) = scale_and_least(&block[4..][..SCALES], group);
        let (scale, least) = (of_scales * scale, of_least * least);
        let (bytes, high) = (&block[16 + GROUP * (group / 2)..][..GROUP], group % 2 == 1);
        for (out, byte) in out.iter_mut().zip(bytes) {
            *out = scale * f32::from(nibble(*byte, high)) - least;
        }
    }
}

pub(crate) struct Q5K;

impl Blocks for Q5K {
    const VALUES: usize = VALUES;
    const BYTES: usize = 176;

    /// Scale, minimum, scales and minima 12, fifth bits 32, values 128.
    #[inline(always)]
    fn widen(block: &[u8], group: usize, out: &mut [f32; GROUP]) {
        let (of_scales, of_least) = (scale(block, 0), scale(block, 2));
        let (scale, least) = scale_and_least(&block[4..][..SCALES], group);
        let (scale, least) = (of_scales * scale, of_least * least);
        let fifth = &block[16..][..GROUP];
        let (bytes, high) = (&block[48 + GROUP * (group / 2)..][..GROUP], group % 2 == 1);
        for ((out, byte), fifth) in out.iter_mut().zip(bytes).zip(fifth) {
            *out = scale * f32::from(nibble(*byte, high) | (fifth >> group & 1) << 4) - least;
        }
    }
}

pub(crate) struct Q6K;

impl Blocks for Q6K {
    const VALUES: usize = VALUES;
    const BYTES: usize = 210;

    /// Low four bits 128, high two bits 64, scales 16, scale.
    #[inline(always)]
    fn widen(block: &[u8], group: usize, out: &mut [f32; GROUP]) {
        let all = scale(block, 208);
        let (half, plane) = (group / PLANES, group % PLANES);
        let low = &block[2 * GROUP * half + GROUP * (plane % 2)..][..GROUP];
        let high = &block[128 + GROUP * half..][..GROUP];
        halves(
            out,
            |i| {
                let value = nibble(low[i], plane >= 2) | (high[i] >> (2 * plane) & 3) << 4;
                f32::from(value as i8 - 32)
            },
            |part| (all * f32::from(block[192 + 2 * group + part] as i8), 0.0),
        );
    }
}
