//! The autoencoder in latent-diffusion's layout (`scripts/make_single_file_fixtures.py`).

use burn::tensor::DType;
use serde_json::Value;
use t2v_test_support::{Fixture, LayoutKeys};
use t2v_vae::{AutoencoderKl, AutoencoderKlConfig, ldm};
use t2v_weights::{LoadOptions, Network};

#[test]
fn all_tensors_are_taken_as_diffusers_takes_them() {
    let keys = LayoutKeys::read(env!("CARGO_MANIFEST_DIR"), "vae");
    keys.assert_taken_by(&ldm::autoencoder_kl(4));
    LayoutKeys::read(env!("CARGO_MANIFEST_DIR"), "small").assert_taken_by(&ldm::autoencoder_kl(3));
    let config = ldm::autoencoder_kl_config(512);
    for (key, expected) in keys.config.as_object().unwrap() {
        assert_eq!(config[key], *expected, "{key}");
    }
}

#[test]
fn encodes_and_decodes_as_diffusers() {
    let device = t2v_test_support::device();
    let fixture = Fixture::open(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/ldm_vae.safetensors"
    ));
    let config: AutoencoderKlConfig = fixture.config();
    let levels = config.block_out_channels.len();
    let weights = fixture.weights().with_selection(ldm::autoencoder_kl(levels));
    let vae = AutoencoderKl::from_weights(config, &weights, &LoadOptions::new(DType::F32, &device)).unwrap();
    let frames = fixture.tensor("input.frames", &device);
    fixture.assert_close("output.mean", vae.encode_frame(frames).mean);
    let latents = fixture.tensor("input.latents", &device);
    fixture.assert_close("output.decoded", vae.decode_frame(latents));
}

#[test]
fn what_a_whole_checkpoint_has_beside_it_is_left_out() {
    let keys = [
        ("first_stage_model.loss.logvar", &[][..]),
        ("first_stage_model.quant_conv.bias", &[8]),
        ("model.diffusion_model.out.0.bias", &[320]),
    ];
    let names = |keys: &[(&'static str, &'static [usize])]| -> Vec<String> {
        let taken = ldm::autoencoder_kl(4).plan("model.ckpt", keys.iter().copied()).unwrap();
        taken.into_iter().map(|tensor| tensor.name).collect()
    };
    assert_eq!(names(&keys), ["quant_conv.bias"]);
    // As in diffusers, the other prefix comes first.
    let other = ("vae.post_quant_conv.bias", &[4][..]);
    assert_eq!(names(&[keys[1], other]), ["post_quant_conv.bias"]);
    let config: Value = ldm::autoencoder_kl_config(768);
    assert_eq!(
        (&config["scaling_factor"], &config["sample_size"]),
        (&0.18215.into(), &768.into())
    );
}
