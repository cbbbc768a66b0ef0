//! `config.json` of both classes as it stands, with the defaults that they share, and the keys that ask for other networks.

use serde::Deserialize;
use serde_json::{Map, Value};
use t2v_kernels::Activation;
use t2v_weights::SampleSize;

use crate::{DenoiserError, checks::fault};

/// One value for all, or one for each.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum OneOrEach<T> {
    Each(Vec<T>),
    One(T),
}

impl<T: Clone> OneOrEach<T> {
    /// One for each of `count`, of which `key` is said to be.
    pub(super) fn expand(&self, key: &'static str, count: usize) -> Result<Vec<T>, DenoiserError> {
        match self {
            Self::One(value) => Ok(vec![value.clone(); count]),
            Self::Each(values) if values.len() == count => Ok(values.clone()),
            Self::Each(values) => Err(fault(
                key,
                format!("has {} entries; it must be one value or {count}", values.len()),
            )),
        }
    }
}

impl<T> From<T> for OneOrEach<T> {
    fn from(value: T) -> Self {
        Self::One(value)
    }
}

/// Layers of a kind, of each resolution, or of each layer of each resolution.
pub(super) type Layers = OneOrEach<OneOrEach<usize>>;

/// The constructor arguments of `UNet2DConditionModel` and `UNetMotionModel`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub(crate) struct RawConfig {
    #[serde(rename = "_class_name")]
    pub(super) class: Option<String>,
    pub(super) sample_size: Option<SampleSize>,
    pub(super) in_channels: usize,
    pub(super) out_channels: usize,
    pub(super) center_input_sample: bool,
    pub(super) conv_in_kernel: usize,
    pub(super) conv_out_kernel: usize,
    pub(super) flip_sin_to_cos: bool,
    pub(super) freq_shift: f64,
    pub(super) down_block_types: Vec<String>,
    pub(super) mid_block_type: Option<String>,
    pub(super) up_block_types: Vec<String>,
    pub(super) only_cross_attention: OneOrEach<bool>,
    pub(super) block_out_channels: Vec<usize>,
    pub(super) layers_per_block: OneOrEach<usize>,
    pub(super) downsample_padding: usize,
    pub(super) mid_block_scale_factor: f64,
    pub(super) act_fn: Activation,
    pub(super) norm_num_groups: usize,
    pub(super) norm_eps: f64,
    pub(super) cross_attention_dim: OneOrEach<usize>,
    pub(super) transformer_layers_per_block: Layers,
    pub(super) reverse_transformer_layers_per_block: Option<Layers>,
    pub(super) transformer_layers_per_mid_block: Option<OneOrEach<usize>>,
    pub(super) attention_head_dim: OneOrEach<usize>,
    pub(super) num_attention_heads: Option<OneOrEach<usize>>,
    pub(super) time_embedding_dim: Option<usize>,
    pub(super) time_cond_proj_dim: Option<usize>,
    pub(super) motion_max_seq_length: usize,
    pub(super) motion_num_attention_heads: OneOrEach<usize>,
    pub(super) use_motion_mid_block: bool,
    pub(super) mid_block_layers: usize,
    pub(super) temporal_transformer_layers_per_block: Layers,
    pub(super) reverse_temporal_transformer_layers_per_block: Option<Layers>,
    pub(super) temporal_transformer_layers_per_mid_block: Option<OneOrEach<usize>>,
    #[serde(flatten)]
    pub(super) others: Map<String, Value>,
}

impl Default for RawConfig {
    fn default() -> Self {
        let blocks =
            |first: &str, others: &str, last: &str| vec![first.into(), others.into(), others.into(), last.into()];
        Self {
            class: None,
            sample_size: None,
            in_channels: 4,
            out_channels: 4,
            center_input_sample: false,
            conv_in_kernel: 3,
            conv_out_kernel: 3,
            flip_sin_to_cos: true,
            freq_shift: 0.0,
            down_block_types: blocks("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
            mid_block_type: Some("UNetMidBlock2DCrossAttn".into()),
            up_block_types: blocks("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
            only_cross_attention: false.into(),
            block_out_channels: vec![320, 640, 1280, 1280],
            layers_per_block: 2.into(),
            downsample_padding: 1,
            mid_block_scale_factor: 1.0,
            act_fn: Activation::Silu,
            norm_num_groups: 32,
            norm_eps: 1e-5,
            cross_attention_dim: 1280.into(),
            transformer_layers_per_block: OneOrEach::One(1.into()),
            reverse_transformer_layers_per_block: None,
            transformer_layers_per_mid_block: None,
            attention_head_dim: 8.into(),
            num_attention_heads: None,
            time_embedding_dim: None,
            time_cond_proj_dim: None,
            motion_max_seq_length: 32,
            motion_num_attention_heads: 8.into(),
            use_motion_mid_block: true,
            mid_block_layers: 1,
            temporal_transformer_layers_per_block: OneOrEach::One(1.into()),
            reverse_temporal_transformer_layers_per_block: None,
            temporal_transformer_layers_per_mid_block: Some(1.into()),
            others: Map::new(),
        }
    }
}

/// Keys that may say one thing alone.
const FIXED: [(&str, &str); 13] = [
    ("dual_cross_attention", "false"),
    ("class_embed_type", "null"),
    ("num_class_embeds", "null"),
    ("class_embeddings_concat", "false"),
    ("addition_embed_type", "null"),
    ("encoder_hid_dim", "null"),
    ("encoder_hid_dim_type", "null"),
    ("resnet_time_scale_shift", "\"default\""),
    ("time_embedding_type", "\"positional\""),
    ("time_embedding_act_fn", "null"),
    ("timestep_post_act", "null"),
    ("attention_type", "\"default\""),
    ("cross_attention_norm", "null"),
];

impl RawConfig {
    /// # Errors
    /// A key asks for a layer that these networks lack.
    pub(super) fn check_supported(&self) -> Result<(), DenoiserError> {
        for (key, supported) in FIXED {
            let value = self.others.get(key).unwrap_or(&Value::Null);
            let written = value.to_string();
            if !value.is_null() && written != supported {
                return Err(fault(
                    key,
                    format!("is {written}, which is not supported; {supported} is"),
                ));
            }
        }
        Ok(())
    }
}
