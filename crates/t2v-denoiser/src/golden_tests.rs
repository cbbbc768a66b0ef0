//! Every layer and the whole networks against diffusers (`scripts/make_t2v_denoiser_fixtures.py`,
//! `make_t2v_denoiser_sd_fixtures.py`).

use burn::tensor::{DType, Device, Tensor};
use serde_json::Value;
use t2v_kernels::{Activation, MultiHead, Products};
use t2v_test_support::Fixture;
use t2v_weights::{LoadOptions, ModuleSnapshot, Network};

use crate::{
    BlockConfig, Conditioning, ContextWindows, DeepFeatures, Denoiser, FeatureCache, MotionAdapterConfig,
    ResnetsConfig, TemporalConv, Transformer2d, TransformerTemporal, UNet2d, UNet2dConfig, UNet3d, UNetBlock,
    WindowWeighting, keys, sinusoidal_embedding, unet_blocks::Condition,
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
            products: Products::Exact,
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
        let (x, text): (Tensor<4>, Tensor<3>) = (golden.input("hidden_states"), golden.input("encoder_hidden_states"));
        let rows = x.dims()[0];
        let output = golden.load(layer).forward(x, text, rows, Products::Exact);
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
            .forward(golden.input("hidden_states"), golden.frames(), Products::Exact);
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
        let (block, mut x) = (golden.load(block), golden.input("hidden_states"));
        let states: Vec<Tensor<4>> = (0..block.down_steps())
            .map(|i| {
                x = block.down_step(i, x.clone(), &golden.condition());
                x.clone()
            })
            .collect();
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
        let (block, mut x, condition) = (golden.load(block), golden.input("hidden_states"), golden.condition());
        for i in 0..layers {
            x = block.up_layer(i, x, states.pop().unwrap(), &condition);
        }
        let output = block.upsample(x, size);
        assert!(states.is_empty());
        golden.check("hidden_states", output);
    }
}

fn clip_network(golden: &Golden) -> UNet3d {
    let options = LoadOptions::new(DType::F32, &golden.device);
    UNet3d::from_weights(golden.fixture.config(), &golden.fixture.weights(), &options).unwrap()
}

#[test]
fn whole_networks() {
    for (name, cases) in [("unet_a", vec!["", ".1"]), ("unet_b", vec![""])] {
        let golden = Golden::open(name);
        let model = clip_network(&golden);
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

/// The frames of a clip, or pictures, as a batch of clips of one frame.
fn as_clip(golden: &Golden, name: &str) -> Tensor<5> {
    match golden.fixture.values(name).0.len() {
        4 => golden.input::<4>(&name["input.".len()..]).unsqueeze_dim(2),
        _ => golden.input(&name["input.".len()..]),
    }
}

const IMAGE_NETWORKS: [&str; 6] = [
    "unet_2d_a",
    "unet_2d_b",
    "unet_2d_c",
    "unet_2d_lcm",
    "unet_2d_rare",
    "unet_motion_b",
];

fn image_network(golden: &Golden) -> UNet2d {
    let config = UNet2dConfig::from_json(golden.config.clone()).unwrap();
    let options = LoadOptions::new(DType::F32, &golden.device);
    UNet2d::from_weights(config, &golden.fixture.weights(), &options).unwrap()
}

fn image_conditioning(golden: &Golden, case: &str) -> Conditioning {
    let mut conditioning = Conditioning::new(golden.input(&format!("encoder_hidden_states{case}")));
    let guidance = format!("timestep_cond{case}");
    if golden.fixture.names().contains(&format!("input.{guidance}")) {
        conditioning.guidance = Some(golden.input(&guidance));
    }
    conditioning
}

fn check_image_network(golden: &Golden, model: &UNet2d) {
    let names = golden.fixture.names();
    let cases: Vec<&str> = ["", ".1"]
        .into_iter()
        .filter(|case| names.contains(&format!("input.sample{case}")))
        .collect();
    assert!(!cases.is_empty());
    for case in cases {
        let (_, timestep) = golden.fixture.values(&format!("input.timestep{case}"));
        let conditioning = image_conditioning(golden, case);
        let sample = as_clip(golden, &format!("input.sample{case}"));
        let output = model.forward(sample, f64::from(timestep[0]), &conditioning);
        match golden.fixture.values(&format!("output.sample{case}")).0.len() {
            4 => golden.check(&format!("sample{case}"), output.squeeze_dim::<4>(2)),
            _ => golden.check(&format!("sample{case}"), output),
        }
    }
}

#[test]
fn image_networks() {
    for name in IMAGE_NETWORKS {
        let golden = Golden::open(name);
        let model = image_network(&golden);
        check_image_network(&golden, &model);
    }
}

#[test]
fn motion_modules_in_an_image_network() {
    let (golden, adapter) = (Golden::open("unet_motion_a"), Golden::open("motion_adapter_a"));
    let adapter_config: MotionAdapterConfig = serde_json::from_value(adapter.config.clone()).unwrap();
    let config = UNet2dConfig::joined(serde_json::from_value(golden.config.clone()).unwrap(), &adapter_config).unwrap();
    assert_eq!(config.motion_max_seq_length, Some(32));
    let options = LoadOptions::new(DType::F32, &golden.device);
    let weights = [&golden, &adapter].map(|golden| golden.fixture.weights());
    let [pictures, modules] = weights;
    let model = UNet2d::with_adapter(config, pictures, modules, &options).unwrap();
    check_image_network(&golden, &model);
}

#[test]
fn motion_modules() {
    for name in ["motion_module", "motion_module_windows"] {
        let golden = Golden::open(name);
        let [channels, groups, blocks, positions] = [
            "in_channels",
            "norm_num_groups",
            "num_layers",
            "num_positional_embeddings",
        ]
        .map(|key| golden.int(key));
        let module =
            TransformerTemporal::motion_module(channels, golden.split(), groups, blocks, positions, &golden.device);
        let module = golden.load(module);
        let calls = golden.call.as_array().unwrap();
        assert!(calls.len() >= 3);
        for (i, call) in calls.iter().enumerate() {
            let case = if i == 0 { String::new() } else { format!(".{i}") };
            let int = |key: &str| call[key].as_u64().map(|value| value as usize);
            let windows = int("context_length").map(|length| ContextWindows {
                length,
                stride: int("context_stride").unwrap(),
                weighting: match call["weighting_scheme"].as_str().unwrap() {
                    "flat" => WindowWeighting::Flat,
                    "pyramid" => WindowWeighting::Pyramid,
                    "delayed_reverse_sawtooth" => WindowWeighting::DelayedReverseSawtooth,
                    other => panic!("{other}"),
                },
            });
            let input = golden.input(&format!("hidden_states{case}"));
            let output = module.forward_windows(input, int("num_frames").unwrap(), windows, Products::Exact);
            golden.check(&format!("sample{case}"), output);
        }
    }
}

/// Calls with the features of a call on the same input give what that gives, to the bit: what is left out and what is run fit
/// together. And they don't run what is left out, or input of their own would not show so little of itself.
fn check_reuse<const N: usize>(
    name: &str,
    model: &impl Denoiser,
    latents: [Tensor<5>; 2],
    conditioning: &Conditioning,
) {
    let [latents, other] = latents;
    assert!(model.reuses_features());
    let values = |x: Tensor<5>| x.into_data().try_to_vec::<f32>().unwrap();
    let whole = values(model.forward(latents.clone(), 500.0, conditioning));
    let other_whole = values(model.forward(other.clone(), 500.0, conditioning));
    for depth in (0..N).chain([usize::MAX]) {
        let mut cache = FeatureCache::new(depth, 1);
        let reuse = |cache: &FeatureCache, x: &Tensor<5>, at: f64| {
            values(model.call(x.clone(), 500.0, conditioning, DeepFeatures::Reuse { cache, at }.into()))
        };
        assert_eq!(reuse(&cache, &latents, 0.0), whole, "{name} {depth}: nothing was kept");
        let keep = DeepFeatures::Keep {
            cache: &mut cache,
            at: 0.0,
        };
        let kept = values(model.call(latents.clone(), 500.0, conditioning, keep.into()));
        assert_eq!(kept, whole, "{name} {depth}");
        assert!(!cache.is_empty());
        for at in [0.0, 1.0] {
            assert_eq!(reuse(&cache, &latents, at), whole, "{name} {depth}");
        }
        let mixed = reuse(&cache, &other, 1.0);
        assert_ne!(mixed, whole, "{name} {depth}: what is run sees its input");
        assert_ne!(mixed, other_whole, "{name} {depth}: what is kept is used");
    }
}

/// The last clip of a batch alone, with features that were kept from all.
fn check_last_alone(name: &str, model: &impl Denoiser, latents: &Tensor<5>, conditioning: &Conditioning) {
    let batch = conditioning.batch();
    assert!(batch > 1, "{name}");
    let mut cache = FeatureCache::new(1, 1);
    let keep = DeepFeatures::Keep {
        cache: &mut cache,
        at: 0.0,
    };
    let whole = model.call(latents.clone(), 500.0, conditioning, keep.into());
    let last = |x: Tensor<5>| x.slice_dim(0, batch - 1..batch);
    let reuse = DeepFeatures::Reuse { cache: &cache, at: 1.0 };
    let alone = model.call(last(latents.clone()), 500.0, &conditioning.last(), reuse.into());
    assert_near(name, alone, last(whole));
}

#[track_caller]
fn assert_near(what: &str, left: Tensor<5>, right: Tensor<5>) {
    let difference: f32 = (left - right).abs().max().into_scalar();
    assert!(difference < 1e-4, "{what}: {difference}");
}

/// Clips under two prompts are those clips twice.
pub(crate) fn check_two_prompts(name: &str, model: &impl Denoiser, latents: Tensor<5>, conditioning: &Conditioning) {
    let text = conditioning.text.clone();
    let scale_twice = |scale: &Tensor<2>| Tensor::cat(vec![scale.clone() * 0.3, scale.clone()], 0);
    let both = Conditioning {
        text: Tensor::cat(vec![text.clone() * -0.6, text], 0),
        guidance: conditioning.guidance.as_ref().map(scale_twice),
        image: conditioning.image.clone().map(|image| image.repeat_dim(0, 2)),
        ..conditioning.clone()
    };
    let twice = model.forward(Tensor::cat(vec![latents.clone(), latents.clone()], 0), 500.0, &both);
    let once = model.forward(latents.clone(), 500.0, &both);
    assert_eq!(once.dims()[0], both.batch(), "{name}");
    let halves = once.clone().chunk(2, 0);
    let difference: f32 = (halves[0].clone() - halves[1].clone()).abs().max().into_scalar();
    assert!(difference > 1e-3, "{name}: prompts make a difference, not {difference}");
    let assert_same = |left, right, what: &str| assert_near(&format!("{name}, {what}"), left, right);
    assert_same(once.clone(), twice, "repeated latents");
    let prepared = model.prepare(both.clone());
    assert_same(
        once.clone(),
        model.forward(latents.clone(), 500.0, &prepared),
        "prepared",
    );
    if model.reuses_features() {
        let (mut cache, at) = (FeatureCache::new(0, 0), 0.0);
        let keep = DeepFeatures::Keep { cache: &mut cache, at };
        assert_same(
            once.clone(),
            model.call(latents.clone(), 500.0, &both, keep.into()),
            "features kept",
        );
        let reuse = || DeepFeatures::Reuse { cache: &cache, at }.into();
        assert_same(
            once,
            model.call(latents.clone(), 500.0, &both, reuse()),
            "features reused",
        );
        let positive = model.call(latents, 500.0, conditioning, reuse());
        assert_same(halves[1].clone(), positive, "features reused for one prompt");
    }
}

#[test]
fn clips_under_two_prompts() {
    for name in ["unet_a", "unet_b"] {
        let golden = Golden::open(name);
        let model = clip_network(&golden);
        let conditioning = Conditioning::new(golden.input("encoder_hidden_states"));
        check_two_prompts(name, &model, golden.input("sample"), &conditioning);
    }
    for name in IMAGE_NETWORKS {
        let golden = Golden::open(name);
        let model = image_network(&golden);
        let conditioning = image_conditioning(&golden, "");
        check_two_prompts(name, &model, as_clip(&golden, "input.sample"), &conditioning);
    }
}

#[test]
fn deep_features_are_reused() {
    let reversed = |x: &Tensor<5>| x.clone().flip([3]) * 0.7;
    let golden = Golden::open("unet_a");
    let model = clip_network(&golden);
    for case in ["", ".1"] {
        let latents: Tensor<5> = golden.input(&format!("sample{case}"));
        let conditioning = Conditioning::new(golden.input(&format!("encoder_hidden_states{case}")));
        check_reuse::<6>("unet_a", &model, [latents.clone(), reversed(&latents)], &conditioning);
    }
    for name in ["unet_2d_b", "unet_motion_b"] {
        let golden = Golden::open(name);
        let model = image_network(&golden);
        let latents = as_clip(&golden, "input.sample");
        let conditioning = Conditioning::new(golden.input("encoder_hidden_states"));
        check_reuse::<6>(name, &model, [latents.clone(), reversed(&latents)], &conditioning);
        check_last_alone(name, &model, &latents, &conditioning);
    }
}
