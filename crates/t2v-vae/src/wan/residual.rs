//! Residual blocks (`WanResidualBlock` upstream) and the block in the middle (`WanMidBlock`).

use burn::{
    module::Module,
    nn::conv::Conv2d,
    tensor::{Device, Tensor},
};
use t2v_kernels::{Activation, ChannelRmsNorm, add, conv1x1, conv2d};

use super::{
    attention::FrameAttention,
    history::{History, causal_conv},
};

/// Two causal convolutions, added to the input.
#[derive(Module, Debug)]
pub(super) struct ResidualBlock {
    norm1: ChannelRmsNorm,
    conv1: Conv2d,
    norm2: ChannelRmsNorm,
    conv2: Conv2d,
    conv_shortcut: Option<Conv2d>,
}

/// What a residual block remembers of a clip.
#[derive(Debug, Clone, Default)]
pub(super) struct ResidualState {
    histories: [History; 2],
}

impl ResidualBlock {
    pub(super) fn new(in_channels: usize, out_channels: usize, device: &Device) -> Self {
        Self {
            norm1: ChannelRmsNorm::new(in_channels, device),
            conv1: causal_conv(in_channels, out_channels, device),
            norm2: ChannelRmsNorm::new(out_channels, device),
            conv2: causal_conv(out_channels, out_channels, device),
            conv_shortcut: (in_channels != out_channels).then(|| conv1x1(in_channels, out_channels, device)),
        }
    }

    /// The next frame of a clip.
    ///
    /// # Shapes
    /// - x: `[1, in_channels, height, width]` -> `[1, out_channels, height, width]`
    pub(super) fn forward(&self, x: Tensor<4>, state: &mut ResidualState) -> Tensor<4> {
        let [first, second] = &mut state.histories;
        let hidden = self.norm1.forward(x.clone(), Some(Activation::Silu));
        let hidden = first.convolve(&self.conv1, hidden);
        let hidden = self.norm2.forward(hidden, Some(Activation::Silu));
        let hidden = second.convolve(&self.conv2, hidden);
        let x = match &self.conv_shortcut {
            Some(conv) => conv2d(conv, x),
            None => x,
        };
        add(hidden, x)
    }
}

/// Residual blocks one after the other.
#[derive(Debug, Clone)]
pub(super) struct ResidualStates(Vec<ResidualState>);

impl ResidualStates {
    /// Of so many blocks, before the first frame.
    pub(super) fn new(blocks: &[ResidualBlock]) -> Self {
        Self(vec![ResidualState::default(); blocks.len()])
    }

    /// The next frame through all of the blocks.
    pub(super) fn run(&mut self, blocks: &[ResidualBlock], x: Tensor<4>) -> Tensor<4> {
        let blocks = blocks.iter().zip(&mut self.0);
        blocks.fold(x, |x, (block, state)| block.forward(x, state))
    }
}

/// Two residual blocks with attention between them.
#[derive(Module, Debug)]
pub(super) struct MidBlock {
    resnets: Vec<ResidualBlock>,
    attentions: Vec<FrameAttention>,
}

/// What it remembers of a clip.
#[derive(Debug, Clone, Default)]
pub(super) struct MidState {
    resnets: [ResidualState; 2],
}

impl MidBlock {
    pub(super) fn new(channels: usize, device: &Device) -> Self {
        let block = || ResidualBlock::new(channels, channels, device);
        Self {
            resnets: vec![block(), block()],
            attentions: vec![FrameAttention::new(channels, device)],
        }
    }

    /// The next frame of a clip, `[1, channels, height, width]`, unchanged.
    pub(super) fn forward(&self, x: Tensor<4>, state: &mut MidState) -> Tensor<4> {
        let [first, second] = &mut state.resnets;
        let x = self.resnets[0].forward(x, first);
        let x = self.attentions[0].forward(x);
        self.resnets[1].forward(x, second)
    }
}
