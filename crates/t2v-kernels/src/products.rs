//! In which numbers layers are multiplied.

use burn::tensor::{DType, Device};

/// In which numbers layers are multiplied, for callers that give exactness for speed.
///
/// Whoever calls a layer says so each time: nothing is kept, and layers are shared between those who want one and those who want the
/// other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Products {
    /// In those of the tensors.
    #[default]
    Exact,
    /// In 8-bit integers, of which every token and every output channel has its own multiples, where that is faster: with tensors in
    /// f32 on a CPU with AVX-512 VNNI or AVX2, and 128 tokens or more. Elsewhere exactly.
    ///
    /// The result differs from the exact one by about a hundredth of its size. What is not finite stays so.
    Int8,
}

impl Products {
    /// Whether layers in `dtype` on a device are multiplied exactly.
    #[must_use]
    pub fn are_exact(self, dtype: DType, device: &Device) -> bool {
        #[cfg(feature = "cpu-operators")]
        return self == Self::Exact || !crate::flex::has_integers(dtype, device);
        #[cfg(not(feature = "cpu-operators"))]
        {
            let _ = (dtype, device);
            true
        }
    }
}
