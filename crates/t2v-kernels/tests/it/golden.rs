//! The shared layers against diffusers (`scripts/make_t2v_kernels_fixtures.py`).

use burn::tensor::{DType, Device};
use serde_json::Value;
use t2v_kernels::{Activation, Downsample2d, ResnetBlock2dConfig, Upsample2d};
use t2v_test_support::Fixture;
use t2v_weights::{KeyMap, ModuleSnapshot};

fn fixture(name: &str) -> (Fixture, Value, Device) {
    let path = format!("{}/tests/fixtures/{name}.safetensors", env!("CARGO_MANIFEST_DIR"));
    let fixture = Fixture::open(&path);
    let config = fixture.config();
    (fixture, config, t2v_test_support::device())
}

fn load<M: ModuleSnapshot>(mut module: M, fixture: &Fixture) -> M {
    fixture.weights().load(&mut module, &KeyMap::new(), DType::F32).unwrap();
    module
}

fn int(config: &Value, key: &str) -> usize {
    config[key].as_u64().unwrap() as usize
}

#[test]
fn resnet_blocks() {
    for name in ["resnet_block_temb", "resnet_block_plain"] {
        let (fixture, config, device) = fixture(name);
        let time_embed_dim = config["temb_channels"].as_u64().map(|dim| dim as usize);
        let block = ResnetBlock2dConfig {
            in_channels: int(&config, "in_channels"),
            out_channels: int(&config, "out_channels"),
            time_embed_dim,
            groups: int(&config, "groups"),
            eps: config["eps"].as_f64().unwrap(),
            activation: Activation::Silu,
            output_scale_factor: config["output_scale_factor"].as_f64().unwrap(),
        };
        let block = load(block.init(&device), &fixture);
        let time = time_embed_dim.map(|_| fixture.tensor("input.temb", &device));
        let output = block.forward(fixture.tensor("input.hidden_states", &device), time);
        fixture.assert_close("output.hidden_states", output);
    }
}

#[test]
fn downsampling() {
    for name in ["downsample_pad1", "downsample_pad0"] {
        let (fixture, config, device) = fixture(name);
        let layer = Downsample2d::new(int(&config, "channels"), int(&config, "padding"), &device);
        let output = load(layer, &fixture).forward(fixture.tensor("input.hidden_states", &device));
        fixture.assert_close("output.hidden_states", output);
    }
}

#[test]
fn upsampling() {
    for name in ["upsample_2x", "upsample_to_size"] {
        let (fixture, config, device) = fixture(name);
        let call: Value = fixture.metadata("call");
        let size = serde_json::from_value(call["output_size"].clone()).unwrap();
        let layer = load(Upsample2d::new(int(&config, "channels"), &device), &fixture);
        let output = layer.forward(fixture.tensor("input.hidden_states", &device), size);
        fixture.assert_close("output.hidden_states", output);
    }
}
