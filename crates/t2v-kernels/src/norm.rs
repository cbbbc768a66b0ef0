//! Group normalisation ([Wu and He, 2018](https://arxiv.org/abs/1803.08494)), with the activation that follows it,
//! layer normalisation ([Ba et al., 2016](https://arxiv.org/abs/1607.06450)) and root mean square normalisation over channels
//! ([Zhang and Sennrich, 2019](https://arxiv.org/abs/1910.07467)).

use burn::{
    module::{Initializer, Module, Param},
    nn::GroupNorm,
    tensor::{DType, Device, Tensor, module},
};

use crate::{
    Activation,
    shape::{assert_shape, assert_whole_clips},
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
    normalise_groups(norm, x, frames, activation)
}

/// In f32 whatever the input is, which is how torch does it: sums of squares overflow in half precision.
///
/// Channels come last from here on, so that on a GPU what follows finds them as its convolutions and products want them. The
/// input is widened wherever it is used: a fusing backend reads it as it is, three times, and writes nothing but the result.
fn normalise_groups(norm: &GroupNorm, x: Tensor<4>, frames: usize, activation: Option<Activation>) -> Tensor<4> {
    let ([rows, channels, height, width], dtype) = (x.dims(), x.dtype());
    let (clips, groups) = (rows / frames, norm.num_groups);
    let of_group = channels / groups;
    let x = x
        .permute([0, 2, 3, 1])
        .reshape([clips, frames * height * width, groups, of_group]);
    let wide = || x.clone().cast(DType::F32);
    let mean = wide().mean_dim(1).mean_dim(3);
    let variance = (wide() - mean.clone()).square().mean_dim(1).mean_dim(3);
    let by_channel = |values: &Param<Tensor<1>>| values.val().cast(DType::F32).reshape([1, 1, groups, of_group]);
    let mut scale = (variance + norm.epsilon).sqrt().recip();
    if let Some(gamma) = &norm.gamma {
        scale = scale * by_channel(gamma);
    }
    let mut shift = mean * scale.clone() * -1.0;
    if let Some(beta) = &norm.beta {
        shift = shift + by_channel(beta);
    }
    let mut normed = wide() * scale + shift;
    if let Some(activation) = activation {
        normed = activation.forward(normed);
    }
    let normed = normed.cast(dtype).reshape([rows, height, width, channels]);
    normed.permute([0, 3, 1, 2])
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
        // In f32, as torch does: squares overflow in half precision.
        let dtype = x.dtype();
        let [gamma, beta] = [&self.gamma, &self.beta].map(|values| values.val().cast(DType::F32));
        module::layer_norm(x.cast(DType::F32), gamma, Some(beta), self.epsilon).cast(dtype)
    }
}

/// Below this length the channels of a pixel are not scaled up any more, as in torch's `normalize`.
pub(crate) const LEAST_LENGTH: f32 = 1e-12;

/// Divides each pixel of images by the root of the mean of its channels' squares, then activates.
#[derive(Module, Debug)]
pub struct ChannelRmsNorm {
    pub(crate) gamma: Param<Tensor<1>>,
}

impl ChannelRmsNorm {
    /// A layer for images of so many channels.
    #[must_use]
    pub fn new(channels: usize, device: &Device) -> Self {
        Self {
            gamma: Initializer::Ones.init([channels], device),
        }
    }

    /// # Shapes
    /// - x: `[batch, channels, height, width]`, unchanged
    ///
    /// # Panics
    /// On images of another number of channels.
    #[must_use]
    pub fn forward(&self, x: Tensor<4>, activation: Option<Activation>) -> Tensor<4> {
        let [batch, _, height, width] = x.dims();
        let [channels] = self.gamma.dims();
        let expected = [batch, channels, height, width];
        assert_shape("the input of a normalisation over channels", &x, expected);
        #[cfg(feature = "cpu-operators")]
        let x = match crate::flex::channel_rms_norm(self, x, activation) {
            Ok(out) => return out,
            Err(x) => x,
        };
        self.normalise(x, activation)
    }

    /// In f32 and with channels last, for the reasons of group normalisation.
    fn normalise(&self, x: Tensor<4>, activation: Option<Activation>) -> Tensor<4> {
        let ([channels], dtype) = (self.gamma.dims(), x.dtype());
        let x = x.permute([0, 2, 3, 1]);
        let wide = || x.clone().cast(DType::F32);
        let length = wide().square().sum_dim(3).sqrt().clamp_min(LEAST_LENGTH);
        let gamma = self.gamma.val().cast(DType::F32) * (channels as f64).sqrt();
        let mut normed = wide() / length * gamma.reshape([1, 1, 1, channels]);
        if let Some(activation) = activation {
            normed = activation.forward(normed);
        }
        normed.cast(dtype).permute([0, 3, 1, 2])
    }
}
