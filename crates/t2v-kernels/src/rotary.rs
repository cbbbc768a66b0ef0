//! Rotary embeddings of positions ([Su et al., 2021](https://arxiv.org/abs/2104.09864)).

use burn::tensor::{DType, Tensor};

use crate::{MultiHead, shape::assert_shape};

/// Cosines and sines of the angles by which each token's pairs of channels are turned, the same for all heads.
#[derive(Debug, Clone)]
pub struct Rotation {
    pub(crate) cos: Tensor<2>,
    pub(crate) sin: Tensor<2>,
}

impl Rotation {
    /// # Shapes
    /// - cos, sin: `[tokens, head_dim / 2]`, f32
    ///
    /// # Panics
    /// On two shapes.
    #[must_use]
    pub fn new(cos: Tensor<2>, sin: Tensor<2>) -> Self {
        assert_shape("the sines of a rotation", &sin, cos.dims());
        Self { cos, sin }
    }

    /// Turns the pairs of neighbouring channels of every head, in f32.
    ///
    /// # Shapes
    /// - x: `[batch, tokens, heads * head_dim]`, unchanged
    ///
    /// # Panics
    /// On other shapes.
    #[must_use]
    pub fn forward(&self, x: Tensor<3>, split: MultiHead) -> Tensor<3> {
        let ([tokens, pairs], [batch, ..], dtype) = (self.cos.dims(), x.dims(), x.dtype());
        assert_shape("the input of a rotation", &x, [batch, tokens, split.heads * 2 * pairs]);
        #[cfg(feature = "cpu-operators")]
        let x = match crate::flex::rotate(self, x, split) {
            Ok(out) => return out,
            Err(x) => x,
        };
        let paired = x.cast(DType::F32).reshape([batch, tokens, split.heads, pairs, 2]);
        let channel = |index| paired.clone().narrow(4, index, 1);
        let (first, second) = (channel(0), channel(1));
        let of_tokens = |values: &Tensor<2>| values.clone().reshape([1, tokens, 1, pairs, 1]);
        let (cos, sin) = (of_tokens(&self.cos), of_tokens(&self.sin));
        let turned = vec![
            first.clone() * cos.clone() - second.clone() * sin.clone(),
            first * sin + second * cos,
        ];
        let turned: Tensor<5> = Tensor::cat(turned, 4);
        turned.reshape([batch, tokens, split.inner_dim()]).cast(dtype)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData, Tolerance};

    use super::*;

    #[test]
    fn turns_each_pair_by_its_tokens_angle() {
        let device = Device::flex();
        // The first token's pairs by 0 and 90 degrees, the second's by 180 and 0.
        let cos = Tensor::from_floats([[1.0, 0.0], [-1.0, 1.0]], &device);
        let sin = Tensor::from_floats([[0.0, 1.0], [0.0, 0.0]], &device);
        let split = MultiHead { heads: 2, head_dim: 4 };
        let x = Tensor::<1, burn::tensor::Int>::arange(0..16, &device)
            .float()
            .reshape([1, 2, 8]);
        let turned = Rotation::new(cos, sin).forward(x, split);
        let expected = [
            [0.0, 1.0, -3.0, 2.0, 4.0, 5.0, -7.0, 6.0],
            [-8.0, -9.0, 10.0, 11.0, -12.0, -13.0, 14.0, 15.0],
        ];
        turned
            .into_data()
            .assert_approx_eq::<f32>(&TensorData::from([expected]), Tolerance::rel_abs(1e-6, 1e-6));
    }
}
