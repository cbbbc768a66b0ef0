//! Which instructions multiply integers, and how they want them.

use crate::settings::{Vectors, settings};

/// Instructions that multiply small integers and add the products. All give the same sums, to the bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Instructions {
    /// AVX2: pairs of 16 bits.
    Avx2,
    /// AVX-512 VNNI: fours of 8 bits, unsigned by signed.
    Vnni,
}

impl Instructions {
    /// The best of the processor that [`settings`] allow, if there are any: without them floats are as fast.
    pub(super) fn best() -> Option<Self> {
        let vectors = settings().vectors;
        let best = [Self::Vnni, Self::Avx2].into_iter();
        let mut best = best.filter(|instructions| vectors >= instructions.vectors());
        best.find(|instructions| instructions.are_there())
    }

    fn vectors(self) -> Vectors {
        match self {
            Self::Avx2 => Vectors::Avx2,
            Self::Vnni => Vectors::Avx512,
        }
    }

    /// Whether the processor has them.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn are_there(self) -> bool {
        match self {
            Self::Avx2 => is_x86_feature_detected!("avx2"),
            Self::Vnni => is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni"),
        }
    }

    /// Whether the processor has them.
    #[cfg(not(target_arch = "x86_64"))]
    pub(super) fn are_there(self) -> bool {
        false
    }

    /// Integers that are multiplied together: as many as make a word of 32 bits.
    pub(super) fn group(self) -> usize {
        match self {
            Self::Avx2 => 2,
            Self::Vnni => 4,
        }
    }

    /// Words of a vector.
    pub(super) fn lanes(self) -> usize {
        match self {
            Self::Avx2 => 8,
            Self::Vnni => 16,
        }
    }

    /// Columns that are multiplied together, at most.
    pub(super) fn panel(self) -> usize {
        match self {
            Self::Avx2 => 2 * self.lanes(),
            Self::Vnni => 3 * self.lanes(),
        }
    }

    /// What is added to the integers of rows, since some instructions take them without a sign.
    pub(super) fn row_offset(self) -> i32 {
        match self {
            Self::Avx2 => 0,
            Self::Vnni => 128,
        }
    }
}
