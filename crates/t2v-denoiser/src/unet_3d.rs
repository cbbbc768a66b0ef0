//! `UNet3DConditionModel` (`diffusers/models/unets/unet_3d_condition.py`).

use burn::{
    module::Module,
    nn::{GroupNorm, GroupNormConfig, conv::Conv2d},
    tensor::{Device, Tensor},
};
use t2v_kernels::{Activation, MultiHead, Products, conv2d, conv3x3, group_norm, merge_frames, split_frames};
use t2v_weights::{Component, KeyMap, Network};

use crate::{
    BlockConfig, Conditioning, Denoiser, DenoiserError, DownBlockType, ResnetsConfig, Shortcuts, TimestepEmbedding,
    TransformerTemporal, UNet3dConfig, UNetBlock, UpBlockType, keys, sinusoidal_embedding, unet_blocks::Condition,
    unet_body::UNetBody,
};

/// Heads of the transformer before the first block, whatever the configuration says.
const TRANSFORMER_IN_HEADS: usize = 8;

/// The denoiser of ModelScope's text-to-video models.
#[derive(Module, Debug)]
pub struct UNet3d {
    conv_in: Conv2d,
    time_embedding: TimestepEmbedding,
    transformer_in: TransformerTemporal,
    down_blocks: Vec<UNetBlock>,
    mid_block: UNetBlock,
    up_blocks: Vec<UNetBlock>,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
    #[module(skip)]
    config: UNet3dConfig,
}

impl Network for UNet3d {
    type Config = UNet3dConfig;
    type Error = DenoiserError;

    fn read_config(component: &Component) -> Result<UNet3dConfig, DenoiserError> {
        UNet3dConfig::from_component(component)
    }

    fn init(config: UNet3dConfig, device: &Device) -> Result<Self, DenoiserError> {
        config.check()?;
        let channels = &config.block_out_channels;
        let block = BlockConfig {
            resnets: ResnetsConfig {
                time_embed_dim: config.time_embed_dim(),
                eps: config.norm_eps,
                activation: config.act_fn,
                groups: config.norm_num_groups,
            },
            cross_attention_dim: config.cross_attention_dim,
            head_dim: config.attention_head_dim,
        };
        let split_in = MultiHead {
            heads: TRANSFORMER_IN_HEADS,
            head_dim: config.attention_head_dim,
        };
        let deepest = channels[channels.len() - 1];
        Ok(Self {
            conv_in: conv3x3(config.in_channels, channels[0], device),
            time_embedding: TimestepEmbedding::new(
                channels[0],
                config.time_embed_dim(),
                config.time_cond_proj_dim,
                config.act_fn,
                device,
            ),
            transformer_in: TransformerTemporal::new(channels[0], split_in, config.norm_num_groups, device),
            down_blocks: down_blocks(&config, &block, device),
            mid_block: UNetBlock::mid(&block, deepest, config.mid_block_scale_factor, device),
            up_blocks: up_blocks(&config, &block, device),
            conv_norm_out: GroupNormConfig::new(config.norm_num_groups, channels[0])
                .with_epsilon(config.norm_eps)
                .init(device),
            conv_out: conv3x3(channels[0], config.out_channels, device),
            config,
        })
    }

    fn key_map() -> KeyMap {
        keys::unet()
    }
}

impl UNet3d {
    /// The configuration the network was built from.
    #[must_use]
    pub fn config(&self) -> &UNet3dConfig {
        &self.config
    }

    fn condition(&self, timestep: f64, text: Tensor<3>, frames: usize, products: Products) -> Condition {
        let embedding = sinusoidal_embedding(timestep, self.config.block_out_channels[0], &text.device());
        let time = self.time_embedding.forward(embedding.cast(text.dtype()));
        Condition {
            time: time.repeat_dim(0, text.dims()[0] * frames),
            text,
            frames,
            windows: None,
            products,
        }
    }
}

fn down_blocks(config: &UNet3dConfig, block: &BlockConfig, device: &Device) -> Vec<UNetBlock> {
    let channels = &config.block_out_channels;
    let layers = config.layers_per_block;
    (0..channels.len())
        .map(|i| {
            let io = [channels[i.saturating_sub(1)], channels[i]];
            let transformers = config.down_block_types[i] == DownBlockType::CrossAttention;
            let padding = (i + 1 < channels.len()).then_some(config.downsample_padding);
            UNetBlock::down(block, io, layers, transformers, padding, device)
        })
        .collect()
}

fn up_blocks(config: &UNet3dConfig, block: &BlockConfig, device: &Device) -> Vec<UNetBlock> {
    let mut channels = config.block_out_channels.clone();
    channels.reverse();
    let last = channels.len() - 1;
    let layers = config.layers_per_block + 1;
    (0..=last)
        .map(|i| {
            let io = [channels[(i + 1).min(last)], channels[i.saturating_sub(1)], channels[i]];
            let transformers = config.up_block_types[i] == UpBlockType::CrossAttention;
            UNetBlock::up(block, io, layers, transformers, i < last, device)
        })
        .collect()
}

impl Denoiser for UNet3d {
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
        let condition = self.condition(timestep, conditioning.text.clone(), frames, shortcuts.products);
        let x = conv2d(&self.conv_in, merge_frames(latents));
        let x = self.transformer_in.forward(x, frames, Products::Exact);
        let body = UNetBody {
            down: &self.down_blocks,
            mid: Some(&self.mid_block),
            up: &self.up_blocks,
        };
        let x = body.forward(x, &condition, shortcuts.deep);
        let x = conv2d(
            &self.conv_out,
            group_norm(&self.conv_norm_out, x, Some(Activation::Silu)),
        );
        split_frames(x, frames)
    }
}
