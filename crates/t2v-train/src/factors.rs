//! The matrices of all adapters as one list: what optimiser, average and gradients have one entry each for.

use burn::tensor::Tensor;

/// One matrix a factor of an adapter: `down`, `up`, of one adapter after the other, off the autodiff device.
#[derive(Debug, Clone)]
pub struct Factors(pub(crate) Vec<Tensor<2>>);

impl Factors {
    /// Matrices in the order of the adapters.
    #[must_use]
    pub fn new(tensors: Vec<Tensor<2>>) -> Self {
        Self(tensors)
    }

    /// The matrices, in order.
    #[must_use]
    pub fn tensors(&self) -> &[Tensor<2>] {
        &self.0
    }

    /// Entry by entry.
    pub(crate) fn zip(self, other: Self, join: impl Fn(Tensor<2>, Tensor<2>) -> Tensor<2>) -> Self {
        Self(self.0.into_iter().zip(other.0).map(|(a, b)| join(a, b)).collect())
    }

    pub(crate) fn map(self, change: impl Fn(Tensor<2>) -> Tensor<2>) -> Self {
        Self(self.0.into_iter().map(change).collect())
    }

    /// The Euclidean norm of all entries together.
    #[must_use]
    pub fn norm(&self) -> f64 {
        let squares = self.0.iter().map(|tensor| tensor.clone().square().sum());
        match squares.reduce(|a, b| a + b) {
            Some(sum) => f64::from(sum.into_scalar::<f32>()).sqrt(),
            None => 0.0,
        }
    }

    /// The same, made shorter where their norm is above `most`, as `torch.nn.utils.clip_grad_norm_` does; 0 leaves them. Beside
    /// them, their norm before.
    #[must_use]
    pub fn clipped(self, most: f64) -> (Self, f64) {
        let norm = self.norm();
        let factor = most / (norm + 1e-6);
        match most > 0.0 && factor < 1.0 {
            true => (self.map(|tensor| tensor * factor), norm),
            false => (self, norm),
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    fn factors(values: [[f32; 2]; 2]) -> Factors {
        Factors(values.map(|row| Tensor::from_floats([row], &Device::flex())).into())
    }

    #[test]
    fn the_norm_is_that_of_all_together() {
        let factors = factors([[1.0, 2.0], [2.0, 4.0]]);
        assert!((factors.norm() - 5.0).abs() < 1e-6);
        let (clipped, before) = factors.clone().clipped(1.0);
        assert!((before - 5.0).abs() < 1e-6 && (clipped.norm() - 1.0).abs() < 1e-5);
        for most in [0.0, 6.0] {
            let (same, _) = factors.clone().clipped(most);
            assert!((same.norm() - 5.0).abs() < 1e-6);
        }
    }
}
