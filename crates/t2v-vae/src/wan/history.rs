//! Causal convolutions of clips that come frame by frame (`WanCausalConv3d` upstream, with its cache).

use burn::{
    nn::{
        PaddingConfig2d,
        conv::{Conv2d, Conv2dConfig},
    },
    tensor::{Device, Tensor},
};
use t2v_kernels::{conv_same, conv2d_turns};

/// Frames that a causal convolution sees: the newest and those before it.
pub(super) const TAPS: usize = 3;

/// A 3x3 convolution over a frame and the two before it that keeps the size.
pub(super) fn causal_conv(in_channels: usize, out_channels: usize, device: &Device) -> Conv2d {
    conv_same(TAPS * in_channels, out_channels, 3, device)
}

/// A convolution over a pixel of three frames.
pub(super) fn time_conv(in_channels: usize, out_channels: usize, device: &Device) -> Conv2d {
    Conv2dConfig::new([TAPS * in_channels, out_channels], [1, 1])
        .with_padding(PaddingConfig2d::Valid)
        .init(device)
}

/// The two frames that a causal convolution saw last; at first there are none, and they count as zeros.
#[derive(Debug, Clone, Default)]
pub(super) struct History {
    frames: Option<[Tensor<4>; TAPS - 1]>,
}

impl History {
    /// Applies a convolution over three frames to the next one, which is remembered.
    ///
    /// # Shapes
    /// - x: `[1, in_channels, height, width]` -> `[1, out_channels, height, width]`
    pub(super) fn convolve(&mut self, conv: &Conv2d, x: Tensor<4>) -> Tensor<4> {
        let none = || {
            let zeros = x.zeros_like();
            [zeros.clone(), zeros]
        };
        let [before, last] = self.frames.take().unwrap_or_else(none);
        let out = conv2d_turns(conv, &[before, last.clone(), x.clone()]);
        self.frames = Some([last, x]);
        out
    }
}
