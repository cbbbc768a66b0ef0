//! Single networks: the text encoder, the whole U-Net, the autoencoder.

use burn::tensor::{DType, Tensor};
use serde_json::Value;
use t2v_benches::Error;
use t2v_denoiser::{Conditioning, Denoiser, UNet3d};
use t2v_test_support::Fixture;
use t2v_text_encoder::ClipTextModel;
use t2v_vae::{AutoencoderKl, AutoencoderKlConfig};
use t2v_weights::Network;

use super::{Compared, Golden};

type Compare = fn(&Golden) -> Result<Vec<Compared>, Error>;

/// Each fixture, and how a device is compared with it.
pub(super) const ALL: [(&str, Compare); 7] = [
    ("clip_quick_gelu", |golden| text_encoder(golden, "clip_quick_gelu")),
    ("clip_gelu", |golden| text_encoder(golden, "clip_gelu")),
    ("unet_a", |golden| unet(golden, "unet_a", &["", ".1"])),
    ("unet_b", |golden| unet(golden, "unet_b", &[""])),
    ("vae_a", |golden| autoencoder(golden, "vae_a")),
    ("vae_b", |golden| autoencoder(golden, "vae_b")),
    ("vae_tiled", |golden| autoencoder(golden, "vae_tiled")),
];

fn text_encoder(golden: &Golden, name: &str) -> Result<Vec<Compared>, Error> {
    let (fixture, options) = (
        golden.fixture("t2v-text-encoder", name)?,
        golden.target.placement().load_options()?,
    );
    let model = ClipTextModel::from_weights(fixture.config(), &fixture.weights(), &options)?;
    let ids = fixture.int_tensor("input.input_ids", golden.target.device());
    ["last_hidden_state", "clip_skip_1", "clip_skip_2"]
        .into_iter()
        .enumerate()
        .map(|(skip, output)| beside(&fixture, output, model.forward(ids.clone(), skip)?))
        .collect()
}

fn unet(golden: &Golden, name: &str, cases: &[&str]) -> Result<Vec<Compared>, Error> {
    let (fixture, options) = (
        golden.fixture("t2v-denoiser", name)?,
        golden.target.placement().load_options()?,
    );
    let (device, dtype) = (golden.target.device(), golden.target.dtype()?);
    let model = UNet3d::from_weights(fixture.config(), &fixture.weights(), &options)?;
    let compare = |case: &&str| {
        let timestep = fixture.values(&format!("input.timestep{case}")).1;
        let latents = fixture.tensor::<5>(&format!("input.sample{case}"), device);
        let text = fixture.tensor::<3>(&format!("input.encoder_hidden_states{case}"), device);
        let timestep = timestep.first().copied().ok_or("the fixture has no timestep")?;
        let output = model.forward(
            latents.cast(dtype),
            f64::from(timestep),
            &Conditioning::new(text.cast(dtype)),
        );
        beside(&fixture, &format!("sample{case}"), output)
    };
    cases.iter().map(compare).collect()
}

fn autoencoder(golden: &Golden, name: &str) -> Result<Vec<Compared>, Error> {
    let (fixture, options) = (
        golden.fixture("t2v-vae", name)?,
        golden.target.placement().load_options()?,
    );
    let device = golden.target.device();
    let config: AutoencoderKlConfig = fixture.config();
    // As a pipeline loads it.
    let options = match config.force_upcast {
        Some(true) => options.in_single_precision(),
        _ => options,
    };
    let call: Value = fixture.metadata("call");
    let tiled = call["use_tiling"]
        .as_bool()
        .ok_or("the fixture doesn't say whether it is tiled")?;
    let vae = AutoencoderKl::from_weights(config, &fixture.weights(), &options)?.with_tiling(tiled);
    let frames = fixture.tensor::<4>("input.frames", device);
    let latents = fixture.tensor::<4>("input.latents", device);
    Ok(vec![
        beside(
            &fixture,
            "mean",
            each_frame(frames.clone(), |x| vae.encode_frame(x).mean),
        )?,
        beside(&fixture, "std", each_frame(frames, |x| vae.encode_frame(x).std))?,
        beside(&fixture, "decoded", each_frame(latents, |x| vae.decode_frame(x)))?,
    ])
}

fn each_frame(x: Tensor<4>, f: impl Fn(Tensor<4>) -> Tensor<4>) -> Tensor<4> {
    let frames = (0..x.dims()[0]).map(|i| f(x.clone().slice_dim(0, i..i + 1)));
    Tensor::cat(frames.collect(), 0)
}

/// A result beside the fixture's tensor `output.NAME`.
fn beside<const D: usize>(fixture: &Fixture, name: &str, actual: Tensor<D>) -> Result<Compared, Error> {
    let (shape, expected) = fixture.values(&format!("output.{name}"));
    if actual.dims().as_slice() != shape.as_slice() {
        return Err(format!("{name}: shape {:?} instead of {shape:?}", actual.dims()).into());
    }
    let actual = actual.cast(DType::F32).try_into_vec_as::<f32>()?;
    Compared::new(name, &actual, &expected)
}
