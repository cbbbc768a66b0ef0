//! Group normalisation ([Wu and He, 2018](https://arxiv.org/abs/1803.08494)), with the activation that follows it, and
//! layer normalisation ([Ba et al., 2016](https://arxiv.org/abs/1607.06450)).

use burn::{
    module::{Initializer, Module, Param},
    nn::GroupNorm,
    tensor::{DType, Device, Tensor, module},
};

use crate::{
    Activation, merge_frames,
    shape::{assert_shape, assert_whole_clips},
    split_frames,
};

/// Normalises each image by itself, then activates.
///
/// # Shapes
/// - x: `[batch, channels, height, width]`, unchanged
///
/// # Panics
/// On images of another number of channels.
#[must_use]
pub fn group_norm(norm: &GroupNorm, x: Tensor<4>, activation: Option<Activation>) -> Tensor<4> {
    group_norm_frames(norm, x, 1, activation)
}

/// Normalises the frames of a clip together, then activates.
///
/// # Shapes
/// - x: `[batch * frames, channels, height, width]`, unchanged
///
/// # Panics
/// On images of another number of channels, and on no whole clips.
#[must_use]
pub fn group_norm_frames(norm: &GroupNorm, x: Tensor<4>, frames: usize, activation: Option<Activation>) -> Tensor<4> {
    let [rows, _, height, width] = x.dims();
    assert_whole_clips(rows, frames);
    let expected = [rows, norm.num_channels, height, width];
    assert_shape("the input of a group normalisation", &x, expected);
    #[cfg(feature = "cpu-operators")]
    let x = match crate::flex::group_norm(norm, x, frames, activation) {
        Ok(out) => return out,
        Err(x) => x,
    };
    let normed = match frames {
        1 => norm.forward(x),
        _ => merge_frames(norm.forward(split_frames(x, frames))),
    };
    match activation {
        Some(activation) => activation.forward(normed),
        None => normed,
    }
}

/// Normalises each token over its channels. Parameters load from `weight` and `bias` as those of Burn's layer do.
#[derive(Module, Debug)]
pub struct LayerNorm {
    pub(crate) gamma: Param<Tensor<1>>,
    pub(crate) beta: Param<Tensor<1>>,
    pub(crate) epsilon: f64,
}

impl LayerNorm {
    /// A layer for tokens of `dim` channels.
    #[must_use]
    pub fn new(dim: usize, epsilon: f64, device: &Device) -> Self {
        Self {
            gamma: Initializer::Ones.init([dim], device),
            beta: Initializer::Zeros.init([dim], device),
            epsilon,
        }
    }

    /// The type of its parameters, and of the tokens that it takes.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.gamma.val().dtype()
    }

    /// # Shapes
    /// - x: `[batch, tokens, dim]`, unchanged
    ///
    /// # Panics
    /// On tokens of another width.
    #[must_use]
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let [batch, tokens, _] = x.dims();
        let expected = [batch, tokens, self.gamma.dims()[0]];
        assert_shape("the input of a layer normalisation", &x, expected);
        #[cfg(feature = "cpu-operators")]
        let x = match crate::flex::layer_norm(self, x) {
            Ok(out) => return out,
            Err(x) => x,
        };
        module::layer_norm(x, self.gamma.val(), Some(self.beta.val()), self.epsilon)
    }
}
