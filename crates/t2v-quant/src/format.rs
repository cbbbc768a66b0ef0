//! The kinds of blocks, and how parts of rows are widened.

use crate::formats::{Blocks, Q2K, Q3K, Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q5K, Q6K, Q8_0};

/// Values that are widened together: a whole block, or an eighth of one of 256.
pub const GROUP: usize = 32;

/// A kind of block; names are GGML's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(non_camel_case_types, reason = "the names by which they are known")]
pub enum BlockFormat {
    /// 4 bits and a scale for 32 values.
    Q4_0,
    /// 4 bits, a scale and a minimum for 32 values.
    Q4_1,
    /// 5 bits and a scale for 32 values.
    Q5_0,
    /// 5 bits, a scale and a minimum for 32 values.
    Q5_1,
    /// 8 bits and a scale for 32 values.
    Q8_0,
    /// 2 bits, with scales and minima of 4 bits for 16 values each, in blocks of 256.
    Q2_K,
    /// 3 bits, with scales of 6 bits for 16 values each, in blocks of 256.
    Q3_K,
    /// 4 bits, with scales and minima of 6 bits for 32 values each, in blocks of 256.
    Q4_K,
    /// 5 bits, with scales and minima of 6 bits for 32 values each, in blocks of 256.
    Q5_K,
    /// 6 bits, with scales of 8 bits for 16 values each, in blocks of 256.
    Q6_K,
}

impl BlockFormat {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Q4_0,
        Self::Q4_1,
        Self::Q5_0,
        Self::Q5_1,
        Self::Q8_0,
        Self::Q2_K,
        Self::Q3_K,
        Self::Q4_K,
        Self::Q5_K,
        Self::Q6_K,
    ];

    /// The name that GGML has for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Q4_0 => "Q4_0",
            Self::Q4_1 => "Q4_1",
            Self::Q5_0 => "Q5_0",
            Self::Q5_1 => "Q5_1",
            Self::Q8_0 => "Q8_0",
            Self::Q2_K => "Q2_K",
            Self::Q3_K => "Q3_K",
            Self::Q4_K => "Q4_K",
            Self::Q5_K => "Q5_K",
            Self::Q6_K => "Q6_K",
        }
    }

    /// Values of a block.
    #[must_use]
    pub fn block_values(self) -> usize {
        self.block()[0]
    }

    /// Bytes of a block.
    #[must_use]
    pub fn block_bytes(self) -> usize {
        self.block()[1]
    }

    fn block(self) -> [usize; 2] {
        fn of<B: Blocks>() -> [usize; 2] {
            [B::VALUES, B::BYTES]
        }
        match self {
            Self::Q4_0 => of::<Q4_0>(),
            Self::Q4_1 => of::<Q4_1>(),
            Self::Q5_0 => of::<Q5_0>(),
            Self::Q5_1 => of::<Q5_1>(),
            Self::Q8_0 => of::<Q8_0>(),
            Self::Q2_K => of::<Q2K>(),
            Self::Q3_K => of::<Q3K>(),
            Self::Q4_K => of::<Q4K>(),
            Self::Q5_K => of::<Q5K>(),
            Self::Q6_K => of::<Q6K>(),
        }
    }

    /// Bytes of so many values; none if they are no whole blocks, or more than can be counted.
    #[must_use]
    pub fn bytes(self, values: usize) -> Option<usize> {
        let [block, bytes] = self.block();
        values
            .is_multiple_of(block)
            .then(|| (values / block).checked_mul(bytes))
            .flatten()
    }

    /// Writes the values from `first` on to `out`, as many as there is room for.
    ///
    /// # Panics
    /// On more values than there are in `blocks`.
    #[inline(always)]
    pub fn widen(self, blocks: &[u8], first: usize, out: &mut [f32]) {
        match self {
            Self::Q4_0 => widen::<Q4_0>(blocks, first, out),
            Self::Q4_1 => widen::<Q4_1>(blocks, first, out),
            Self::Q5_0 => widen::<Q5_0>(blocks, first, out),
            Self::Q5_1 => widen::<Q5_1>(blocks, first, out),
            Self::Q8_0 => widen::<Q8_0>(blocks, first, out),
            Self::Q2_K => widen::<Q2K>(blocks, first, out),
            Self::Q3_K => widen::<Q3K>(blocks, first, out),
            Self::Q4_K => widen::<Q4K>(blocks, first, out),
            Self::Q5_K => widen::<Q5K>(blocks, first, out),
            Self::Q6_K => widen::<Q6K>(blocks, first, out),
        }
    }
}

/// Group by group; those that are wanted in part by way of a whole one.
#[inline(always)]
fn widen<B: Blocks>(blocks: &[u8], first: usize, out: &mut [f32]) {
    let mut at = first;
    let mut rest = out;
    while !rest.is_empty() {
        let (block, group, skipped) = (at / B::VALUES, at % B::VALUES / GROUP, at % GROUP);
        let block = &blocks[block * B::BYTES..][..B::BYTES];
        let count = (GROUP - skipped).min(rest.len());
        let (values, behind) = rest.split_at_mut(count);
        match values.as_mut_array::<GROUP>() {
            Some(whole) => B::widen(block, group, whole),
            None => {
                let mut whole = [0.0; GROUP];
                B::widen(block, group, &mut whole);
                values.copy_from_slice(&whole[skipped..][..count]);
            }
        }
        (at, rest) = (at + count, behind);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_ggml() {
        let sizes = BlockFormat::ALL.map(|format| (format.block_values(), format.block_bytes()));
        let expected = [
            (32, 18),
            (32, 20),
            (32, 22),
            (32, 24),
            (32, 34),
            (256, 84),
            (256, 110),
            (256, 144),
            (256, 176),
            (256, 210),
        ];
        assert_eq!(sizes, expected);
        assert_eq!(BlockFormat::Q4_K.bytes(512), Some(288));
        assert_eq!(BlockFormat::Q4_K.bytes(300), None);
        assert_eq!(BlockFormat::Q8_0.bytes(usize::MAX / 32 * 32), None);
    }

    /// Wherever a part begins and ends, it has the values that all of it has there.
    #[test]
    fn parts_are_parts_of_the_whole() {
        for format in BlockFormat::ALL {
            let count = 3 * format.block_values();
            let len = format.bytes(count).unwrap();
            // Scales come from bytes too: none of these is a NaN or infinite in f16.
            let blocks: Vec<u8> = (0..len).map(|i| (i * 37 % 113) as u8).collect();
            let mut whole = vec![0.0; count];
            format.widen(&blocks, 0, &mut whole);
            for (first, len) in [
                (0, 1),
                (5, 20),
                (31, 2),
                (32, 64),
                (40, count - 40),
                (count - 1, 1),
                (7, 0),
            ] {
                let mut part = vec![0.0; len];
                format.widen(&blocks, first, &mut part);
                assert_eq!(part, whole[first..][..len], "{} from {first}", format.name());
            }
        }
    }
}
