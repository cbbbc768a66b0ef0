//! Frames to latents (`WanEncoder3d` and `WanResidualDownBlock` upstream).

use burn::{
    module::Module,
    nn::conv::Conv2d,
    tensor::{Device, Tensor},
};
use t2v_kernels::{Activation, ChannelRmsNorm, add};

use super::{
    attention::FrameAttention,
    config::AutoencoderKlWanConfig,
    history::{History, causal_conv},
    resample::{Downsample, DownsampleState},
    residual::{MidBlock, MidState, ResidualBlock, ResidualState, ResidualStates},
    shortcut::{MeanDown, MeanState},
};

/// A level with a way around it.
#[derive(Module, Debug)]
pub(super) struct DownBlock {
    resnets: Vec<ResidualBlock>,
    downsampler: Option<Downsample>,
    #[module(skip)]
    shortcut: MeanDown,
}

/// An entry of `down_blocks`: of Wan 2.1 they are layers, of Wan 2.2 levels.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant, reason = "there are a few of them in all")]
enum DownLayer {
    Residual(ResidualBlock),
    Attention(FrameAttention),
    Downsample(Downsample),
    Block(DownBlock),
}

/// What an entry remembers of a clip.
#[derive(Debug, Clone)]
enum DownState {
    Residual(ResidualState),
    Attention,
    Downsample(DownsampleState),
    Block(ResidualStates, DownsampleState, MeanState),
}

impl DownBlock {
    fn new(config: &AutoencoderKlWanConfig, level: usize, [from, to]: [usize; 2], device: &Device) -> Self {
        let halving = config.halving(level);
        let resnet = |index| ResidualBlock::new(if index == 0 { from } else { to }, to, device);
        Self {
            resnets: (0..config.num_res_blocks).map(resnet).collect(),
            downsampler: halving.map(|halving| Downsample::new(to, halving, device)),
            shortcut: MeanDown::new(to, halving),
        }
    }
}

impl DownLayer {
    /// The layers of a level without a way around it.
    fn of_level(config: &AutoencoderKlWanConfig, level: usize, [from, to]: [usize; 2], device: &Device) -> Vec<Self> {
        let scale = 0.5f64.powi(level as i32);
        let mut layers = Vec::new();
        for index in 0..config.num_res_blocks {
            let from = if index == 0 { from } else { to };
            layers.push(Self::Residual(ResidualBlock::new(from, to, device)));
            if config.attn_scales.contains(&scale) {
                layers.push(Self::Attention(FrameAttention::new(to, device)));
            }
        }
        let halving = config.halving(level);
        layers.extend(halving.map(|halving| Self::Downsample(Downsample::new(to, halving, device))));
        layers
    }

    fn state(&self) -> DownState {
        match self {
            Self::Residual(_) => DownState::Residual(ResidualState::default()),
            Self::Attention(_) => DownState::Attention,
            Self::Downsample(_) => DownState::Downsample(DownsampleState::default()),
            Self::Block(block) => DownState::Block(
                ResidualStates::new(&block.resnets),
                DownsampleState::default(),
                MeanState::default(),
            ),
        }
    }

    /// The next frame of a clip, if it comes out.
    fn forward(&self, x: Tensor<4>, state: &mut DownState) -> Option<Tensor<4>> {
        match (self, state) {
            (Self::Residual(block), DownState::Residual(state)) => Some(block.forward(x, state)),
            (Self::Attention(attention), _) => Some(attention.forward(x)),
            (Self::Downsample(layer), DownState::Downsample(state)) => layer.forward(x, state),
            (Self::Block(block), DownState::Block(resnets, downsampler, shortcut)) => {
                let around = block.shortcut.forward(x.clone(), shortcut);
                let x = resnets.run(&block.resnets, x);
                let x = match &block.downsampler {
                    Some(layer) => layer.forward(x, downsampler),
                    None => Some(x),
                };
                Some(add(x?, around?))
            }
            _ => unreachable!("a layer's state is made by the layer"),
        }
    }
}

/// Frames to the mean and the log variance of their latents.
#[derive(Module, Debug)]
pub(super) struct Encoder {
    conv_in: Conv2d,
    down_blocks: Vec<DownLayer>,
    mid_block: MidBlock,
    norm_out: ChannelRmsNorm,
    conv_out: Conv2d,
}

/// What the encoder remembers of a clip.
#[derive(Debug, Clone)]
pub(super) struct EncoderState {
    conv_in: History,
    down_blocks: Vec<DownState>,
    mid_block: MidState,
    conv_out: History,
}

impl Encoder {
    pub(super) fn new(config: &AutoencoderKlWanConfig, device: &Device) -> Self {
        let dims = config.encoder_dims();
        let (first, last) = (dims[0], dims[dims.len() - 1]);
        let levels = dims.windows(2).enumerate();
        let layers = levels.flat_map(|(level, dims)| {
            let dims = [dims[0], dims[1]];
            match config.is_residual {
                true => vec![DownLayer::Block(DownBlock::new(config, level, dims, device))],
                false => DownLayer::of_level(config, level, dims, device),
            }
        });
        Self {
            conv_in: causal_conv(config.in_channels, first, device),
            down_blocks: layers.collect(),
            mid_block: MidBlock::new(last, device),
            norm_out: ChannelRmsNorm::new(last, device),
            conv_out: causal_conv(last, 2 * config.z_dim, device),
        }
    }

    /// Before the first frame of a clip.
    pub(super) fn start(&self) -> EncoderState {
        EncoderState {
            conv_in: History::default(),
            down_blocks: self.down_blocks.iter().map(DownLayer::state).collect(),
            mid_block: MidState::default(),
            conv_out: History::default(),
        }
    }

    /// The next frame of a clip. A latent frame comes out for the first, then for the last of so many as it stands for.
    ///
    /// # Shapes
    /// - x: `[1, in_channels, height, width]`
    /// - output: `[1, 2 * z_dim, height / factor, width / factor]`, the factor that of the levels
    pub(super) fn forward(&self, x: Tensor<4>, state: &mut EncoderState) -> Option<Tensor<4>> {
        let mut x = state.conv_in.convolve(&self.conv_in, x);
        for (layer, state) in self.down_blocks.iter().zip(&mut state.down_blocks) {
            x = layer.forward(x, state)?;
        }
        let x = self.mid_block.forward(x, &mut state.mid_block);
        let x = self.norm_out.forward(x, Some(Activation::Silu));
        Some(state.conv_out.convolve(&self.conv_out, x))
    }
}
