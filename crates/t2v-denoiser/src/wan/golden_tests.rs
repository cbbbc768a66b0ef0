//! Wan's transformer against diffusers (`scripts/make_t2v_denoiser_wan_fixtures.py`).

use burn::{
    module::Module,
    tensor::{DType, Device, Tensor},
};
use serde_json::Value;
use t2v_test_support::Fixture;
use t2v_weights::{LoadOptions, Lora, LoraSet, LoraTarget, Network};

use super::{StreamedWanTransformer, WanTransformer, WanTransformerConfig};
use crate::{Conditioning, Denoiser, golden_tests::check_two_prompts};

const NETWORKS: [&str; 5] = [
    "wan_text",
    "wan_rare",
    "wan_picture",
    "wan_pictures",
    "wan_token_by_token",
];

fn open(name: &str) -> Fixture {
    Fixture::open(&format!(
        "{}/tests/fixtures/{name}.safetensors",
        env!("CARGO_MANIFEST_DIR")
    ))
}

fn load(fixture: &Fixture, device: &Device) -> WanTransformer {
    let options = LoadOptions::new(DType::F32, device);
    WanTransformer::from_weights(fixture.config(), &fixture.weights(), &options).unwrap()
}

fn load_streamed(fixture: &Fixture, device: &Device) -> StreamedWanTransformer {
    let options = LoadOptions::new(DType::F32, device);
    StreamedWanTransformer::from_weights(fixture.config(), fixture.weights(), &options).unwrap()
}

/// A call of a fixture: latents, timestep and conditioning.
struct Call {
    latents: Tensor<5>,
    timestep: f64,
    conditioning: Conditioning,
    /// The name of what comes of it.
    output: String,
}

fn calls(fixture: &Fixture, device: &Device) -> Vec<Call> {
    let factors: Value = fixture.metadata("call");
    let names = fixture.names();
    let mut calls = Vec::new();
    for (index, factors) in factors["timestep_factors"].as_array().unwrap().iter().enumerate() {
        let case = if index == 0 { String::new() } else { format!(".{index}") };
        let input = |name: &str| format!("input.{name}{case}");
        let mut conditioning = Conditioning::new(fixture.tensor(&input("encoder_hidden_states"), device));
        let picture = input("encoder_hidden_states_image");
        if names.contains(&picture) {
            conditioning.image = Some(fixture.tensor(&picture, device));
        }
        conditioning.timestep_factors = serde_json::from_value(factors.clone()).unwrap();
        calls.push(Call {
            latents: fixture.tensor(&input("hidden_states"), device),
            timestep: f64::from(fixture.values(&input("timestep")).1[0]),
            conditioning,
            output: format!("output.sample{case}"),
        });
    }
    assert!(!calls.is_empty());
    calls
}

fn assert_same(left: Tensor<5>, right: Tensor<5>) {
    let tolerance = burn::tensor::Tolerance::rel_abs(1e-5, 1e-5);
    left.into_data().assert_approx_eq::<f32>(&right.into_data(), tolerance);
}

#[test]
fn whole_networks() {
    let device = t2v_test_support::device();
    for name in NETWORKS {
        let fixture = open(name);
        let model = load(&fixture, &device);
        for call in calls(&fixture, &device) {
            let output = model.forward(call.latents, call.timestep, &call.conditioning);
            fixture.assert_close(&call.output, output);
        }
    }
}

#[test]
fn clips_under_two_prompts() {
    let device = t2v_test_support::device();
    for name in NETWORKS {
        let fixture = open(name);
        let model = load(&fixture, &device);
        let streamed = load_streamed(&fixture, &device);
        for call in calls(&fixture, &device) {
            check_two_prompts(name, &model, call.latents.clone(), &call.conditioning);
            check_two_prompts(name, &streamed, call.latents, &call.conditioning);
        }
    }
}

#[test]
fn streamed_networks_give_the_same_to_the_bit() {
    let device = t2v_test_support::device();
    for name in NETWORKS {
        let fixture = open(name);
        let model = load(&fixture, &device);
        let streamed = load_streamed(&fixture, &device);
        assert!(streamed.in_memory().num_params() < model.num_params());
        for call in calls(&fixture, &device) {
            let expected = model.forward(call.latents.clone(), call.timestep, &call.conditioning);
            let output = streamed.forward(call.latents, call.timestep, &call.conditioning);
            assert!(streamed.take_fault().is_none());
            output.into_data().assert_eq(&expected.into_data(), true);
        }
    }
}

#[test]
fn blocks_that_are_not_there_are_named_before_a_call() {
    let (fixture, device) = (open("wan_text"), Device::flex());
    let load = |change: fn(&mut WanTransformerConfig)| {
        let mut config = fixture.config();
        change(&mut config);
        let options = LoadOptions::new(DType::F32, &device);
        StreamedWanTransformer::from_weights(config, fixture.weights(), &options)
            .map(drop)
            .map_err(|error| error.to_string())
    };
    load(|_| {}).unwrap();
    let message = load(|config| config.num_layers += 1).unwrap_err();
    assert!(message.contains("missing keys: blocks."), "{message}");
    let message = load(|config| config.num_layers -= 1).unwrap_err();
    assert!(message.contains("unused keys: blocks."), "{message}");
    // Shapes are looked at when a block is read.
    let mut config: WanTransformerConfig = fixture.config();
    config.ffn_dim += 1;
    let options = LoadOptions::new(DType::F32, &device);
    let streamed = StreamedWanTransformer::from_weights(config, fixture.weights(), &options).unwrap();
    let call = calls(&fixture, &device).remove(0);
    let output = streamed.forward(call.latents, call.timestep, &call.conditioning);
    assert_eq!(output.abs().max().into_scalar::<f32>(), 0.0);
    let message = streamed.take_fault().unwrap().to_string();
    assert!(
        message.contains("blocks.0.ffn.") && message.contains("shape"),
        "{message}"
    );
    assert!(streamed.take_fault().is_none());
}

/// The largest difference of two clips, as a share of the largest value.
fn difference(actual: Tensor<5>, expected: &Tensor<5>) -> f32 {
    let largest = |x: Tensor<5>| x.abs().max().into_scalar::<f32>();
    largest(actual.cast(DType::F32) - expected.clone()) / largest(expected.clone())
}

#[test]
fn half_precision_is_near() {
    let device = t2v_test_support::device();
    for name in ["wan_text", "wan_picture", "wan_pictures", "wan_token_by_token"] {
        let fixture = open(name);
        for (dtype, most) in [(DType::F16, 0.01), (DType::BF16, 0.05)] {
            let options = LoadOptions::new(dtype, &device);
            let model = WanTransformer::from_weights(fixture.config(), &fixture.weights(), &options).unwrap();
            for call in calls(&fixture, &device) {
                let mut conditioning = call.conditioning;
                conditioning.text = conditioning.text.cast(dtype);
                conditioning.image = conditioning.image.map(|image| image.cast(dtype));
                let output = model.forward(call.latents.cast(dtype), call.timestep, &conditioning);
                assert_eq!(output.dtype(), dtype);
                let far = difference(output, &fixture.tensor(&call.output, &device));
                assert!(far < most, "{name} in {dtype:?}: {far}");
            }
        }
    }
}

#[test]
fn prepared_once_or_at_each_call_is_the_same() {
    let device = t2v_test_support::device();
    for name in ["wan_text", "wan_picture"] {
        let fixture = open(name);
        let model = load(&fixture, &device);
        for call in calls(&fixture, &device) {
            let prepared = model.prepare(call.conditioning);
            assert!(prepared.prepared.is_some());
            let output = model.forward(call.latents.clone(), call.timestep, &prepared);
            fixture.assert_close(&call.output, output.clone());
            // The second of the two clips by itself.
            let half = model.forward(call.latents.narrow(0, 1, 1), call.timestep, &prepared.last());
            assert_same(half, output.narrow(0, 1, 1));
        }
    }
}

#[test]
fn what_another_network_prepared_is_not_used() {
    let device = t2v_test_support::device();
    let fixture = open("wan_text");
    let (model, other) = (load(&fixture, &device), load(&fixture, &device));
    let call = calls(&fixture, &device).remove(0);
    let mut prepared = other.prepare(call.conditioning);
    // Other text than that of the keys and values, which only the network that computed them goes by.
    prepared.text = prepared.text * 0.0;
    let from_text = model.forward(
        call.latents.clone(),
        call.timestep,
        &Conditioning::new(prepared.text.clone()),
    );
    assert_same(model.forward(call.latents.clone(), call.timestep, &prepared), from_text);
    fixture.assert_close(&call.output, other.forward(call.latents, call.timestep, &prepared));
}

#[test]
fn keys_of_wans_own_code_are_the_same() {
    let device = t2v_test_support::device();
    let (fixture, original) = (open("wan_picture"), open("wan_original"));
    let model = load(&original, &device);
    for call in calls(&fixture, &device) {
        fixture.assert_close(
            &call.output,
            model.forward(call.latents, call.timestep, &call.conditioning),
        );
    }
}

#[test]
fn channels_join_the_latents() {
    let device = t2v_test_support::device();
    let fixture = open("wan_picture");
    let model = load(&fixture, &device);
    let call = calls(&fixture, &device).remove(0);
    // The second clip's last channels are those of both.
    let channels = call.latents.clone().narrow(0, 1, 1).narrow(1, 4, 5);
    let noisy = call.latents.narrow(1, 0, 4);
    let joined = Tensor::cat(vec![noisy.clone(), channels.clone().repeat_dim(0, 2)], 1);
    let expected = model.forward(joined, call.timestep, &call.conditioning);
    let mut conditioning = call.conditioning;
    conditioning.channels = Some(channels);
    assert_same(model.forward(noisy, call.timestep, &conditioning), expected);
}

#[test]
fn loras_of_each_layout_are_added_as_diffusers_adds_them() {
    let device = t2v_test_support::device();
    let (fixture, expected) = (open("wan_text"), open("wan_lora"));
    let model = load(&fixture, &device);
    let call = calls(&fixture, &device).remove(0);
    for layout in ["peft", "original", "musubi", "differences"] {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");
        let lora = Lora::open(format!("{folder}/wan_lora_{layout}.safetensors")).unwrap();
        // Differences of two normalisations.
        assert_eq!(lora.unknown_keys().len(), if layout == "differences" { 2 } else { 0 });
        let (keys, target) = (WanTransformer::key_map(), LoraTarget::Denoiser);
        let (adapted, applied) = LoraSet::new()
            .with(lora, 1.0)
            .apply(&model, &keys, target, DType::F32)
            .unwrap();
        assert_eq!(applied.left_out(), Vec::<String>::new(), "{layout}");
        let output = adapted.forward(call.latents.clone(), call.timestep, &call.conditioning);
        expected.assert_close(&format!("output.{layout}"), output);
    }
}
