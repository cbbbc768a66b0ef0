//! `TemporalConvLayer`: four convolutions along time, added to the input (`diffusers/models/resnet.py`).

use burn::{
    module::Module,
    nn::{GroupNorm, GroupNormConfig, conv::Conv3d},
    tensor::{Device, Tensor},
};
use t2v_kernels::{Activation, add, conv_time, conv3x1x1, group_norm_frames};

/// Normalise, activate, convolve over three neighbouring frames.
#[derive(Module, Debug)]
struct NormConv {
    norm: GroupNorm,
    conv: Conv3d,
}

impl NormConv {
    fn new(channels: usize, groups: usize, device: &Device) -> Self {
        Self {
            norm: GroupNormConfig::new(groups, channels).init(device),
            conv: conv3x1x1(channels, channels, device),
        }
    }

    fn forward(&self, x: Tensor<4>, frames: usize) -> Tensor<4> {
        let normed = group_norm_frames(&self.norm, x, frames, Some(Activation::Silu));
        conv_time(&self.conv, normed, frames)
    }
}

/// A residual branch of four temporal convolutions. Its last layer starts at zero in training.
#[derive(Module, Debug)]
pub struct TemporalConv {
    conv1: NormConv,
    conv2: NormConv,
    conv3: NormConv,
    conv4: NormConv,
}

impl TemporalConv {
    /// A layer that keeps the number of channels.
    #[must_use]
    pub fn new(channels: usize, groups: usize, device: &Device) -> Self {
        let layer = || NormConv::new(channels, groups, device);
        Self {
            conv1: layer(),
            conv2: layer(),
            conv3: layer(),
            conv4: layer(),
        }
    }

    /// # Shapes
    /// - x: `[batch * frames, channels, height, width]`, unchanged
    #[must_use]
    pub fn forward(&self, x: Tensor<4>, frames: usize) -> Tensor<4> {
        let hidden = self.conv1.forward(x.clone(), frames);
        let hidden = self.conv2.forward(hidden, frames);
        let hidden = self.conv3.forward(hidden, frames);
        add(self.conv4.forward(hidden, frames), x)
    }
}
