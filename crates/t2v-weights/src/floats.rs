//! What floating-point parameters become in memory.

use burn::tensor::{DType, Shape};

/// Parameters with fewer elements always take the model's type: they weigh nothing, and small layers would spend more
/// time on widening them than on their work.
const LARGE: usize = 1 << 18;

/// The type of floating-point parameters in memory. A [`DType`] alone converts all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Floats {
    dtype: DType,
    keep_half: bool,
}

impl From<DType> for Floats {
    fn from(dtype: DType) -> Self {
        Self {
            dtype,
            keep_half: false,
        }
    }
}

impl Floats {
    /// Leaves large matrices and kernels that are stored in half precision as they are, for a model whose operators widen
    /// them while they compute: half the memory, and the same results.
    #[must_use]
    pub fn keep_half(self, keep_half: bool) -> Self {
        Self { keep_half, ..self }
    }

    /// What a stored tensor becomes; integers stay.
    pub(crate) fn of(self, stored: DType, shape: &Shape) -> DType {
        let half = matches!(stored, DType::F16 | DType::BF16);
        let kept = self.keep_half && half && shape.num_dims() > 1 && shape.num_elements() >= LARGE;
        if kept || !stored.is_float() { stored } else { self.dtype }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_large_matrices_stay_in_half_precision() {
        let floats = Floats::from(DType::F32).keep_half(true);
        let of = |stored, shape: &[usize]| floats.of(stored, &Shape::from(shape.to_vec()));
        assert_eq!(of(DType::F16, &[512, 512]), DType::F16);
        assert_eq!(of(DType::BF16, &[64, 512, 3, 3]), DType::BF16);
        assert_eq!(of(DType::F16, &[511, 512]), DType::F32);
        assert_eq!(of(DType::F16, &[1 << 20]), DType::F32);
        assert_eq!(of(DType::F64, &[512, 512]), DType::F32);
        assert_eq!(of(DType::I64, &[512, 512]), DType::I64);
        assert_eq!(
            Floats::from(DType::F32).of(DType::F16, &Shape::from([512, 512])),
            DType::F32
        );
    }
}
