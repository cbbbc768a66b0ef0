//! A small decoder of Wan's latents, for looks at a clip (TAEHV, [madebyollin/taehv](https://github.com/madebyollin/taehv)).
//!
//! It was trained to give about what the autoencoder gives, and takes a small part of the time. Each of its blocks sees a
//! frame and the one before it.

use burn::{
    module::Module,
    nn::conv::{Conv2d, Conv2dConfig},
    tensor::{DType, Device, Tensor},
};
use t2v_kernels::{Activation, add, cat_channels, conv2d, conv3x3, upsample_nearest};
use t2v_weights::{KeyMap, LoadOptions, Weights, WeightsError, size_fault};

use crate::{VaeError, codec::image, error::fault};

const RELU: Activation = Activation::Relu;
/// Blocks of a stage.
const BLOCKS: usize = 3;
/// Frames that one becomes in each stage.
const GROWTH: [usize; 3] = [1, 2, 2];
/// Layers of a stage in the files, which number them: its blocks, an enlargement, the growth and a convolution.
const LAYERS: usize = BLOCKS + 3;
const MAX_CHANNELS: usize = 1 << 12;

/// The sizes of a [`TinyWanDecoder`]. Its files have no configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TinyWanConfig {
    /// Channels of the latents.
    pub latent_channels: usize,
    /// Channels of each stage, and those of the frames before the last convolution.
    pub channels: [usize; 4],
    /// Side of the squares of pixels that the last convolution gives as channels.
    pub patch_size: usize,
}

impl TinyWanConfig {
    /// `taew2_1`, for the latents of Wan 2.1.
    pub const WAN_2_1: Self = Self {
        latent_channels: 16,
        channels: [256, 128, 64, 64],
        patch_size: 1,
    };
    /// `taew2_2`, for those of Wan 2.2's autoencoder.
    pub const WAN_2_2: Self = Self {
        latent_channels: 48,
        patch_size: 2,
        ..Self::WAN_2_1
    };

    /// Of the decoder in a file of TAEHV's, by the shapes of its tensors.
    ///
    /// # Errors
    /// The file can't be read, or holds no such decoder.
    pub fn from_weights(weights: &Weights) -> Result<Self, VaeError> {
        let shapes = weights.shapes()?;
        let shape = |layer: usize| {
            let key = format!("decoder.{layer}.weight");
            match shapes.iter().find(|(name, _)| *name == key) {
                Some((_, shape)) if shape.len() == 4 => Ok([shape[0], shape[1]]),
                _ => Err(WeightsError::SingleFile {
                    file: weights.origin().into(),
                    reason: format!("it is no small decoder of Wan's latents (TAEHV): `{key}` is no convolution in it"),
                }),
            }
        };
        let [first, latent_channels] = shape(1)?;
        let mut channels = [first; 4];
        for stage in 0..GROWTH.len() {
            [channels[stage + 1], _] = shape(3 + stage * LAYERS + BLOCKS + 2)?;
        }
        let [output, _] = shape(4 + GROWTH.len() * LAYERS)?;
        Ok(Self {
            latent_channels,
            channels,
            patch_size: (output / 3).isqrt(),
        })
    }

    fn check(&self) -> Result<(), VaeError> {
        let [a, b, c, d] = self.channels;
        for (key, sizes) in [
            ("latent_channels", vec![self.latent_channels]),
            ("channels", vec![a, b, c, d]),
            ("patch_size", vec![self.patch_size]),
        ] {
            if let Some(reason) = sizes.into_iter().find_map(|size| size_fault(size, 1..=MAX_CHANNELS)) {
                return fault(key, reason);
            }
        }
        Ok(())
    }
}

/// A residual block that sees a frame and the one before it.
#[derive(Module, Debug)]
struct MemoryBlock {
    conv: Vec<Conv2d>,
}

impl MemoryBlock {
    fn new(channels: usize, device: &Device) -> Self {
        let inputs = [2 * channels, channels, channels];
        Self {
            conv: inputs.map(|input| conv3x3(input, channels, device)).into(),
        }
    }

    /// The next frame of a clip, `[1, channels, height, width]`, unchanged. It is remembered; before the first are zeros.
    fn forward(&self, x: Tensor<4>, before: &mut Option<Tensor<4>>) -> Tensor<4> {
        let past = before.replace(x.clone()).unwrap_or_else(|| x.zeros_like());
        let hidden = RELU.forward(conv2d(&self.conv[0], cat_channels(x.clone(), past)));
        let hidden = RELU.forward(conv2d(&self.conv[1], hidden));
        RELU.forward(add(conv2d(&self.conv[2], hidden), x))
    }
}

/// Twice the height and width, and perhaps two frames for each.
#[derive(Module, Debug)]
struct Stage {
    blocks: Vec<MemoryBlock>,
    grow: Conv2d,
    conv: Conv2d,
    frames: usize,
}

impl Stage {
    fn new([from, to]: [usize; 2], frames: usize, device: &Device) -> Self {
        let blocks = (0..BLOCKS).map(|_| MemoryBlock::new(from, device));
        let grow = Conv2dConfig::new([from, frames * from], [1, 1]).with_bias(false);
        let mut conv = conv3x3(from, to, device);
        conv.bias = None;
        Self {
            blocks: blocks.collect(),
            grow: grow.init(device),
            conv,
            frames,
        }
    }

    /// The frames that the next one of a clip becomes. Pixels are enlarged after the growth, which changes each by itself.
    fn forward(&self, mut x: Tensor<4>, state: &mut StageState) -> Vec<Tensor<4>> {
        for (block, before) in self.blocks.iter().zip(state) {
            x = block.forward(x, before);
        }
        let [_, _, height, width] = x.dims();
        let frames = conv2d(&self.grow, x).chunk(self.frames, 1).into_iter();
        frames
            .map(|frame| conv2d(&self.conv, upsample_nearest(frame, [2 * height, 2 * width])))
            .collect()
    }
}

/// The last frame that each block of a stage saw.
type StageState = [Option<Tensor<4>>; BLOCKS];

/// A small decoder of the latents that the denoiser gives.
#[derive(Module, Debug)]
pub struct TinyWanDecoder {
    conv_in: Conv2d,
    stages: Vec<Stage>,
    conv_out: Conv2d,
    #[module(skip)]
    config: TinyWanConfig,
}

impl TinyWanDecoder {
    /// The decoder in a file of TAEHV's, whose encoder is left out.
    ///
    /// # Errors
    /// A size of 0 or far above any model's; a file that can't be read, or doesn't fit.
    pub fn load(config: TinyWanConfig, weights: &Weights, options: &LoadOptions) -> Result<Self, VaeError> {
        config.check()?;
        let (device, channels) = (options.device(), config.channels);
        let stages = channels.windows(2).zip(GROWTH);
        let mut decoder = Self {
            conv_in: conv3x3(config.latent_channels, channels[0], device),
            stages: stages
                .map(|(pair, frames)| Stage::new([pair[0], pair[1]], frames, device))
                .collect(),
            conv_out: conv3x3(channels[3], 3 * config.patch_size * config.patch_size, device),
            config,
        };
        weights.load(&mut decoder, &key_map(), options.floats())?;
        Ok(decoder)
    }

    /// The type that it computes in.
    #[must_use]
    pub fn dtype(&self) -> DType {
        let bias = self.conv_in.bias.as_ref();
        bias.map_or(self.conv_in.weight.dtype(), |bias| bias.dtype())
    }

    /// The sizes that it was built by.
    #[must_use]
    pub fn config(&self) -> TinyWanConfig {
        self.config
    }

    /// A clip from the denoiser's latents, which stay normalised: a frame for the first of them, four for each after it.
    ///
    /// # Shapes
    /// - latents: `[1, latent_channels, latent frames, latent height, latent width]`
    /// - items: `[1, 3, frames, height, width]` in -1..1
    pub fn decode(&self, latents: Tensor<5>) -> impl Iterator<Item = Tensor<5>> + use<'_> {
        let mut states = vec![StageState::default(); self.stages.len()];
        let given = latents.dtype();
        (0..latents.dims()[2]).map(move |index| {
            let latents = image(&latents, index).cast(self.dtype());
            let mut frames = Vec::new();
            let x = (latents / 3.0).tanh() * 3.0;
            let x = RELU.forward(conv2d(&self.conv_in, x));
            grow(&self.stages, &mut states, x, &mut |x| frames.push(self.finish(x)));
            // Of those of the first latent frame only the last is one of the clip.
            let from = if index == 0 { frames.len() - 1 } else { 0 };
            Tensor::stack(frames.split_off(from), 2).cast(given)
        })
    }

    /// `[1, 3, height, width]` in -1..1.
    fn finish(&self, x: Tensor<4>) -> Tensor<4> {
        let x = conv2d(&self.conv_out, RELU.forward(x));
        let ([_, _, height, width], side) = (x.dims(), self.config.patch_size);
        let squares: Tensor<5> = x.reshape([3, side, side, height, width]);
        let pixels = squares.permute([0, 3, 1, 4, 2]);
        pixels.reshape([1, 3, height * side, width * side]).clamp(0.0, 1.0) * 2.0 - 1.0
    }
}

/// A frame goes through all stages before the next one does.
fn grow(stages: &[Stage], states: &mut [StageState], x: Tensor<4>, out: &mut dyn FnMut(Tensor<4>)) {
    match (stages.split_first(), states.split_first_mut()) {
        (Some((stage, stages)), Some((state, states))) => {
            for x in stage.forward(x, state) {
                grow(stages, states, x, out);
            }
        }
        _ => out(x),
    }
}

/// The files number layers, also those without parameters.
fn key_map() -> KeyMap {
    let mut keys = KeyMap::new()
        .ignore(r"^encoder\.")
        .rename(r"^decoder\.1\.", "conv_in.")
        .rename(&format!(r"^decoder\.{}\.", 4 + GROWTH.len() * LAYERS), "conv_out.");
    for stage in 0..GROWTH.len() {
        let first = 3 + stage * LAYERS;
        for block in 0..BLOCKS {
            for conv in 0..3 {
                let from = format!(r"^decoder\.{}\.conv\.{}\.", first + block, 2 * conv);
                keys = keys.rename(&from, &format!("stages.{stage}.blocks.{block}.conv.{conv}."));
            }
        }
        let growth = format!(r"^decoder\.{}\.conv\.", first + BLOCKS + 1);
        let conv = format!(r"^decoder\.{}\.", first + BLOCKS + 2);
        keys = keys
            .rename(&growth, &format!("stages.{stage}.grow."))
            .rename(&conv, &format!("stages.{stage}.conv."));
    }
    keys
}
