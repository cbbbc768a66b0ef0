//! `TemporalConvLayer`: four convolutions along time, added to the input (`diffusers/models/resnet.py`).

use burn::{
    module::Module,
    nn::{
        GroupNorm, GroupNormConfig, PaddingConfig3d,
        conv::{Conv3d, Conv3dConfig},
    },
    tensor::{Device, Tensor, activation::silu},
};

use crate::unet_blocks::{merge_frames, split_frames};

/// Normalise, activate, convolve over three neighbouring frames.
#[derive(Module, Debug)]
struct NormConv {
    norm: GroupNorm,
    conv: Conv3d,
}

impl NormConv {
    fn new(channels: usize, groups: usize, device: &Device) -> Self {
        let conv = Conv3dConfig::new([channels, channels], [3, 1, 1]).with_padding(PaddingConfig3d::Explicit(1, 0, 0));
        Self {
            norm: GroupNormConfig::new(groups, channels).init(device),
            conv: conv.init(device),
        }
    }

    fn forward(&self, x: Tensor<5>) -> Tensor<5> {
        self.conv.forward(silu(self.norm.forward(x)))
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
        let x = split_frames(x, frames);
        let hidden = self.conv1.forward(x.clone());
        let hidden = self.conv2.forward(hidden);
        let hidden = self.conv3.forward(hidden);
        merge_frames(x + self.conv4.forward(hidden))
    }
}
