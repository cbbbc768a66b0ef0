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
    /// Nothing is converted.
    as_stored: bool,
}

fn is_half(dtype: DType) -> bool {
    matches!(dtype, DType::F16 | DType::BF16)
}

impl From<DType> for Floats {
    fn from(dtype: DType) -> Self {
        Self {
            dtype,
            keep_half: false,
            as_stored: false,
        }
    }
}

impl Floats {
    /// Leaves large matrices and kernels that are stored in half precision, or in quantised blocks, as they are, for a model
    /// whose operators widen them while they compute: less memory, and the same results.
    #[must_use]
    pub fn keep_half(self, keep_half: bool) -> Self {
        Self { keep_half, ..self }
    }

    /// As the files have them.
    pub(crate) fn as_stored() -> Self {
        Self {
            as_stored: true,
            ..Self::from(DType::F32).keep_half(true)
        }
    }

    /// Whether the quantised blocks of a tensor stay as they are: those of a matrix, where halves would.
    pub(crate) fn keeps_blocks(self, shape: &[usize]) -> bool {
        self.keep_half && shape.len() == 2
    }

    /// What a model computes in.
    pub(crate) fn dtype(self) -> DType {
        self.dtype
    }

    /// The same in f32.
    pub(crate) fn in_single_precision(self) -> Self {
        Self {
            dtype: DType::F32,
            ..self
        }
    }

    /// What a stored tensor becomes while it is read; integers stay. Vectors are read in f32 where the model computes in half
    /// precision, since [`of_module`](Self::of_module) depends on whose they are.
    pub(crate) fn of(self, stored: DType, shape: &Shape) -> DType {
        let kept = self.keep_half && is_half(stored) && shape.num_dims() > 1 && shape.num_elements() >= LARGE;
        match () {
            () if kept || self.as_stored || !stored.is_float() => stored,
            () if shape.num_dims() <= 1 && is_half(self.dtype) => DType::F32,
            () => self.dtype,
        }
    }

    /// What a tensor that was read becomes in a module, by the module's type. Those of normalisations stay in f32: so are
    /// their statistics.
    pub(crate) fn of_module(self, read: DType, shape: &Shape, module: Option<&str>) -> DType {
        let is_norm = module.is_some_and(|name| name.ends_with("Norm"));
        match read == DType::F32 && is_half(self.dtype) && shape.num_dims() <= 1 && !is_norm {
            true => self.dtype,
            false => read,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_half_precision_normalisations_stay_in_single() {
        let floats = Floats::from(DType::BF16);
        let (vector, matrix) = (Shape::from([64]), Shape::from([64, 64]));
        assert_eq!(floats.of(DType::F16, &matrix), DType::BF16);
        assert_eq!(floats.of(DType::F16, &vector), DType::F32);
        let becomes = |shape, module| floats.of_module(floats.of(DType::F16, shape), shape, module);
        assert_eq!(becomes(&vector, Some("Struct:Linear")), DType::BF16);
        assert_eq!(becomes(&vector, None), DType::BF16);
        assert_eq!(becomes(&vector, Some("Struct:GroupNorm")), DType::F32);
        assert_eq!(becomes(&vector, Some("Struct:LayerNorm")), DType::F32);
        assert_eq!(becomes(&matrix, Some("Struct:Linear")), DType::BF16);
        let single = Floats::from(DType::F32);
        assert_eq!(single.of_module(DType::F32, &vector, Some("Struct:Linear")), DType::F32);
    }

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
