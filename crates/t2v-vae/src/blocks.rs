//! The encoder and the decoder (`Encoder` and `Decoder` in `diffusers/models/autoencoders/vae.py`).

use burn::{
    module::Module,
    nn::{GroupNorm, GroupNormConfig, conv::Conv2d},
    tensor::{DType, Device, Tensor},
};
use t2v_kernels::{
    Activation, Downsample2d, ResnetBlock2d, ResnetBlock2dConfig, Upsample2d, conv2d, conv3x3, group_norm,
};

use crate::{AutoencoderKlConfig, attention::PixelAttention};

const EPS: f64 = 1e-6;

impl AutoencoderKlConfig {
    fn resnet(&self, in_channels: usize, out_channels: usize, device: &Device) -> ResnetBlock2d {
        ResnetBlock2dConfig {
            in_channels,
            out_channels,
            time_embed_dim: None,
            groups: self.norm_num_groups,
            eps: EPS,
            activation: self.act_fn,
            output_scale_factor: 1.0,
        }
        .init(device)
    }

    fn resnets(&self, [first, out]: [usize; 2], layers: usize, device: &Device) -> Vec<ResnetBlock2d> {
        (0..layers)
            .map(|i| self.resnet(if i == 0 { first } else { out }, out, device))
            .collect()
    }

    fn norm_out(&self, channels: usize, device: &Device) -> GroupNorm {
        GroupNormConfig::new(self.norm_num_groups, channels)
            .with_epsilon(EPS)
            .init(device)
    }
}

#[derive(Module, Debug)]
struct DownBlock {
    resnets: Vec<ResnetBlock2d>,
    downsamplers: Option<Vec<Downsample2d>>,
}

#[derive(Module, Debug)]
struct UpBlock {
    resnets: Vec<ResnetBlock2d>,
    upsamplers: Option<Vec<Upsample2d>>,
}

#[derive(Module, Debug)]
struct MidBlock {
    resnets: Vec<ResnetBlock2d>,
    attentions: Vec<PixelAttention>,
}

impl MidBlock {
    fn new(config: &AutoencoderKlConfig, channels: usize, device: &Device) -> Self {
        let attention = || PixelAttention::new(channels, config.norm_num_groups, EPS, device);
        Self {
            resnets: config.resnets([channels, channels], 2, device),
            attentions: config.mid_block_add_attention.then(attention).into_iter().collect(),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let mut x = self.resnets[0].forward(x, None);
        for attention in &self.attentions {
            x = attention.forward(x);
        }
        self.resnets[1].forward(x, None)
    }
}

fn run_resnets(resnets: &[ResnetBlock2d], x: Tensor<4>) -> Tensor<4> {
    resnets.iter().fold(x, |x, resnet| resnet.forward(x, None))
}

/// Frames to the mean and the log variance of their latents.
#[derive(Module, Debug)]
pub(crate) struct Encoder {
    conv_in: Conv2d,
    down_blocks: Vec<DownBlock>,
    mid_block: MidBlock,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
}

impl Encoder {
    pub(crate) fn new(config: &AutoencoderKlConfig, device: &Device) -> Self {
        let channels = &config.block_out_channels;
        let deepest = channels[channels.len() - 1];
        let block = |i: usize| DownBlock {
            resnets: config.resnets(
                [channels[i.saturating_sub(1)], channels[i]],
                config.layers_per_block,
                device,
            ),
            downsamplers: (i + 1 < channels.len()).then(|| vec![Downsample2d::new(channels[i], 0, device)]),
        };
        Self {
            conv_in: conv3x3(config.in_channels, channels[0], device),
            down_blocks: (0..channels.len()).map(block).collect(),
            mid_block: MidBlock::new(config, deepest, device),
            conv_norm_out: config.norm_out(deepest, device),
            conv_out: conv3x3(deepest, 2 * config.latent_channels, device),
        }
    }

    /// `[batch, 3, height, width]` -> `[batch, 2 * latent_channels, height / factor, width / factor]`.
    pub(crate) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let mut x = conv2d(&self.conv_in, x);
        for block in &self.down_blocks {
            x = run_resnets(&block.resnets, x);
            for downsampler in block.downsamplers.iter().flatten() {
                x = downsampler.forward(x);
            }
        }
        let x = self.mid_block.forward(x);
        conv2d(
            &self.conv_out,
            group_norm(&self.conv_norm_out, x, Some(Activation::Silu)),
        )
    }
}

/// Latents to frames.
#[derive(Module, Debug)]
pub(crate) struct Decoder {
    conv_in: Conv2d,
    mid_block: MidBlock,
    up_blocks: Vec<UpBlock>,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
}

impl Decoder {
    pub(crate) fn new(config: &AutoencoderKlConfig, device: &Device) -> Self {
        let mut channels = config.block_out_channels.clone();
        channels.reverse();
        let last = channels.len() - 1;
        let block = |i: usize| UpBlock {
            resnets: config.resnets(
                [channels[i.saturating_sub(1)], channels[i]],
                config.layers_per_block + 1,
                device,
            ),
            upsamplers: (i < last).then(|| vec![Upsample2d::new(channels[i], device)]),
        };
        Self {
            conv_in: conv3x3(config.latent_channels, channels[0], device),
            mid_block: MidBlock::new(config, channels[0], device),
            up_blocks: (0..=last).map(block).collect(),
            conv_norm_out: config.norm_out(channels[last], device),
            conv_out: conv3x3(channels[last], config.out_channels, device),
        }
    }

    pub(crate) fn dtype(&self) -> DType {
        let bias = self.conv_in.bias.as_ref();
        bias.map_or(self.conv_in.weight.dtype(), |bias| bias.dtype())
    }

    /// `[batch, latent_channels, height, width]` -> `[batch, 3, height * factor, width * factor]`.
    pub(crate) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let mut x = self.mid_block.forward(conv2d(&self.conv_in, x));
        for block in &self.up_blocks {
            x = run_resnets(&block.resnets, x);
            for upsampler in block.upsamplers.iter().flatten() {
                x = upsampler.forward(x, None);
            }
        }
        conv2d(
            &self.conv_out,
            group_norm(&self.conv_norm_out, x, Some(Activation::Silu)),
        )
    }
}
