//! Activation functions by the names that model configurations give them.

use burn::tensor::{
    Tensor,
    activation::{gelu, gelu_approximate, mish, relu, sigmoid, silu},
};
use serde::Deserialize;

/// An activation function; the names are those of diffusers' and transformers' configurations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Activation {
    /// `x * sigmoid(x)`, also called swish.
    #[default]
    #[serde(alias = "swish")]
    Silu,
    /// The exact Gaussian error linear unit.
    Gelu,
    /// The tanh approximation of it, `gelu_new` and `gelu_pytorch_tanh` in transformers.
    #[serde(alias = "gelu_pytorch_tanh")]
    GeluNew,
    /// `x * sigmoid(1.702 x)`, OpenAI's approximation.
    QuickGelu,
    /// `x * tanh(softplus(x))`.
    Mish,
    /// `max(x, 0)`.
    Relu,
}

impl Activation {
    /// Applies the function element by element.
    #[must_use]
    pub fn forward<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        #[cfg(feature = "cpu-operators")]
        let x = match crate::flex::activate(self, x) {
            Ok(out) => return out,
            Err(x) => x,
        };
        match self {
            Activation::Silu => silu(x),
            Activation::Gelu => gelu(x),
            Activation::GeluNew => gelu_approximate(x),
            Activation::QuickGelu => x.clone() * sigmoid(x * 1.702),
            Activation::Mish => mish(x),
            Activation::Relu => relu(x),
        }
    }
}

/// `value * gelu(gate)`, the inner half of a gated feed-forward layer, GEGLU
/// ([Shazeer, 2020](https://arxiv.org/abs/2002.05202)).
///
/// # Shapes
/// - x: `[batch, tokens, 2 * inner]`, values first -> `[batch, tokens, inner]`
///
/// # Panics
/// On an odd width.
#[must_use]
pub fn geglu(x: Tensor<3>) -> Tensor<3> {
    let width = x.dims()[2];
    assert!(
        width.is_multiple_of(2),
        "the input of a GEGLU has {width} channels, which are no values and as many gates"
    );
    #[cfg(feature = "cpu-operators")]
    let x = match crate::flex::geglu(x) {
        Ok(out) => return out,
        Err(x) => x,
    };
    let halves = x.chunk(2, 2);
    let (value, gate) = (halves[0].clone(), halves[1].clone());
    value * gelu(gate)
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData, Tolerance};

    use super::*;

    /// Values of torch.nn.functional at -1, 0.5 and 2.
    #[test]
    fn equals_torch() {
        let cases = [
            (Activation::Silu, [-0.268_941_43, 0.311_229_67, 1.761_594_2]),
            (Activation::Gelu, [-0.158_655_26, 0.345_731_23, 1.954_499_7]),
            (Activation::GeluNew, [-0.158_808_02, 0.345_714, 1.954_597_7]),
            (Activation::QuickGelu, [-0.154_204_27, 0.350_388_47, 1.935_658]),
            (Activation::Mish, [-0.303_401_46, 0.375_244_76, 1.943_959]),
            (Activation::Relu, [0.0, 0.5, 2.0]),
        ];
        for (activation, expected) in cases {
            let x = Tensor::<1>::from_floats([-1.0, 0.5, 2.0], &Device::flex());
            let expected = TensorData::from(expected.map(|v: f64| v as f32));
            let tolerance = Tolerance::rel_abs(1e-5, 1e-6);
            activation
                .forward(x)
                .into_data()
                .assert_approx_eq::<f32>(&expected, tolerance);
        }
    }

    #[test]
    fn swish_is_silu() {
        let parsed: Activation = serde::Deserialize::deserialize(serde::de::value::StrDeserializer::<
            serde::de::value::Error,
        >::new("swish"))
        .unwrap();
        assert_eq!(parsed, Activation::Silu);
    }
}
