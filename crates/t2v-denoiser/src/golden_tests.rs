//! Every layer and the whole network against diffusers (`scripts/make_t2v_denoiser_fixtures.py`).

use burn::tensor::{DType, Device, Tensor};
use serde_json::Value;
use t2v_kernels::{Activation, MultiHead};
use t2v_test_support::Fixture;
use t2v_weights::{LoadOptions, ModuleSnapshot, Network};

use crate::{
    BlockConfig, Conditioning, Denoiser, ResnetsConfig, TemporalConv, Transformer2d, TransformerTemporal, UNet3d,
    UNetBlock, keys, sinusoidal_embedding, unet_blocks::Condition,
};

struct Golden {
    fixture: Fixture,
    config: Value,
    call: Value,
    device: Device,
}

impl Golden {
    fn open(name: &str) -> Self {
        let path = format!("{}/tests/fixtures/{name}.safetensors", env!("CARGO_MANIFEST_DIR"));
        let fixture = Fixture::open(&path);
        Self {
            config: fixture.config(),
            call: fixture.metadata("call"),
            fixture,
            device: t2v_test_support::device(),
        }
    }

    fn int(&self, key: &str) -> usize {
        self.config[key].as_u64().unwrap() as usize
    }

    fn frames(&self) -> usize {
        self.call["num_frames"].as_u64().unwrap() as usize
    }

    fn load<M: ModuleSnapshot>(&self, mut module: M) -> M {
        self.fixture
            .weights()
            .load(&mut module, &keys::unet(), DType::F32)
            .unwrap();
        module
    }

    fn input<const D: usize>(&self, name: &str) -> Tensor<D> {
        self.fixture.tensor(&format!("input.{name}"), &self.device)
    }

    fn check<const D: usize>(&self, name: &str, actual: Tensor<D>) {
        self.fixture.assert_close(&format!("output.{name}"), actual);
    }

    fn split(&self) -> MultiHead {
        MultiHead {
            heads: self.int("num_attention_heads"),
            head_dim: self.int("attention_head_dim"),
        }
    }

    fn block(&self) -> BlockConfig {
        BlockConfig {
            resnets: ResnetsConfig {
                time_embed_dim: self.int("temb_channels"),
                eps: self.config["resnet_eps"].as_f64().unwrap(),
                activation: Activation::Silu,
                groups: self.int("resnet_groups"),
            },
            cross_attention_dim: self.int("cross_attention_dim"),
            head_dim: self.int("num_attention_heads"),
        }
    }

    fn condition(&self) -> Condition {
        let frames = self.frames();
        // The fixtures give each frame its own text, as a batch of clips of one frame would have.
        let text = match self.fixture.names().contains(&"input.encoder_hidden_states".into()) {
            true => self.input("encoder_hidden_states"),
            false => Tensor::zeros([1, 1, 1], &self.device),
        };
        Condition {
            time: self.input("temb"),
            text,
            frames,
            windows: None,
        }
    }
}

#[test]
fn timestep_embedding() {
    let golden = Golden::open("timestep_embedding");
    let (_, timesteps) = golden.fixture.values("input.timesteps");
    let rows = timesteps
        .iter()
        .map(|t| sinusoidal_embedding(f64::from(*t), 32, &golden.device));
    golden.check("embedding", Tensor::cat(rows.collect(), 0));
}

#[test]
fn spatial_transformers() {
    for name in ["transformer_2d", "transformer_2d_uneven"] {
        let golden = Golden::open(name);
        let (channels, groups) = (golden.int("in_channels"), golden.int("norm_num_groups"));
        let layer = Transformer2d::new(
            channels,
            golden.split(),
            groups,
            golden.int("cross_attention_dim"),
            &golden.device,
        );
        let output = golden
            .load(layer)
            .forward(golden.input("hidden_states"), golden.input("encoder_hidden_states"));
        golden.check("sample", output);
    }
}

#[test]
fn temporal_transformers() {
    for name in ["transformer_temporal", "transformer_in"] {
        let golden = Golden::open(name);
        let (channels, groups) = (golden.int("in_channels"), golden.int("norm_num_groups"));
        let layer = TransformerTemporal::new(channels, golden.split(), groups, &golden.device);
        let output = golden
            .load(layer)
            .forward(golden.input("hidden_states"), golden.frames());
        golden.check("sample", output);
    }
}

#[test]
fn temporal_conv() {
    let golden = Golden::open("temporal_conv");
    let layer = TemporalConv::new(golden.int("in_dim"), golden.int("norm_num_groups"), &golden.device);
    let output = golden
        .load(layer)
        .forward(golden.input("hidden_states"), golden.frames());
    golden.check("hidden_states", output);
}

#[test]
fn down_blocks() {
    for (name, transformers) in [("cross_attn_down_block", true), ("down_block", false)] {
        let golden = Golden::open(name);
        let block = UNetBlock::down(
            &golden.block(),
            [golden.int("in_channels"), golden.int("out_channels")],
            golden.int("num_layers"),
            transformers,
            Some(golden.int("downsample_padding")),
            &golden.device,
        );
        let states = golden
            .load(block)
            .forward_down(golden.input("hidden_states"), &golden.condition());
        assert_eq!(states.len(), 3);
        golden.check("hidden_states", states[2].clone());
        for (i, state) in states.into_iter().enumerate() {
            golden.check(&format!("states.{i}"), state);
        }
    }
}

#[test]
fn mid_block() {
    let golden = Golden::open("mid_block");
    let scale = golden.config["output_scale_factor"].as_f64().unwrap();
    let block = UNetBlock::mid(&golden.block(), golden.int("in_channels"), scale, &golden.device);
    let output = golden
        .load(block)
        .forward_mid(golden.input("hidden_states"), &golden.condition());
    golden.check("hidden_states", output);
}

#[test]
fn up_blocks() {
    for (name, transformers) in [("cross_attn_up_block", true), ("up_block", false)] {
        let golden = Golden::open(name);
        let channels = ["in_channels", "prev_output_channel", "out_channels"].map(|key| golden.int(key));
        let layers = golden.int("num_layers");
        let block = UNetBlock::up(&golden.block(), channels, layers, transformers, true, &golden.device);
        let mut states = vec![golden.input("res_states.0"), golden.input("res_states.1")];
        let size: Option<[usize; 2]> = serde_json::from_value(golden.call["upsample_size"].clone()).unwrap();
        let (x, condition) = (golden.input("hidden_states"), golden.condition());
        let output = golden.load(block).forward_up(x, &mut states, &condition, size);
        assert!(states.is_empty());
        golden.check("hidden_states", output);
    }
}

#[test]
fn whole_networks() {
    for (name, cases) in [("unet_a", vec!["", ".1"]), ("unet_b", vec![""])] {
        let golden = Golden::open(name);
        let config = golden.fixture.config();
        let options = LoadOptions::new(DType::F32, &golden.device);
        let model = UNet3d::from_weights(config, &golden.fixture.weights(), &options).unwrap();
        for case in cases {
            let (_, timestep) = golden.fixture.values(&format!("input.timestep{case}"));
            let output = model.forward(
                golden.input(&format!("sample{case}")),
                f64::from(timestep[0]),
                &Conditioning::new(golden.input(&format!("encoder_hidden_states{case}"))),
            );
            golden.check(&format!("sample{case}"), output);
        }
    }
}
