//! Latents to frames (`WanDecoder3d`, `WanUpBlock` and `WanResidualUpBlock` upstream).

use burn::{
    module::Module,
    nn::conv::Conv2d,
    tensor::{DType, Device, Tensor},
};
use t2v_kernels::{Activation, ChannelRmsNorm, add};

use super::{
    config::AutoencoderKlWanConfig,
    history::{History, causal_conv},
    resample::{Upsample, UpsampleState},
    residual::{MidBlock, MidState, ResidualBlock, ResidualStates},
    shortcut::RepeatUp,
};

/// A level, perhaps with a way around it.
#[derive(Module, Debug)]
struct UpBlock {
    resnets: Vec<ResidualBlock>,
    upsampler: Option<Upsample>,
    #[module(skip)]
    shortcut: Option<RepeatUp>,
}

/// What a level remembers of a clip.
#[derive(Debug, Clone)]
struct UpState {
    begun: bool,
    resnets: ResidualStates,
    upsampler: UpsampleState,
}

impl UpBlock {
    fn new(config: &AutoencoderKlWanConfig, level: usize, [from, to]: [usize; 2], device: &Device) -> Self {
        let last = config.dim_mult.len() - 1;
        // Between two levels of the encoder, counted from its end.
        let halving = (level < last).then(|| config.halving(last - 1 - level)).flatten();
        let (from, enlarged) = match config.is_residual {
            true => (from, to),
            // The enlargement before it has halved the channels.
            false if level > 0 => (from / 2, to / 2),
            false => (from, to / 2),
        };
        let resnet = |index| ResidualBlock::new(if index == 0 { from } else { to }, to, device);
        Self {
            resnets: (0..=config.num_res_blocks).map(resnet).collect(),
            upsampler: halving.map(|halving| Upsample::new([to, enlarged], halving, device)),
            shortcut: halving
                .filter(|_| config.is_residual)
                .map(|halving| RepeatUp::new(to, halving)),
        }
    }

    fn state(&self) -> UpState {
        UpState {
            begun: false,
            resnets: ResidualStates::new(&self.resnets),
            upsampler: UpsampleState::default(),
        }
    }

    /// The frames that the next one of a clip becomes.
    fn forward(&self, x: Tensor<4>, state: &mut UpState) -> Vec<Tensor<4>> {
        let is_first = !state.begun;
        state.begun = true;
        let around = self.shortcut.map(|shortcut| shortcut.forward(x.clone(), is_first));
        let x = state.resnets.run(&self.resnets, x);
        let frames = match &self.upsampler {
            Some(upsampler) => upsampler.forward(x, &mut state.upsampler),
            None => vec![x],
        };
        match around {
            Some(around) => frames
                .into_iter()
                .zip(around)
                .map(|(x, around)| add(x, around))
                .collect(),
            None => frames,
        }
    }
}

/// Latents to frames.
#[derive(Module, Debug)]
pub(super) struct Decoder {
    conv_in: Conv2d,
    mid_block: MidBlock,
    up_blocks: Vec<UpBlock>,
    norm_out: ChannelRmsNorm,
    conv_out: Conv2d,
}

/// What the decoder remembers of a clip.
#[derive(Debug, Clone)]
pub(super) struct DecoderState {
    conv_in: History,
    mid_block: MidState,
    up_blocks: Vec<UpState>,
    conv_out: History,
}

impl Decoder {
    pub(super) fn new(config: &AutoencoderKlWanConfig, device: &Device) -> Self {
        let dims = config.decoder_dims();
        let (first, last) = (dims[0], dims[dims.len() - 1]);
        let levels = dims.windows(2).enumerate();
        let blocks = levels.map(|(level, dims)| UpBlock::new(config, level, [dims[0], dims[1]], device));
        Self {
            conv_in: causal_conv(config.z_dim, first, device),
            mid_block: MidBlock::new(first, device),
            up_blocks: blocks.collect(),
            norm_out: ChannelRmsNorm::new(last, device),
            conv_out: causal_conv(last, config.out_channels, device),
        }
    }

    pub(super) fn dtype(&self) -> DType {
        let bias = self.conv_in.bias.as_ref();
        bias.map_or(self.conv_in.weight.dtype(), |bias| bias.dtype())
    }

    /// Before the first latent frame of a clip.
    pub(super) fn start(&self) -> DecoderState {
        DecoderState {
            conv_in: History::default(),
            mid_block: MidState::default(),
            up_blocks: self.up_blocks.iter().map(UpBlock::state).collect(),
            conv_out: History::default(),
        }
    }

    /// The frames of the next latent frame of a clip: one for the first, then as many as it stands for.
    ///
    /// A frame goes through all levels before the next one does, so that a level holds one frame besides what it remembers.
    ///
    /// # Shapes
    /// - x: `[1, z_dim, height, width]`
    /// - output: each `[1, out_channels, height * factor, width * factor]`, the factor that of the levels
    pub(super) fn forward(&self, x: Tensor<4>, state: &mut DecoderState) -> Vec<Tensor<4>> {
        let x = state.conv_in.convolve(&self.conv_in, x);
        let x = self.mid_block.forward(x, &mut state.mid_block);
        let mut frames = Vec::new();
        Self::up(&self.up_blocks, &mut state.up_blocks, x, &mut |x| {
            let x = self.norm_out.forward(x, Some(Activation::Silu));
            frames.push(state.conv_out.convolve(&self.conv_out, x));
        });
        frames
    }

    fn up(blocks: &[UpBlock], states: &mut [UpState], x: Tensor<4>, out: &mut dyn FnMut(Tensor<4>)) {
        match (blocks.split_first(), states.split_first_mut()) {
            (Some((block, blocks)), Some((state, states))) => {
                for x in block.forward(x, state) {
                    Self::up(blocks, states, x, out);
                }
            }
            _ => out(x),
        }
    }
}
