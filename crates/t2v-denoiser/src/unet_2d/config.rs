//! What a network of either class is built from: its resolutions, each with what it has.

use t2v_kernels::Activation;
use t2v_weights::{Component, SampleSize};

use super::raw::{Layers, OneOrEach, RawConfig};
use crate::{
    DenoiserError, TimestepFrequencies,
    checks::{
        MAX_CHANNELS, MAX_LAYERS, check_channels, check_levels, check_numbers, check_sample_size, check_size, fault,
    },
    transformer_2d::TextBlocks,
};

const MAX_KERNEL: usize = 31;
const MAX_POSITIONS: usize = 1 << 12;

/// The class without motion modules, and the one with them.
const IMAGE: &str = "UNet2DConditionModel";
const MOTION: &str = "UNetMotionModel";

/// A resolution on the way down or up, or the lowest one between them.
#[derive(Debug, Clone)]
pub(super) struct Level {
    pub(super) channels: usize,
    /// Residual blocks.
    pub(super) layers: usize,
    /// Heads of the spatial transformers.
    pub(super) heads: usize,
    /// A spatial transformer a layer, but in the middle; none in plain blocks.
    pub(super) attentions: Vec<TextBlocks>,
    pub(super) temporal: Option<Temporal>,
}

/// Motion modules of a resolution.
#[derive(Debug, Clone)]
pub(super) struct Temporal {
    pub(super) heads: usize,
    /// Blocks of each.
    pub(super) blocks: Vec<usize>,
    /// Frames that they can tell apart.
    pub(super) positions: usize,
}

/// The configuration of a [`UNet2d`](crate::UNet2d), read from either class.
#[derive(Debug, Clone)]
pub struct UNet2dConfig {
    sample_size: Option<SampleSize>,
    /// Channels of the noisy latents, and of what [joins them](crate::Conditioning::channels).
    pub in_channels: usize,
    /// Channels of the prediction.
    pub out_channels: usize,
    /// Width of the text embeddings.
    pub cross_attention_dim: usize,
    /// Width of the embedding of a guidance scale, of models that were distilled to know it.
    pub time_cond_proj_dim: Option<usize>,
    /// The longest clip that motion modules can tell the frames of; none without motion modules.
    pub motion_max_seq_length: Option<usize>,
    pub(super) center_input_sample: bool,
    /// Sides of the kernels of the first and the last convolution.
    pub(super) conv_kernels: [usize; 2],
    /// Before the last convolution.
    pub(super) conv_act: Activation,
    pub(super) timesteps: TimestepFrequencies,
    /// Width of the time embedding.
    pub(super) time_embed_dim: usize,
    pub(super) down: Vec<Level>,
    pub(super) mid: Option<Level>,
    pub(super) up: Vec<Level>,
    pub(super) downsample_padding: usize,
    pub(super) mid_block_scale_factor: f64,
    pub(super) act_fn: Activation,
    pub(super) norm_num_groups: usize,
    pub(super) norm_eps: f64,
}

impl UNet2dConfig {
    /// Reads and checks the `config.json` of a model folder's `unet`, of pictures or with motion modules.
    ///
    /// # Errors
    /// The file is missing or damaged, belongs to another class, or describes no network that there is here.
    pub fn from_component(component: &Component) -> Result<Self, DenoiserError> {
        let mut raw: RawConfig = component.config(&[IMAGE, MOTION])?;
        let listed = component.entry().map(|entry| entry.class.clone());
        raw.class = raw.class.or(listed);
        Self::new(&raw)
    }

    pub(super) fn new(raw: &RawConfig) -> Result<Self, DenoiserError> {
        match raw.class.as_deref() {
            Some(MOTION) => Self::with_motion_modules(raw),
            _ => Self::of_pictures(raw),
        }
    }

    #[cfg(test)]
    pub(crate) fn from_json(json: serde_json::Value) -> Result<Self, DenoiserError> {
        Self::new(&serde_json::from_value(json).map_err(|e| fault("json", e.to_string()))?)
    }

    /// Height and width of the latents it was trained at.
    #[must_use]
    pub fn sample_size(&self) -> Option<[usize; 2]> {
        self.sample_size.map(SampleSize::height_width)
    }

    /// As `UNet2DConditionModel` builds it.
    pub(super) fn of_pictures(raw: &RawConfig) -> Result<Self, DenoiserError> {
        if raw.num_attention_heads.is_some() {
            let reason = "is set, which diffusers refuses too; the number of heads is `attention_head_dim`";
            return Err(fault("num_attention_heads", reason));
        }
        let mut config = Self::common(raw)?;
        config.mid = match raw.mid_block_type.as_deref() {
            None => None,
            Some("UNetMidBlock2DCrossAttn") => config.mid,
            Some("UNetMidBlock2D") => config.mid.map(|level| Level {
                layers: 1,
                attentions: Vec::new(),
                ..level
            }),
            Some(other) => {
                let reason = format!("is {other:?}; supported are \"UNetMidBlock2DCrossAttn\" and \"UNetMidBlock2D\"");
                return Err(fault("mid_block_type", reason));
            }
        };
        Ok(config)
    }

    /// As `UNetMotionModel` builds it.
    pub(super) fn with_motion_modules(raw: &RawConfig) -> Result<Self, DenoiserError> {
        // Upstream's class has none of these.
        let mut raw = RawConfig {
            only_cross_attention: false.into(),
            center_input_sample: false,
            flip_sin_to_cos: true,
            freq_shift: 0.0,
            time_embedding_dim: None,
            conv_in_kernel: 3,
            conv_out_kernel: 3,
            ..raw.clone()
        };
        raw.num_attention_heads = Some(raw.num_attention_heads.unwrap_or_else(|| 8.into()));
        if let OneOrEach::Each(levels) = &raw.transformer_layers_per_block
            && let Some(OneOrEach::Each(_)) = levels.last()
        {
            raw.transformer_layers_per_mid_block.get_or_insert(1.into());
        }
        let mut config = Self::common(&raw)?;
        let positions = raw.motion_max_seq_length;
        check_size("motion_max_seq_length", positions, MAX_POSITIONS)?;
        config.motion_max_seq_length = Some(positions);
        config.conv_act = Activation::Silu;
        let levels = config.down.len();
        let heads = raw
            .motion_num_attention_heads
            .expand("motion_num_attention_heads", levels)?;
        let key = "temporal_transformer_layers_per_block";
        let (down, up) = layers_by_level(
            &raw.temporal_transformer_layers_per_block,
            raw.reverse_temporal_transformer_layers_per_block.as_ref(),
            [key, "reverse_temporal_transformer_layers_per_block"],
            &config,
        )?;
        for (i, blocks) in down.into_iter().enumerate() {
            config.down[i].temporal = Some(temporal(&config.down[i], heads[i], blocks, positions)?);
        }
        for (i, blocks) in up.into_iter().enumerate() {
            config.up[i].temporal = Some(temporal(&config.up[i], heads[levels - 1 - i], blocks, positions)?);
        }
        if let (true, Some(mid)) = (raw.use_motion_mid_block, &mut config.mid) {
            let key = "temporal_transformer_layers_per_mid_block";
            let blocks = raw
                .temporal_transformer_layers_per_mid_block
                .unwrap_or_else(|| 1.into());
            let blocks = blocks.expand(key, mid.layers - 1)?;
            mid.temporal = Some(temporal(mid, heads[levels - 1], blocks, positions)?);
        }
        Ok(config)
    }

    /// What both classes have in common, with a middle block that attends.
    fn common(raw: &RawConfig) -> Result<Self, DenoiserError> {
        raw.check_supported()?;
        check_raw(raw)?;
        let down = plain_levels(raw)?;
        let text_dim = text_dim(raw)?;
        let mut config = Self {
            sample_size: raw.sample_size,
            in_channels: raw.in_channels,
            out_channels: raw.out_channels,
            cross_attention_dim: text_dim,
            time_cond_proj_dim: raw.time_cond_proj_dim,
            motion_max_seq_length: None,
            center_input_sample: raw.center_input_sample,
            conv_kernels: [raw.conv_in_kernel, raw.conv_out_kernel],
            conv_act: raw.act_fn,
            timesteps: TimestepFrequencies {
                flip_sin_to_cos: raw.flip_sin_to_cos,
                freq_shift: raw.freq_shift,
            },
            time_embed_dim: raw.time_embedding_dim.unwrap_or(down[0].channels * 4),
            down,
            mid: None,
            up: Vec::new(),
            downsample_padding: raw.downsample_padding,
            mid_block_scale_factor: raw.mid_block_scale_factor,
            act_fn: raw.act_fn,
            norm_num_groups: raw.norm_num_groups,
            norm_eps: raw.norm_eps,
        };
        config.up = config.down.iter().rev().cloned().collect();
        for level in &mut config.up {
            level.layers += 1;
        }
        let (down, up) = layers_by_level(
            &raw.transformer_layers_per_block,
            raw.reverse_transformer_layers_per_block.as_ref(),
            ["transformer_layers_per_block", "reverse_transformer_layers_per_block"],
            &config,
        )?;
        let levels = config.down.len();
        let alone = raw.only_cross_attention.expand("only_cross_attention", levels)?;
        let deepest = down[levels - 1][0];
        for (i, blocks) in down.into_iter().enumerate() {
            let attends = attends("down_block_types", &raw.down_block_types[i])?;
            config.down[i].attentions = text_blocks(&blocks, attends, text_dim, alone[i]);
        }
        for (i, blocks) in up.into_iter().enumerate() {
            let attends = attends("up_block_types", &raw.up_block_types[i])?;
            config.up[i].attentions = text_blocks(&blocks, attends, text_dim, alone[levels - 1 - i]);
        }
        config.mid = Some(mid_level(raw, &config, deepest)?);
        Ok(config)
    }
}

fn mid_level(raw: &RawConfig, config: &UNet2dConfig, deepest: usize) -> Result<Level, DenoiserError> {
    let key = "transformer_layers_per_mid_block";
    check_size("mid_block_layers", raw.mid_block_layers, MAX_LAYERS)?;
    let blocks = match &raw.transformer_layers_per_mid_block {
        Some(blocks) => blocks.expand(key, raw.mid_block_layers)?,
        None => vec![deepest; raw.mid_block_layers],
    };
    check_layers(key, &blocks)?;
    Ok(Level {
        layers: raw.mid_block_layers + 1,
        attentions: text_blocks(&blocks, true, config.cross_attention_dim, false),
        temporal: None,
        ..config.down[config.down.len() - 1].clone()
    })
}

/// Resolutions on the way down with no transformers yet.
fn plain_levels(raw: &RawConfig) -> Result<Vec<Level>, DenoiserError> {
    let (down, up) = (raw.down_block_types.len(), raw.up_block_types.len());
    let levels = check_levels(&raw.block_out_channels, down, up)?;
    let layers = raw.layers_per_block.expand("layers_per_block", levels)?;
    check_layers("layers_per_block", &layers)?;
    let (key, heads) = match &raw.num_attention_heads {
        Some(heads) => ("num_attention_heads", heads),
        None => ("attention_head_dim", &raw.attention_head_dim),
    };
    let heads = heads.expand(key, levels)?;
    let mut found = Vec::new();
    for (i, &channels) in raw.block_out_channels.iter().enumerate() {
        check_channels(channels, raw.norm_num_groups)?;
        check_heads(key, heads[i], channels)?;
        found.push(Level {
            channels,
            layers: layers[i],
            heads: heads[i],
            attentions: Vec::new(),
            temporal: None,
        });
    }
    Ok(found)
}

/// Blocks of the transformers of each layer, down and up, of each resolution.
#[expect(clippy::type_complexity, reason = "two lists of lists")]
fn layers_by_level(
    layers: &Layers,
    reverse: Option<&Layers>,
    [key, reverse_key]: [&'static str; 2],
    config: &UNet2dConfig,
) -> Result<(Vec<Vec<usize>>, Vec<Vec<usize>>), DenoiserError> {
    let by_layer = |key, layers: Vec<OneOrEach<usize>>, levels: &[Level]| {
        let pairs = layers.iter().zip(levels);
        let expanded: Result<Vec<_>, _> = pairs.map(|(layers, level)| layers.expand(key, level.layers)).collect();
        let expanded = expanded?;
        expanded.iter().try_for_each(|layers| check_layers(key, layers))?;
        Ok::<_, DenoiserError>(expanded)
    };
    let levels = config.down.len();
    let down = layers.expand(key, levels)?;
    let (up_key, up) = match reverse {
        Some(reverse) => (reverse_key, reverse.expand(reverse_key, levels)?),
        None => (key, down.iter().rev().cloned().collect()),
    };
    Ok((by_layer(key, down, &config.down)?, by_layer(up_key, up, &config.up)?))
}

fn temporal(level: &Level, heads: usize, blocks: Vec<usize>, positions: usize) -> Result<Temporal, DenoiserError> {
    check_heads("motion_num_attention_heads", heads, level.channels)?;
    Ok(Temporal {
        heads,
        blocks,
        positions,
    })
}

fn text_blocks(blocks: &[usize], attends: bool, text_dim: usize, text_alone: bool) -> Vec<TextBlocks> {
    let block = |&count: &usize| TextBlocks {
        count,
        text_dim,
        text_alone,
    };
    blocks.iter().filter(|_| attends).map(block).collect()
}

/// Whether blocks of a type have transformers.
fn attends(key: &'static str, block_type: &str) -> Result<bool, DenoiserError> {
    match block_type {
        "CrossAttnDownBlock2D" | "CrossAttnDownBlockMotion" | "CrossAttnUpBlock2D" | "CrossAttnUpBlockMotion" => {
            Ok(true)
        }
        "DownBlock2D" | "DownBlockMotion" | "UpBlock2D" | "UpBlockMotion" => Ok(false),
        other => Err(fault(
            key,
            format!("has {other:?}, which is not supported; blocks with and without cross attention are"),
        )),
    }
}

/// All that attends to text takes the same; what other resolutions are said to take counts for nothing.
fn text_dim(raw: &RawConfig) -> Result<usize, DenoiserError> {
    let key = "cross_attention_dim";
    let dims = raw.cross_attention_dim.expand(key, raw.block_out_channels.len())?;
    let deepest = dims.last().copied().unwrap_or_default();
    let types = raw.down_block_types.iter().zip(raw.up_block_types.iter().rev());
    for (dim, (down, up)) in dims.iter().zip(types) {
        let used = attends("down_block_types", down)? || attends("up_block_types", up)?;
        if used && *dim != deepest {
            let reason = format!("has {dims:?}; all resolutions attend to the same text, so it has one width");
            return Err(fault(key, reason));
        }
    }
    check_size(key, deepest, MAX_CHANNELS)?;
    Ok(deepest)
}

fn check_raw(raw: &RawConfig) -> Result<(), DenoiserError> {
    check_sample_size(raw.sample_size)?;
    for (key, size) in [
        ("in_channels", raw.in_channels),
        ("out_channels", raw.out_channels),
        ("norm_num_groups", raw.norm_num_groups),
        ("time_embedding_dim", raw.time_embedding_dim.unwrap_or(1)),
        ("time_cond_proj_dim", raw.time_cond_proj_dim.unwrap_or(1)),
    ] {
        check_size(key, size, MAX_CHANNELS)?;
    }
    for (key, side) in [
        ("conv_in_kernel", raw.conv_in_kernel),
        ("conv_out_kernel", raw.conv_out_kernel),
    ] {
        if side > MAX_KERNEL || side % 2 == 0 {
            let reason = format!("is {side}; it is odd, so that sizes stay, and at most {MAX_KERNEL}");
            return Err(fault(key, reason));
        }
    }
    check_numbers(raw.downsample_padding, raw.norm_eps, raw.mid_block_scale_factor)?;
    let half = raw.block_out_channels.first().map_or(0, |channels| channels / 2);
    if !(raw.freq_shift.is_finite() && raw.freq_shift < half as f64) {
        let reason = format!(
            "is {}; it must be less than half the first of `block_out_channels`",
            raw.freq_shift
        );
        return Err(fault("freq_shift", reason));
    }
    Ok(())
}

fn check_layers(key: &'static str, layers: &[usize]) -> Result<(), DenoiserError> {
    layers.iter().try_for_each(|&count| check_size(key, count, MAX_LAYERS))
}

fn check_heads(key: &'static str, heads: usize, channels: usize) -> Result<(), DenoiserError> {
    match (1..=channels).contains(&heads) {
        true => Ok(()),
        false => Err(fault(
            key,
            format!("has {heads}; it is the number of heads, at least 1 and at most as many as {channels} channels"),
        )),
    }
}
