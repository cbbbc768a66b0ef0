//! The autoencoders against diffusers (`scripts/make_t2v_vae_fixtures.py`, `make_t2v_vae_wan_fixtures.py`).

mod wan;

use burn::tensor::{DType, Tensor};
use serde_json::Value;
use t2v_test_support::Fixture;
use t2v_vae::AutoencoderKl;
use t2v_weights::{LoadOptions, Network};

fn each_frame(x: Tensor<4>, f: impl Fn(Tensor<4>) -> Tensor<4>) -> Tensor<4> {
    Tensor::cat(
        (0..x.dims()[0]).map(|i| f(x.clone().slice_dim(0, i..i + 1))).collect(),
        0,
    )
}

#[test]
fn encodes_and_decodes_as_diffusers() {
    let device = t2v_test_support::device();
    for name in ["vae_a", "vae_b", "vae_tiled"] {
        let fixture = Fixture::open(&format!(
            "{}/tests/fixtures/{name}.safetensors",
            env!("CARGO_MANIFEST_DIR")
        ));
        let call: Value = fixture.metadata("call");
        let tiled = call["use_tiling"].as_bool().unwrap();
        let vae = AutoencoderKl::from_weights(
            fixture.config(),
            &fixture.weights(),
            &LoadOptions::new(DType::F32, &device),
        )
        .unwrap()
        .with_tiling(tiled);
        let frames = fixture.tensor("input.frames", &device);
        fixture.assert_close("output.mean", each_frame(frames.clone(), |x| vae.encode_frame(x).mean));
        fixture.assert_close("output.std", each_frame(frames, |x| vae.encode_frame(x).std));
        let latents = fixture.tensor("input.latents", &device);
        fixture.assert_close("output.decoded", each_frame(latents, |x| vae.decode_frame(x)));
    }
}

#[test]
fn scaling_is_undone() {
    let device = t2v_test_support::device();
    let fixture = Fixture::open(&format!(
        "{}/tests/fixtures/vae_b.safetensors",
        env!("CARGO_MANIFEST_DIR")
    ));
    let vae = AutoencoderKl::from_weights(
        fixture.config(),
        &fixture.weights(),
        &LoadOptions::new(DType::F32, &device),
    )
    .unwrap();
    let latents = Tensor::<1>::from_floats([-1.0, 0.0, 2.0], &device);
    let scaled = vae.scale(latents.clone());
    // shift_factor 0.1, scaling_factor 0.5
    let expected = burn::tensor::TensorData::from([-0.55f32, -0.05, 0.95]);
    let tolerance = burn::tensor::Tolerance::absolute(1e-6);
    scaled.clone().into_data().assert_approx_eq::<f32>(&expected, tolerance);
    let tolerance = burn::tensor::Tolerance::absolute(1e-6);
    vae.unscale(scaled)
        .into_data()
        .assert_approx_eq::<f32>(&latents.into_data(), tolerance);
}
