//! `UNet2DConditionModel` and `UNetMotionModel` (`diffusers/models/unets/unet_2d_condition.py`, `unet_motion_model.py`).

mod config;
mod motion;
mod raw;

use burn::{
    module::Module,
    nn::{GroupNorm, GroupNormConfig, conv::Conv2d},
    tensor::{Device, Tensor},
};
pub use config::UNet2dConfig;
use config::{Level, Temporal};
pub use motion::MotionAdapterConfig;
use t2v_kernels::{
    Downsample2d, MultiHead, Products, Upsample2d, conv_same, conv2d, group_norm, merge_frames, split_frames,
};
use t2v_weights::{Component, KeyMap, Network};

use crate::{
    Conditioning, Denoiser, DenoiserError, ResnetsConfig, Shortcuts, TimestepEmbedding, Transformer2d,
    TransformerTemporal, UNetBlock, keys, prompts::for_all_prompts, unet_blocks::Condition, unet_body::UNetBody,
};

/// Stable Diffusion's denoiser: of pictures, or with motion modules of clips.
///
/// Without motion modules each frame of a clip is a picture by itself.
#[derive(Module, Debug)]
pub struct UNet2d {
    conv_in: Conv2d,
    time_embedding: TimestepEmbedding,
    down_blocks: Vec<UNetBlock>,
    mid_block: Option<UNetBlock>,
    up_blocks: Vec<UNetBlock>,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
    #[module(skip)]
    config: UNet2dConfig,
}

impl Network for UNet2d {
    type Config = UNet2dConfig;
    type Error = DenoiserError;

    fn read_config(component: &Component) -> Result<UNet2dConfig, DenoiserError> {
        UNet2dConfig::from_component(component)
    }

    fn init(config: UNet2dConfig, device: &Device) -> Result<Self, DenoiserError> {
        let channels = config.down[0].channels;
        let resnets = ResnetsConfig {
            time_embed_dim: config.time_embed_dim,
            eps: config.norm_eps,
            activation: config.act_fn,
            groups: config.norm_num_groups,
        };
        Ok(Self {
            conv_in: conv_same(config.in_channels, channels, config.conv_kernels[0], device),
            time_embedding: TimestepEmbedding::new(
                channels,
                config.time_embed_dim,
                config.time_cond_proj_dim,
                config.act_fn,
                device,
            ),
            down_blocks: down_blocks(&config, &resnets, device),
            mid_block: mid_block(&config, &resnets, device),
            up_blocks: up_blocks(&config, &resnets, device),
            conv_norm_out: GroupNormConfig::new(config.norm_num_groups, channels)
                .with_epsilon(config.norm_eps)
                .init(device),
            conv_out: conv_same(channels, config.out_channels, config.conv_kernels[1], device),
            config,
        })
    }

    fn key_map() -> KeyMap {
        keys::unet()
    }
}

impl UNet2d {
    /// The configuration the network was built from.
    #[must_use]
    pub fn config(&self) -> &UNet2dConfig {
        &self.config
    }

    fn condition(&self, timestep: f64, conditioning: &Conditioning, frames: usize, products: Products) -> Condition {
        let (text, batch) = (conditioning.text.clone(), conditioning.batch());
        let channels = self.config.down[0].channels;
        let embedding = self.config.timesteps.embed(timestep, channels, &text.device());
        let embedding = embedding.cast(text.dtype()).repeat_dim(0, batch);
        let time = self
            .time_embedding
            .forward_with(embedding, conditioning.guidance.clone());
        let [_, width] = time.dims();
        let by_frame = time.unsqueeze_dim::<3>(1).repeat_dim(1, frames);
        Condition {
            time: by_frame.reshape([batch * frames, width]),
            text,
            frames,
            windows: conditioning.windows,
            products,
        }
    }
}

impl Denoiser for UNet2d {
    fn reuses_features(&self) -> bool {
        true
    }

    fn call(
        &self,
        latents: Tensor<5>,
        timestep: f64,
        conditioning: &Conditioning,
        shortcuts: Shortcuts<'_>,
    ) -> Tensor<5> {
        let [_, _, frames, ..] = latents.dims();
        let condition = self.condition(timestep, conditioning, frames, shortcuts.products);
        // What is told of guidance may differ from prompt to prompt.
        let latents = match conditioning.guidance {
            Some(_) => for_all_prompts(latents, conditioning.batch()),
            None => latents,
        };
        let latents = conditioning.join_channels(latents);
        let latents = match self.config.center_input_sample {
            true => latents * 2.0 - 1.0,
            false => latents,
        };
        let x = conv2d(&self.conv_in, merge_frames(latents));
        let body = UNetBody {
            down: &self.down_blocks,
            mid: self.mid_block.as_ref(),
            up: &self.up_blocks,
        };
        let x = body.forward(x, &condition, shortcuts.deep);
        let x = group_norm(&self.conv_norm_out, x, Some(self.config.conv_act));
        split_frames(conv2d(&self.conv_out, x), frames)
    }
}

/// A block's transformers, spatial and temporal.
fn with_transformers(mut block: UNetBlock, level: &Level, groups: usize, device: &Device) -> UNetBlock {
    let split = |heads: usize| MultiHead {
        heads,
        head_dim: level.channels / heads,
    };
    let attention = |blocks| Transformer2d::with_blocks(level.channels, split(level.heads), groups, blocks, device);
    block.attentions = level.attentions.iter().map(attention).collect();
    if let Some(Temporal {
        heads,
        blocks,
        positions,
    }) = &level.temporal
    {
        let module = |blocks: &usize| {
            TransformerTemporal::motion_module(level.channels, split(*heads), groups, *blocks, *positions, device)
        };
        block.motion_modules = blocks.iter().map(module).collect();
    }
    block
}

fn down_blocks(config: &UNet2dConfig, resnets: &ResnetsConfig, device: &Device) -> Vec<UNetBlock> {
    let last = config.down.len() - 1;
    let block = |(i, level): (usize, &Level)| {
        let before = config.down[i.saturating_sub(1)].channels;
        let block = UNetBlock::of(resnets.down([before, level.channels], level.layers, device));
        let mut block = with_transformers(block, level, resnets.groups, device);
        let halves = || vec![Downsample2d::new(level.channels, config.downsample_padding, device)];
        block.downsamplers = (i < last).then(halves);
        block
    };
    config.down.iter().enumerate().map(block).collect()
}

fn mid_block(config: &UNet2dConfig, resnets: &ResnetsConfig, device: &Device) -> Option<UNetBlock> {
    let level = config.mid.as_ref()?;
    let block = UNetBlock::of(resnets.mid(level.channels, level.layers, config.mid_block_scale_factor, device));
    Some(with_transformers(block, level, resnets.groups, device))
}

fn up_blocks(config: &UNet2dConfig, resnets: &ResnetsConfig, device: &Device) -> Vec<UNetBlock> {
    let last = config.up.len() - 1;
    let block = |(i, level): (usize, &Level)| {
        let [skip, previous] = [(i + 1).min(last), i.saturating_sub(1)].map(|i| config.up[i].channels);
        let block = UNetBlock::of(resnets.up([skip, previous, level.channels], level.layers, device));
        let mut block = with_transformers(block, level, resnets.groups, device);
        block.upsamplers = (i < last).then(|| vec![Upsample2d::new(level.channels, device)]);
        block
    };
    config.up.iter().enumerate().map(block).collect()
}
