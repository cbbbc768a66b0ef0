//! Wan's autoencoder: whole clips, and what its chunks are.

use burn::tensor::{DType, Tensor, Tolerance};
use serde::Deserialize;
use serde_json::Value;
use t2v_test_support::Fixture;
use t2v_vae::{
    AutoencoderKlWan, LatentCodec, Posterior, WanTiling,
    wan::{TinyWanConfig, TinyWanDecoder},
};
use t2v_weights::{LoadOptions, Network};

#[derive(Deserialize)]
struct Call {
    /// Lengths of clips.
    frames: Vec<usize>,
    tiling: Option<Sizes>,
}

#[derive(Deserialize)]
struct Sizes {
    size: [usize; 2],
    stride: [usize; 2],
}

struct Case {
    fixture: Fixture,
    call: Call,
    vae: AutoencoderKlWan,
}

fn open(name: &str) -> Case {
    let fixture = Fixture::open(&format!(
        "{}/tests/fixtures/wan_{name}.safetensors",
        env!("CARGO_MANIFEST_DIR")
    ));
    let call: Call = fixture.metadata("call");
    let options = LoadOptions::new(DType::F32, &t2v_test_support::device());
    let mut vae = AutoencoderKlWan::from_weights(fixture.config(), &fixture.weights(), &options).unwrap();
    if let Some(Sizes { size, stride }) = call.tiling {
        vae = vae.with_tiles(WanTiling { size, stride });
        vae.set_tiling(true);
    }
    Case { fixture, call, vae }
}

fn whole(chunks: impl Iterator<Item = Tensor<5>>) -> Tensor<5> {
    Tensor::cat(chunks.collect(), 2)
}

fn check(name: &str) {
    let device = t2v_test_support::device();
    let Case { fixture, call, vae } = open(name);
    for count in call.frames {
        let clip: Tensor<5> = fixture.tensor(&format!("input.clip_{count}"), &device);
        let posteriors: Vec<Posterior<5>> = vae.encode(clip).collect();
        let mean = whole(posteriors.iter().map(|posterior| posterior.mean.clone()));
        fixture.assert_close(&format!("output.mean_{count}"), mean.clone());
        let std = whole(posteriors.into_iter().map(|posterior| posterior.std));
        fixture.assert_close(&format!("output.std_{count}"), std);
        fixture.assert_close(&format!("output.normalized_{count}"), vae.normalize(mean));

        let latents: Tensor<5> = fixture.tensor(&format!("input.latents_{count}"), &device);
        let latent_frames = latents.dims()[2];
        let factor = vae.config().temporal_factor();
        let chunks: Vec<Tensor<5>> = vae.decode(latents).collect();
        let lengths: Vec<usize> = chunks.iter().map(|chunk| chunk.dims()[2]).collect();
        let expected = [vec![1], vec![factor; latent_frames - 1]].concat();
        assert_eq!(lengths, expected, "{name}");
        fixture.assert_close(&format!("output.decoded_{count}"), whole(chunks.into_iter()));
    }
}

#[test]
fn clips_of_levels_that_halve_frames_once_or_never() {
    check("a");
    check("b");
}

#[test]
fn clips_with_attention_at_a_scale() {
    check("twice");
}

#[test]
fn clips_of_the_levels_of_2_1() {
    check("2_1");
}

#[test]
fn clips_of_the_levels_of_2_2() {
    check("2_2");
    check("residual");
}

#[test]
fn clips_in_tiles() {
    check("tiled");
    check("tiled_patches");
}

#[test]
fn small_frames_stay_whole() {
    let device = t2v_test_support::device();
    let Case { fixture, mut vae, .. } = open("twice");
    vae.set_tiling(true);
    let latents: Tensor<5> = fixture.tensor("input.latents_5", &device);
    fixture.assert_close("output.decoded_5", whole(vae.decode(latents)));
}

#[test]
fn normalisation_is_undone() {
    let device = t2v_test_support::device();
    let Case { fixture, vae, .. } = open("a");
    let latents: Tensor<5> = fixture.tensor("input.latents_5", &device);
    vae.unscale(vae.scale(latents.clone()))
        .into_data()
        .assert_approx_eq::<f32>(&latents.into_data(), Tolerance::absolute(1e-5));
}

#[test]
fn small_decoders() {
    let device = t2v_test_support::device();
    for name in ["a", "b"] {
        let fixture = Fixture::open(&format!(
            "{}/tests/fixtures/wan_tiny_{name}.safetensors",
            env!("CARGO_MANIFEST_DIR")
        ));
        let sizes: Value = fixture.config();
        let size = |value: &Value| value.as_u64().unwrap() as usize;
        let config = TinyWanConfig {
            latent_channels: size(&sizes["latent_channels"]),
            channels: [0, 1, 2, 3].map(|stage| size(&sizes["channels"][stage])),
            patch_size: size(&sizes["patch_size"]),
        };
        let options = LoadOptions::new(DType::F32, &device);
        let decoder = TinyWanDecoder::load(config, &fixture.weights(), &options).unwrap();
        let chunks: Vec<Tensor<5>> = decoder.decode(fixture.tensor("input.latents", &device)).collect();
        let lengths: Vec<usize> = chunks.iter().map(|chunk| chunk.dims()[2]).collect();
        assert_eq!(lengths, [1, 4, 4]);
        fixture.assert_close("output.decoded", whole(chunks.into_iter()));
        let none = TinyWanConfig {
            latent_channels: 0,
            ..config
        };
        let error = TinyWanDecoder::load(none, &fixture.weights(), &options).unwrap_err();
        assert!(error.to_string().contains("latent_channels"), "{error}");
    }
}
