//! What else there is to Wan's autoencoder: files of Wan's own, clips of other lengths, half precision.

use burn::tensor::{DType, Tensor, Tolerance};
use t2v_test_support::{Fixture, LayoutKeys};
use t2v_vae::{AutoencoderKlWan, AutoencoderKlWanConfig, LatentCodec, wan::original};
use t2v_weights::{LoadOptions, Network};

fn fixture(name: &str) -> Fixture {
    Fixture::open(&format!(
        "{}/tests/fixtures/wan_{name}.safetensors",
        env!("CARGO_MANIFEST_DIR")
    ))
}

fn load(name: &str, dtype: DType) -> (Fixture, AutoencoderKlWan) {
    let fixture = fixture(name);
    let options = LoadOptions::new(dtype, &t2v_test_support::device());
    let vae = AutoencoderKlWan::from_weights(fixture.config(), &fixture.weights(), &options).unwrap();
    (fixture, vae)
}

#[test]
fn frames_after_the_last_whole_group_are_left_out() {
    let device = t2v_test_support::device();
    let (fixture, vae) = load("2_1", DType::F32);
    let clip: Tensor<5> = fixture.tensor("input.clip_9", &device);
    let means = |frames| {
        let part = clip.clone().slice_dim(2, 0..frames);
        Tensor::cat(vae.encode(part).map(|posterior| posterior.mean).collect(), 2)
    };
    assert_eq!([1, 4, 5, 8, 9].map(|frames| means(frames).dims()[2]), [1, 1, 2, 2, 3]);
    means(8)
        .into_data()
        .assert_approx_eq::<f32>(&means(5).into_data(), Tolerance::absolute(1e-6));
}

#[test]
fn half_precision_is_near() {
    let device = t2v_test_support::device();
    let (fixture, vae) = load("residual", DType::F16);
    assert_eq!(vae.dtype(), DType::F16);
    let latents: Tensor<5> = fixture.tensor("input.latents_5", &device);
    let decoded = Tensor::cat(vae.decode(latents).collect(), 2);
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
    let fixture = fixture("2_1");
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
