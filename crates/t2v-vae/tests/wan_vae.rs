//! Wan's autoencoder against diffusers (`scripts/make_t2v_vae_wan_fixtures.py`), and what its chunks are.

#![allow(clippy::unwrap_used)]

use burn::tensor::{DType, Tensor, Tolerance};
use serde::Deserialize;
use t2v_test_support::{Fixture, LayoutKeys};
use t2v_vae::{AutoencoderKlWan, AutoencoderKlWanConfig, LatentCodec, Posterior, WanTiling, wan::original};
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
fn what_is_remembered_does_not_depend_on_the_length() {
    let device = t2v_test_support::device();
    let Case { fixture, vae, .. } = open("2_1");
    let latents: Tensor<5> = fixture.tensor("input.latents_9", &device);
    let expected = fixture.values("output.decoded_9").1;
    // A longer clip begins with the same chunks, which come before the others are computed.
    let longer = Tensor::cat(vec![latents.clone(), latents.clone() * 50.0], 2);
    let first: Vec<Tensor<5>> = vae.decode(longer).take(latents.dims()[2]).collect();
    let first = whole(first.into_iter());
    let decoded: Vec<f32> = first.clone().into_data().iter::<f32>().collect();
    assert_eq!(decoded.len(), expected.len());
    fixture.assert_close("output.decoded_9", first);

    // Frames that make no whole group are left out, as upstream does.
    let clip: Tensor<5> = fixture.tensor("input.clip_9", &device);
    let means = |frames| {
        whole(
            vae.encode(clip.clone().slice_dim(2, 0..frames))
                .map(|posterior| posterior.mean),
        )
    };
    assert_eq!([1, 4, 5, 8, 9].map(|frames| means(frames).dims()[2]), [1, 1, 2, 2, 3]);
    means(8)
        .into_data()
        .assert_approx_eq::<f32>(&means(5).into_data(), Tolerance::absolute(1e-6));
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
fn half_precision_is_near() {
    let device = t2v_test_support::device();
    let fixture = open("residual").fixture;
    let options = LoadOptions::new(DType::F16, &device);
    let vae = AutoencoderKlWan::from_weights(fixture.config(), &fixture.weights(), &options).unwrap();
    assert_eq!(vae.dtype(), DType::F16);
    let latents: Tensor<5> = fixture.tensor("input.latents_5", &device);
    let decoded = whole(vae.decode(latents));
    assert_eq!(decoded.dtype(), DType::F32);
    let values: Vec<f32> = decoded.into_data().iter::<f32>().collect();
    let expected = fixture.values("output.decoded_5").1;
    let squares = values
        .iter()
        .zip(&expected)
        .map(|(a, b)| (a - b) * (a - b))
        .sum::<f32>();
    let error = (squares / values.len() as f32).sqrt();
    assert!(error < 5e-3, "{error}");
}

#[test]
fn all_tensors_of_wans_own_files_are_taken_as_diffusers_takes_them() {
    for (name, config) in [
        ("wan_2_1", original::wan_2_1_config()),
        ("wan_2_2", original::wan_2_2_config()),
    ] {
        let keys = LayoutKeys::read(env!("CARGO_MANIFEST_DIR"), name);
        let parsed: AutoencoderKlWanConfig = serde_json::from_value(config.clone()).unwrap();
        keys.assert_taken_by(&original::autoencoder_kl_wan(&parsed));
        for (key, value) in config.as_object().unwrap() {
            let is_of_2_1 = name == "wan_2_1" || !key.starts_with("latents_");
            if key != "_class_name" && is_of_2_1 {
                assert_eq!(keys.config[key], *value, "{name} {key}");
            }
        }
        // A file in diffusers' layout passes as it is.
        let model = keys.model();
        let shapes = model.iter().map(|(name, shape)| (name.as_str(), shape.as_slice()));
        let taken = original::autoencoder_kl_wan(&parsed).plan("file", shapes).unwrap();
        assert!(taken.iter().all(|tensor| tensor.name == tensor.source));
    }
}

#[test]
fn missing_tensors_are_named_as_in_the_file() {
    let fixture = open("2_1").fixture;
    let options = LoadOptions::new(DType::F32, &t2v_test_support::device());
    let mut config: AutoencoderKlWanConfig = fixture.config();
    config.num_res_blocks = 2;
    let error = AutoencoderKlWan::from_weights(config, &fixture.weights(), &options).unwrap_err();
    let message = error.to_string();
    assert!(
        message.contains("decoder.up_blocks.0.resnets.2.norm1.gamma"),
        "{message}"
    );
}
