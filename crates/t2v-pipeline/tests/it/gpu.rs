//! A GPU through wgpu, or Mesa's lavapipe in its place: `cargo test -p t2v-pipeline --features wgpu --test it gpu -- --ignored`.

use std::sync::{Arc, Mutex};

use crate::folders::fixture;
use t2v_pipeline::{
    Backend, Device, DeviceName, Dtype, GenerateOptions, MemoryMode, Pipeline, PipelineError, Placement, Stage,
    TextToVideoRequest, Video, found_devices,
};

fn gpu() -> Device {
    let name = DeviceName::new(Backend::Wgpu, 0);
    name.device().unwrap()
}

/// Decibels, of clips after two guided steps: 52.6 and 51.5 on lavapipe.
const HALF_ON_MODELSCOPE: f64 = 40.0;
const HALF_ON_ANIMATEDIFF: f64 = 40.0;

fn request() -> TextToVideoRequest {
    TextToVideoRequest::new("a red ball bouncing in a blue sky")
        .with_num_inference_steps(2)
        .with_num_frames(4)
        .with_seed(0)
}

/// Peak signal to noise, in decibels.
fn psnr(a: &Video, b: &Video) -> f64 {
    let squares = a.frames().iter().zip(b.frames()).map(|(a, b)| f64::from(a - b).powi(2));
    -10.0 * (squares.sum::<f64>() / a.frames().len() as f64).log10()
}

fn largest_difference(a: &Video, b: &Video) -> f32 {
    let differences = a.frames().iter().zip(b.frames()).map(|(a, b)| (a - b).abs());
    differences.fold(0.0, f32::max)
}

fn on_the_cpu() -> Video {
    let pipeline = Pipeline::embedded(&Device::flex()).unwrap();
    pipeline.generate(&request()).unwrap()
}

#[test]
#[ignore = "needs a GPU, or Mesa's lavapipe"]
fn frames_are_those_of_the_cpu() {
    let expected = on_the_cpu();
    let pipeline = Pipeline::embedded(&gpu()).unwrap();
    let colds = Arc::new(Mutex::new(Vec::new()));
    for is_first in [true, false] {
        let told = Arc::clone(&colds);
        let mut options = GenerateOptions::default();
        options.on_progress = Some(Box::new(move |progress| {
            if progress.stage == Stage::Denoising && progress.done == 0 {
                told.lock().unwrap().push(progress.warming_up);
            }
        }));
        let video = pipeline.generate_with(&request(), options).unwrap();
        let difference = largest_difference(&video, &expected);
        assert!(difference < 1e-3, "first {is_first}: {difference}");
        assert_eq!(video.report().dtype, "f32");
    }
    // Kernels are compiled for a size once, and progress says when.
    assert_eq!(*colds.lock().unwrap(), [true, false]);
}

#[test]
#[ignore = "needs a GPU, or Mesa's lavapipe"]
fn half_precision_is_near_the_cpu() {
    let expected = on_the_cpu();
    let half = Pipeline::embedded(Placement::new(&gpu()).with_dtype(Dtype::F16)).unwrap();
    half.set_memory_mode(MemoryMode::Sequential);
    let video = half.generate(&request()).unwrap();
    assert_eq!(video.report().dtype, "f16");
    assert_eq!(half.loaded_bytes(), 0);
    let psnr = psnr(&video, &expected);
    assert!((40.0..100.0).contains(&psnr), "{psnr} dB");
}

/// Small checkpoints of ModelScope's and AnimateDiff's architectures with random weights, which amplify rounding more than
/// trained ones.
#[test]
#[ignore = "needs a GPU, or Mesa's lavapipe"]
fn half_precision_stays_near_on_random_weights() {
    let gpu = gpu();
    for (name, least) in [("tiny_a", HALF_ON_MODELSCOPE), ("animatediff", HALF_ON_ANIMATEDIFF)] {
        let folder = fixture(name);
        let made = |dtype| {
            let pipeline = Pipeline::from_dir(&folder, Placement::new(&gpu).with_dtype(dtype)).unwrap();
            pipeline.generate(&request().with_size(32, 32)).unwrap()
        };
        let psnr = psnr(&made(Dtype::F16), &made(Dtype::F32));
        println!("{name}: f16 against f32 {psnr:.1} dB");
        assert!((least..100.0).contains(&psnr), "{name}: {psnr} dB");
    }
}

#[test]
#[ignore = "needs a GPU, or Mesa's lavapipe"]
fn what_an_adapter_cannot_do_is_refused_with_what_it_can() {
    let gpu = gpu();
    // WGSL has no bf16.
    let error = Pipeline::embedded(Placement::new(&gpu).with_dtype(Dtype::Bf16)).unwrap_err();
    let message = error.to_string();
    assert!(message.contains("can't compute in bf16; it can in f32"), "{message}");
    let found = found_devices();
    let device = found.iter().find(|found| found.name.to_string() == "wgpu").unwrap();
    assert!(
        device.dtypes.contains(&Dtype::F32) && !device.adapter.is_empty(),
        "{device}"
    );
}

#[test]
#[ignore = "needs a GPU, or Mesa's lavapipe"]
fn what_is_too_large_is_an_error_after_which_the_pipeline_goes_on() {
    let pipeline = Pipeline::embedded(&gpu()).unwrap();
    let huge = request().with_size(1024, 1024).with_num_frames(128);
    match pipeline.generate(&huge) {
        Err(PipelineError::TooLarge(reason)) => assert!(!reason.is_empty()),
        Err(error) => panic!("{error}"),
        // A card may have the memory.
        Ok(video) => assert_eq!(video.num_frames(), 128),
    }
    assert_eq!(pipeline.generate(&request()).unwrap().num_frames(), 4);
}
