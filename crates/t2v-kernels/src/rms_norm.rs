//! Normalisation by the root mean square ([Zhang and Sennrich, 2019](https://arxiv.org/abs/1910.07467)).

use burn::{
    module::{Initializer, Module, Param},
    tensor::{DType, Device, Tensor},
};

use crate::shape::assert_shape;

/// Divides each token by the root of its mean square and scales its channels. The parameter loads from `weight`.
#[derive(Module, Debug)]
pub struct RmsNorm {
    pub(crate) gamma: Param<Tensor<1>>,
    pub(crate) epsilon: f64,
}

impl RmsNorm {
    /// A layer for tokens of `dim` channels.
    #[must_use]
    pub fn new(dim: usize, epsilon: f64, device: &Device) -> Self {
        Self {
            gamma: Initializer::Ones.init([dim], device),
            epsilon,
        }
    }

    /// In f32 whatever the input is: squares overflow in half precision.
    ///
    /// # Shapes
    /// - x: `[batch, tokens, dim]`, unchanged
    ///
    /// # Panics
    /// On tokens of another width.
    #[must_use]
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let [batch, tokens, _] = x.dims();
        let dim = self.gamma.dims()[0];
        assert_shape("the input of an RMS normalisation", &x, [batch, tokens, dim]);
        #[cfg(feature = "cpu-operators")]
        let x = match crate::flex::rms_norm(self, x) {
            Ok(out) => return out,
            Err(x) => x,
        };
        let dtype = x.dtype();
        let x = x.cast(DType::F32);
        let mean_square = x.clone().square().mean_dim(2);
        let normed = x * (mean_square + self.epsilon).sqrt().recip();
        (normed * self.gamma.val().cast(DType::F32).unsqueeze()).cast(dtype)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{TensorData, Tolerance};

    use super::*;

    #[test]
    fn equals_the_formula() {
        let device = Device::flex();
        let mut norm = RmsNorm::new(2, 1.0, &device);
        norm.gamma = Param::from_tensor(Tensor::from_floats([2.0, -1.0], &device));
        let x = Tensor::<3>::from_floats([[[1.0, 3.0], [0.0, 0.0]]], &device);
        // (1 + 9) / 2 + 1 = 6.
        let root = 6f32.sqrt();
        let expected = TensorData::from([[[2.0 / root, -3.0 / root], [0.0, 0.0]]]);
        norm.forward(x)
            .into_data()
            .assert_approx_eq::<f32>(&expected, Tolerance::rel_abs(1e-6, 1e-6));
    }
}
