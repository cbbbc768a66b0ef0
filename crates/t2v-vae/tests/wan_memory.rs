//! Memory of long clips: what Wan's autoencoder holds does not grow with them.

#![allow(clippy::unwrap_used)]

use burn::tensor::{DType, Device, Distribution, Tensor};
use peak_alloc::PeakAlloc;
use t2v_test_support::Fixture;
use t2v_vae::{AutoencoderKlWan, LatentCodec};
use t2v_weights::{LoadOptions, Network};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Bytes allocated at once, at most, by something that runs.
fn peak(run: impl FnOnce()) -> usize {
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    run();
    ALLOCATOR.peak_usage() - before
}

/// As [`peak`], of a run on so many latent frames of 6 by 8.
fn peaks(vae: &AutoencoderKlWan, latent_frames: usize) -> [usize; 2] {
    let device = Device::flex();
    let random = |shape| Tensor::<5>::random(shape, Distribution::Normal(0.0, 0.5), &device);
    let latents = random([1, 3, latent_frames, 6, 8]);
    let clip = random([1, 3, 4 * (latent_frames - 1) + 1, 48, 64]);
    let decoding = peak(|| vae.decode(latents).for_each(drop));
    let encoding = peak(|| vae.encode(clip).for_each(drop));
    [decoding, encoding]
}

#[test]
fn does_not_grow_with_the_length() {
    let fixture = Fixture::open(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/wan_2_1.safetensors"
    ));
    let options = LoadOptions::new(DType::F32, &Device::flex());
    let vae = AutoencoderKlWan::from_weights(fixture.config(), &fixture.weights(), &options).unwrap();
    peaks(&vae, 3);
    let [short, long] = [4, 24].map(|frames| peaks(&vae, frames));
    // The frames of 20 more latents would be 2.9 MB.
    let frames = 20 * 4 * 3 * 48 * 64 * size_of::<f32>();
    for (short, long) in short.into_iter().zip(long) {
        assert!(long < short + frames / 8, "{short} {long} {frames}");
    }
}
