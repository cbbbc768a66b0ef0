//! Generation with a tiny checkpoint: determinism, progress, cancelling, pictures to start from.

use crate::folders::fixture;
use image::{Rgb, RgbImage};
use t2v_pipeline::{
    CancelToken, Device, GenerateOptions, InitMedia, Pipeline, PipelineError, Progress, Stage, TextToVideoRequest,
};

fn pipeline() -> Pipeline {
    Pipeline::from_dir(fixture("tiny_a"), &Device::flex()).unwrap()
}

fn request() -> TextToVideoRequest {
    TextToVideoRequest::new("a red ball")
        .with_size(24, 16)
        .with_num_frames(2)
        .with_num_inference_steps(3)
        .with_seed(1)
}

fn stripes(width: u32, height: u32, phase: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| Rgb([(x * 20 + phase) as u8, (y * 20) as u8, 90]))
}

fn difference(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn is_shared_between_threads() {
    fn assert_send_sync<T: Send + Sync>() {}
    assert_send_sync::<Pipeline>();
}

#[test]
fn the_same_request_gives_the_same_frames() {
    let pipeline = pipeline();
    let first = pipeline.generate(&request()).unwrap();
    assert_eq!(first.frames(), pipeline.generate(&request()).unwrap().frames());
    assert!(first.frames().iter().all(|v| (0.0..=1.0).contains(v)));
}

#[test]
fn a_drawn_seed_is_reported_and_repeats_the_run() {
    let pipeline = pipeline();
    let mut request = request();
    request.seed = None;
    let first = pipeline.generate(&request).unwrap();
    let again = pipeline.generate(&request.with_seed(first.report().seed)).unwrap();
    assert_eq!(first.frames(), again.frames());
}

#[test]
fn progress_is_told_and_cancelling_stops() {
    let pipeline = pipeline();
    let cancel = CancelToken::new();
    let mut seen: Vec<Progress> = Vec::new();
    let mut options = GenerateOptions::default();
    options.cancel = cancel.clone();
    options.on_progress = Some(Box::new(|progress| {
        seen.push(progress);
        if progress.stage == Stage::Denoising && progress.done == 1 {
            cancel.cancel();
        }
    }));
    let error = pipeline.generate_with(&request(), options).unwrap_err();
    assert!(matches!(error, PipelineError::Cancelled));
    let last = seen.last().unwrap();
    assert_eq!((last.stage, last.done, last.total), (Stage::Denoising, 1, 3));
    pipeline.generate(&request()).unwrap();
}

#[test]
fn sizes_that_the_model_cannot_have_are_refused_with_the_nearest() {
    let message = pipeline()
        .generate(&request().with_size(25, 16))
        .unwrap_err()
        .to_string();
    assert!(message.contains("width") && message.contains("24 or 32"), "{message}");
}

#[test]
fn strength_says_how_much_of_a_picture_is_kept() {
    let pipeline = pipeline();
    let picture = stripes(24, 16, 0);
    let start = |strength: f64| {
        let options = GenerateOptions::default().with_init(InitMedia::Image(picture.clone()));
        let request = request().with_num_inference_steps(10).with_strength(strength);
        pipeline.generate_with(&request, options).unwrap()
    };
    assert!(difference(start(0.2).frames(), start(0.9).frames()) > 1e-3);
    let options = GenerateOptions::default().with_init(InitMedia::Image(picture.clone()));
    let error = pipeline
        .generate_with(&request().with_strength(0.1), options)
        .unwrap_err();
    assert!(error.to_string().contains("strength"), "{error}");
}

#[test]
fn a_video_to_start_from_sets_the_number_of_frames() {
    let folder = tempfile::tempdir().unwrap();
    for i in 0..4 {
        stripes(30, 20, i)
            .save(folder.path().join(format!("{i:03}.png")))
            .unwrap();
    }
    let options = GenerateOptions::default().with_init(InitMedia::open_video(folder.path()).unwrap());
    let video = pipeline().generate_with(&request(), options).unwrap();
    assert_eq!((video.num_frames(), video.width(), video.height()), (4, 24, 16));
}

#[test]
fn a_saved_video_can_be_started_from() {
    let folder = tempfile::tempdir().unwrap();
    let first = pipeline().generate(&request()).unwrap();
    let mut results = Vec::new();
    for name in ["first.mp4", "first.gif"] {
        let path = folder.path().join(name);
        first.save(&path).unwrap();
        let options = GenerateOptions::default().with_init(InitMedia::open_video(&path).unwrap());
        results.push(pipeline().generate_with(&request(), options).unwrap());
    }
    assert_eq!(results[0].num_frames(), first.num_frames());
    // Both hold nearly the same pictures.
    assert!(difference(results[0].frames(), results[1].frames()) < 0.5);
}

#[test]
fn init_media_that_are_made_in_code_are_checked() {
    let pipeline = pipeline();
    for (media, expected) in [
        (InitMedia::Video(vec![]), "no frames"),
        (InitMedia::Image(RgbImage::new(0, 0)), "0x0 pixels"),
        (
            InitMedia::Video(vec![stripes(24, 16, 0), stripes(16, 24, 0)]),
            "frame 1 has 16x24",
        ),
    ] {
        let options = GenerateOptions::default().with_init(media);
        let error = pipeline.generate_with(&request(), options).unwrap_err();
        assert!(matches!(error, PipelineError::Request(_)), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn unusable_init_media_are_named() {
    let folder = tempfile::tempdir().unwrap();
    for path in [
        folder.path().to_path_buf(),
        folder.path().join("x.gif"),
        folder.path().join("x.avi"),
    ] {
        let message = InitMedia::open_video(&path).unwrap_err().to_string();
        assert!(message.contains(path.to_str().unwrap()), "{message}");
    }
    let text = folder.path().join("x.png");
    std::fs::write(&text, "no picture").unwrap();
    assert!(InitMedia::open_image(&text).is_err());
}

#[test]
fn saves_an_mp4() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.mp4");
    pipeline().generate(&request()).unwrap().save(&path).unwrap();
    assert_eq!(&std::fs::read(&path).unwrap()[4..8], b"ftyp");
    let nowhere = folder.path().join("missing/x.mp4");
    let video = pipeline().generate(&request()).unwrap();
    assert!(video.save(&nowhere).unwrap_err().to_string().contains("missing"));
    assert!(t2v_pipeline::check_output("").is_err());
}
