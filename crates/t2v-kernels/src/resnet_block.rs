//! The residual block of diffusers' convolutional models (`ResnetBlock2D` in `diffusers/models/resnet.py`).

use burn::{
    module::Module,
    nn::{GroupNorm, GroupNormConfig, Linear, conv::Conv2d},
    tensor::{Device, Tensor},
};

use crate::{Activation, add, add_to_channels, conv1x1, conv2d, conv3x3, group_norm, linear, project};

/// What a [`ResnetBlock2d`] is made of.
#[derive(Debug, Clone)]
pub struct ResnetBlock2dConfig {
    /// Channels of the input.
    pub in_channels: usize,
    /// Channels of the output; a 1x1 convolution carries the input over where they differ.
    pub out_channels: usize,
    /// Width of the time embedding, where the block takes one.
    pub time_embed_dim: Option<usize>,
    /// Groups of both normalisations.
    pub groups: usize,
    /// Epsilon of both normalisations.
    pub eps: f64,
    /// Between normalisation and convolution.
    pub activation: Activation,
    /// Divides the sum of input and residual.
    pub output_scale_factor: f64,
}

/// Normalise, activate, convolve, twice; the time embedding is added in between and the input at the end.
#[derive(Module, Debug)]
pub struct ResnetBlock2d {
    norm1: GroupNorm,
    conv1: Conv2d,
    time_emb_proj: Option<Linear>,
    norm2: GroupNorm,
    conv2: Conv2d,
    conv_shortcut: Option<Conv2d>,
    #[module(skip)]
    activation: Activation,
    output_scale_factor: f64,
}

impl ResnetBlock2dConfig {
    /// A block with parameters still to be loaded.
    #[must_use]
    pub fn init(&self, device: &Device) -> ResnetBlock2d {
        let norm = |channels| {
            GroupNormConfig::new(self.groups, channels)
                .with_epsilon(self.eps)
                .init(device)
        };
        let (input, output) = (self.in_channels, self.out_channels);
        ResnetBlock2d {
            norm1: norm(input),
            conv1: conv3x3(input, output, device),
            time_emb_proj: self.time_embed_dim.map(|dim| linear(dim, output, true, device)),
            norm2: norm(output),
            conv2: conv3x3(output, output, device),
            conv_shortcut: (input != output).then(|| conv1x1(input, output, device)),
            activation: self.activation,
            output_scale_factor: self.output_scale_factor,
        }
    }
}

impl ResnetBlock2d {
    /// # Shapes
    /// - x: `[batch, in_channels, height, width]`
    /// - time_embedding: `[batch, time_embed_dim]`, for blocks that take one
    /// - output: `[batch, out_channels, height, width]`
    #[must_use]
    pub fn forward(&self, x: Tensor<4>, time_embedding: Option<Tensor<2>>) -> Tensor<4> {
        let mut hidden = conv2d(&self.conv1, group_norm(&self.norm1, x.clone(), Some(self.activation)));
        if let (Some(proj), Some(time)) = (&self.time_emb_proj, time_embedding) {
            let time = project(proj, self.activation.forward(time).unsqueeze_dim(0));
            hidden = add_to_channels(hidden, time.squeeze_dim(0));
        }
        let hidden = conv2d(&self.conv2, group_norm(&self.norm2, hidden, Some(self.activation)));
        let carried = match &self.conv_shortcut {
            Some(conv) => conv2d(conv, x),
            None => x,
        };
        let sum = add(hidden, carried);
        if self.output_scale_factor == 1.0 {
            sum
        } else {
            sum / self.output_scale_factor
        }
    }
}
