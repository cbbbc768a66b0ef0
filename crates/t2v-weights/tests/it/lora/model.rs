//! A few layers of the models that the fixtures are of, named as this project's models name them, and files made here.

use std::{collections::BTreeMap, collections::HashMap};

use burn::{
    module::{Module, ModuleVisitor, Param},
    nn::{
        Linear, LinearConfig, LinearLayout,
        conv::{Conv2d, Conv2dConfig, Conv3d, Conv3dConfig},
    },
    tensor::{DType, Device, Tensor},
};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use t2v_weights::{Floats, KeyMap, ModuleSnapshot, Weights};

pub(crate) const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/lora");

#[derive(Module, Debug)]
struct TimeEmbedding {
    linear_1: Linear,
}

#[derive(Module, Debug)]
struct Attention {
    to_q: Option<Linear>,
    to_k: Option<Linear>,
    to_v: Option<Linear>,
    to_out: Vec<Linear>,
}

#[derive(Module, Debug)]
struct FeedForward {
    proj: Linear,
    out: Linear,
}

#[derive(Module, Debug)]
struct TransformerBlock {
    attn1: Attention,
    attn2: Attention,
    ff: Option<FeedForward>,
}

#[derive(Module, Debug)]
struct Transformer {
    proj_in: Option<Linear>,
    transformer_blocks: Vec<TransformerBlock>,
}

#[derive(Module, Debug)]
struct Resnet {
    conv1: Option<Conv2d>,
    time_emb_proj: Option<Linear>,
    conv_shortcut: Option<Conv2d>,
}

#[derive(Module, Debug)]
struct Downsampler {
    conv: Conv2d,
}

#[derive(Module, Debug)]
struct Block {
    attentions: Vec<Transformer>,
    resnets: Vec<Resnet>,
    motion_modules: Vec<Transformer>,
    downsamplers: Vec<Downsampler>,
}

/// The denoiser's layers that the fixtures touch.
#[derive(Module, Debug)]
pub(crate) struct Unet {
    conv_in: Conv2d,
    time_embedding: TimeEmbedding,
    down_blocks: Vec<Block>,
}

fn linear(d_in: usize, d_out: usize) -> Linear {
    LinearConfig::new(d_in, d_out)
        .with_bias(false)
        .with_layout(LinearLayout::Col)
        .init(&Device::flex())
}

fn conv(channels: [usize; 2], kernel: usize) -> Conv2d {
    Conv2dConfig::new(channels, [kernel, kernel])
        .with_bias(false)
        .init(&Device::flex())
}

fn attention(q: bool, k: Option<usize>, v: bool, out: bool) -> Attention {
    Attention {
        to_q: q.then(|| linear(8, 8)),
        to_k: k.map(|width| linear(width, 8)),
        to_v: v.then(|| linear(8, 8)),
        to_out: if out { vec![linear(8, 8)] } else { Vec::new() },
    }
}

pub(crate) fn unet() -> Unet {
    let spatial = TransformerBlock {
        attn1: attention(true, None, false, false),
        attn2: attention(false, Some(12), false, true),
        ff: Some(FeedForward {
            proj: linear(8, 64),
            out: linear(32, 8),
        }),
    };
    let temporal = TransformerBlock {
        attn1: attention(true, None, false, false),
        attn2: attention(false, None, true, true),
        ff: None,
    };
    let first = Block {
        attentions: vec![Transformer {
            proj_in: Some(linear(8, 8)),
            transformer_blocks: vec![spatial],
        }],
        resnets: vec![Resnet {
            conv1: Some(conv([8, 8], 3)),
            time_emb_proj: Some(linear(32, 8)),
            conv_shortcut: None,
        }],
        motion_modules: vec![Transformer {
            proj_in: None,
            transformer_blocks: vec![temporal],
        }],
        downsamplers: vec![Downsampler { conv: conv([8, 8], 3) }],
    };
    let second = Block {
        attentions: Vec::new(),
        resnets: vec![Resnet {
            conv1: None,
            time_emb_proj: None,
            conv_shortcut: Some(conv([8, 16], 1)),
        }],
        motion_modules: Vec::new(),
        downsamplers: Vec::new(),
    };
    Unet {
        conv_in: conv([4, 8], 3),
        time_embedding: TimeEmbedding {
            linear_1: linear(8, 32),
        },
        down_blocks: vec![first, second],
    }
}

pub(crate) fn unet_keys() -> KeyMap {
    KeyMap::new()
        .rename(r"((?:^|\.)ff)\.net\.0\.proj\.", "$1.proj.")
        .rename(r"((?:^|\.)ff)\.net\.2\.", "$1.out.")
}

#[derive(Module, Debug)]
struct SelfAttention {
    q_proj: Option<Linear>,
    out_proj: Option<Linear>,
}

#[derive(Module, Debug)]
struct Mlp {
    fc1: Option<Linear>,
    fc2: Option<Linear>,
}

#[derive(Module, Debug)]
struct Layer {
    self_attn: SelfAttention,
    mlp: Mlp,
}

#[derive(Module, Debug)]
struct Encoder {
    layers: Vec<Layer>,
}

/// The text encoder's layers that the fixtures touch.
#[derive(Module, Debug)]
pub(crate) struct TextModel {
    encoder: Encoder,
}

pub(crate) fn text_model() -> TextModel {
    let first = Layer {
        self_attn: SelfAttention {
            q_proj: Some(linear(12, 12)),
            out_proj: Some(linear(12, 12)),
        },
        mlp: Mlp {
            fc1: Some(linear(12, 24)),
            fc2: None,
        },
    };
    let second = Layer {
        self_attn: SelfAttention {
            q_proj: None,
            out_proj: None,
        },
        mlp: Mlp {
            fc1: None,
            fc2: Some(linear(24, 12)),
        },
    };
    TextModel {
        encoder: Encoder {
            layers: vec![first, second],
        },
    }
}

pub(crate) fn text_keys() -> KeyMap {
    KeyMap::new().rename(r"^text_model\.", "")
}

/// Two layers, large enough to stay in half precision, and a convolution over frames.
#[derive(Module, Debug)]
pub(crate) struct Large {
    pub to_q: Linear,
    pub to_k: Linear,
    pub temporal: Conv3d,
    pub pointwise: Conv2d,
}

pub(crate) fn large() -> Large {
    Large {
        to_q: linear(512, 520),
        to_k: linear(512, 520),
        temporal: Conv3dConfig::new([6, 4], [3, 1, 1])
            .with_bias(false)
            .init(&Device::flex()),
        pointwise: conv([6, 4], 1),
    }
}

/// A model with the weights of a safetensors file, 1x1 kernels of `proj_in` as matrices.
pub(crate) fn load<M: ModuleSnapshot>(mut module: M, keys: &KeyMap, file: Vec<u8>, floats: impl Into<Floats>) -> M {
    let weights = Weights::from_safetensors("base", file).with_strict(true);
    weights.load(&mut module, keys, floats).unwrap();
    module
}

/// The base weights of a part of the fixtures, as a file.
pub(crate) fn base(part: &str) -> Vec<u8> {
    let bytes = std::fs::read(format!("{FIXTURES}/base.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors = Vec::new();
    for (key, view) in file.iter() {
        if let Some(key) = key.strip_prefix(part).and_then(|key| key.strip_prefix('.')) {
            let matrix = key.ends_with("proj_in.weight");
            let shape = if matrix { &view.shape()[..2] } else { view.shape() };
            tensors.push((
                key.to_string(),
                TensorView::new(view.dtype(), shape.to_vec(), view.data()).unwrap(),
            ));
        }
    }
    safetensors::serialize(tensors, None).unwrap()
}

/// Name, shape and values of a tensor.
pub(crate) type Entry = (String, Vec<usize>, Vec<f32>);

/// A safetensors file in f32.
pub(crate) fn file(tensors: &[Entry], metadata: Option<HashMap<String, String>>) -> Vec<u8> {
    let bytes: Vec<Vec<u8>> = tensors
        .iter()
        .map(|(_, _, values)| values.iter().flat_map(|v| v.to_le_bytes()).collect())
        .collect();
    let views = tensors
        .iter()
        .zip(&bytes)
        .map(|((name, shape, _), bytes)| (name.clone(), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
    safetensors::serialize(views, metadata).unwrap()
}

/// A tensor of numbers between -1 and 1 that look random.
pub(crate) fn entry(name: &str, shape: &[usize]) -> Entry {
    let mut state = name
        .bytes()
        .fold(7u32, |state, byte| state.wrapping_mul(31).wrapping_add(byte.into()));
    let mut value = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    let values = (0..shape.iter().product()).map(|_| value()).collect();
    (name.into(), shape.to_vec(), values)
}

/// Values of all parameters by path, as checkpoints have them.
pub(crate) type Values = BTreeMap<String, (DType, Vec<f32>)>;

pub(crate) fn values<M: Module>(module: &M) -> Values {
    #[derive(Default)]
    struct Collector {
        path: Vec<String>,
        values: Values,
    }
    impl ModuleVisitor for Collector {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.path.push(name.into());
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.path.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let data = param.transform_for_save().val().into_data();
            let values = (data.dtype(), data.iter::<f32>().collect());
            self.values.insert(self.path.join("."), values);
        }
    }
    let mut collector = Collector::default();
    module.visit(&mut collector);
    collector.values
}
