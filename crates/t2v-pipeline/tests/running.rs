//! How a generation is run: memory modes, latents kept, jobs, previews, what a cancelled one leaves.

#![allow(clippy::unwrap_used)]

use std::{path::Path, sync::Arc, time::Duration};

use t2v_pipeline::{
    CancelToken, Device, GenerateOptions, InitMedia, Job, JobEvent, Latents, MemoryMode, Pipeline, PipelineError,
    Progress, Stage, TextToVideoRequest,
};

fn pipeline() -> Pipeline {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny_a");
    Pipeline::from_dir(folder, &Device::flex()).unwrap()
}

fn sequential_pipeline() -> Pipeline {
    let pipeline = pipeline();
    pipeline.set_memory_mode(MemoryMode::Sequential);
    pipeline
}

fn request() -> TextToVideoRequest {
    TextToVideoRequest::new("a red ball")
        .with_size(24, 16)
        .with_num_frames(3)
        .with_num_inference_steps(4)
        .with_seed(1)
}

/// Options that cancel before the call or frame `at` of a stage.
fn cancelling(stage: Stage, at: usize, keep: bool) -> GenerateOptions<'static> {
    let mut options = GenerateOptions::default();
    options.keep_on_cancel = keep;
    let cancel = options.cancel.clone();
    options.on_progress = Some(Box::new(move |progress: Progress| {
        if progress.stage == stage && progress.done == at {
            cancel.cancel();
        }
    }));
    options
}

#[test]
fn both_memory_modes_give_the_same_frames() {
    let resident = pipeline();
    let sequential = sequential_pipeline();
    let (a, b) = (
        resident.generate(&request()).unwrap(),
        sequential.generate(&request()).unwrap(),
    );
    assert_eq!(a.frames(), b.frames());
    assert!(resident.loaded_bytes() > 0);
    assert_eq!(sequential.loaded_bytes(), 0);
    sequential.preload().unwrap();
    assert_eq!(sequential.loaded_bytes(), 0);
}

#[test]
fn loading_is_told_once_in_resident_mode() {
    let pipeline = pipeline();
    let loads = || {
        let mut loads = 0;
        let options = GenerateOptions::default().with_progress(|progress| {
            loads += usize::from(progress.stage == Stage::Loading && progress.done == 1);
        });
        pipeline.generate_with(&request(), options).unwrap();
        loads
    };
    assert_eq!([loads(), loads()], [3, 0]);
}

#[test]
fn kept_latents_are_decoded_to_the_same_frames() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("latents.safetensors");
    let options = GenerateOptions::default().with_latents(|latents| latents.save(&path));
    let video = pipeline().generate_with(&request(), options).unwrap();

    let latents = Latents::open(&path).unwrap();
    assert_eq!(latents.shape()[2], 3);
    assert_eq!(latents.report(), video.report());
    let again = pipeline().decode(&latents, GenerateOptions::default()).unwrap();
    assert_eq!(again.frames(), video.frames());
    assert_eq!(again.frame_rate(), video.frame_rate());

    std::fs::write(&path, b"not latents").unwrap();
    let message = Latents::open(&path).unwrap_err().to_string();
    assert!(message.contains("latents.safetensors"), "{message}");
    let missing = latents
        .save(folder.path().join("no/such/folder"))
        .unwrap_err()
        .to_string();
    assert!(missing.contains("no/such/folder"), "{missing}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_failure_to_keep_latents_ends_the_generation() {
    let options = GenerateOptions::default().with_latents(|latents| latents.save("/no/such/folder/x"));
    let error = pipeline().generate_with(&request(), options).unwrap_err();
    assert!(matches!(error, PipelineError::Latents { .. }), "{error}");
}

#[test]
fn a_cancelled_generation_may_keep_what_it_has() {
    let pipeline = pipeline();
    let whole = pipeline.generate(&request()).unwrap();
    let denoising = pipeline
        .generate_with(&request(), cancelling(Stage::Denoising, 2, true))
        .unwrap();
    assert!(denoising.report().interrupted && !whole.report().interrupted);
    assert_eq!(denoising.num_frames(), 3);
    assert_ne!(denoising.frames(), whole.frames());
    let decoding = pipeline
        .generate_with(&request(), cancelling(Stage::Decoding, 2, true))
        .unwrap();
    assert!(decoding.report().interrupted);
    assert_eq!(decoding.num_frames(), 2);
    assert_eq!(decoding.frames(), &whole.frames()[..decoding.frames().len()]);
    for (stage, at, keep) in [
        (Stage::Denoising, 2, false),
        (Stage::Decoding, 2, false),
        (Stage::Denoising, 0, true),
        (Stage::Loading, 0, true),
    ] {
        let result = self::pipeline().generate_with(&request(), cancelling(stage, at, keep));
        assert!(matches!(result, Err(PipelineError::Cancelled)), "{stage} {at}");
    }
}

#[test]
fn previews_come_as_often_as_asked_and_look_like_the_result() {
    let mut previews = Vec::new();
    let options = GenerateOptions::default().with_previews(2, |preview| previews.push(preview.clone()));
    let request = TextToVideoRequest::new("a red ball over the sea")
        .with_num_frames(2)
        .with_num_inference_steps(4)
        .with_seed(1);
    let embedded = Pipeline::embedded(&Device::flex()).unwrap();
    let video = embedded.generate_with(&request, options).unwrap();
    assert_eq!(
        previews.iter().map(|p| (p.done, p.total)).collect::<Vec<_>>(),
        [(2, 4), (4, 4)]
    );
    let pictures = &previews[1].frames;
    assert_eq!(pictures.len(), 2);
    let (factor, size) = (8, pictures[0].dimensions());
    assert_eq!(
        (size.0 as usize * factor, size.1 as usize * factor),
        (video.width(), video.height())
    );
    // Each pixel against the mean colour of the block that it stands for.
    let block = |frame: usize, x: u32, y: u32, channel: usize| {
        let pixel = |i: usize| {
            let (x, y) = (x as usize * factor + i % factor, y as usize * factor + i / factor);
            video.frames()[((frame * video.height() + y) * video.width() + x) * 3 + channel]
        };
        (0..factor * factor).map(pixel).sum::<f32>() / (factor * factor) as f32
    };
    let mut pairs = Vec::new();
    for (frame, picture) in pictures.iter().enumerate() {
        for (x, y, pixel) in picture.enumerate_pixels() {
            pairs.extend((0..3).map(|c| (f32::from(pixel[c]) / 255.0, block(frame, x, y, c))));
        }
    }
    let correlation = correlation(&pairs);
    assert!(correlation > 0.7, "{correlation}");
}

fn correlation(pairs: &[(f32, f32)]) -> f32 {
    let count = pairs.len() as f32;
    let (a, b) = pairs
        .iter()
        .fold((0.0, 0.0), |sum, pair| (sum.0 + pair.0, sum.1 + pair.1));
    let of = |f: fn(f32, f32) -> f32| {
        pairs
            .iter()
            .map(|pair| f(pair.0 - a / count, pair.1 - b / count))
            .sum::<f32>()
    };
    of(|x, y| x * y) / (of(|x, _| x * x) * of(|_, y| y * y)).sqrt()
}

#[test]
fn a_job_tells_what_it_does_and_gives_the_video() {
    let pipeline = Arc::new(pipeline());
    let mut options = GenerateOptions::default();
    options.preview_every = Some(4);
    let job = Job::start(Arc::clone(&pipeline), request(), options);
    let events: Vec<JobEvent> = job.events().collect();
    let video = job.wait().unwrap();
    assert_eq!(video.frames(), pipeline.generate(&request()).unwrap().frames());
    let steps: Vec<Progress> = events
        .iter()
        .filter_map(|event| match event {
            JobEvent::Progress(progress) if progress.stage == Stage::Denoising => Some(*progress),
            _ => None,
        })
        .collect();
    assert_eq!(
        steps.iter().map(|p| p.percentage()).collect::<Vec<_>>(),
        [0.0, 25.0, 50.0, 75.0, 100.0]
    );
    assert_eq!(steps[0].eta(), None);
    assert!(steps[2].eta().unwrap() > Duration::ZERO);
    assert_eq!(steps[4].eta(), Some(Duration::ZERO));
    assert_eq!(
        events
            .iter()
            .filter(|event| matches!(event, JobEvent::Preview(_)))
            .count(),
        1
    );
}

#[test]
fn a_job_can_be_cancelled_and_a_panic_leaves_the_pipeline_usable() {
    let pipeline = Arc::new(pipeline());
    let mut options = GenerateOptions::default();
    let cancel = CancelToken::new();
    options.cancel = cancel.clone();
    cancel.cancel();
    let job = Job::start(Arc::clone(&pipeline), request(), options);
    assert!(matches!(job.wait(), Err(PipelineError::Cancelled)));

    let options = GenerateOptions::default().with_progress(|progress| {
        assert!(progress.stage != Stage::Denoising || progress.done < 2, "made up");
    });
    let error = Job::start(Arc::clone(&pipeline), request(), options)
        .wait()
        .unwrap_err();
    assert!(
        matches!(&error, PipelineError::Panicked(message) if message.contains("made up")),
        "{error}"
    );
    pipeline.generate(&request()).unwrap();
}

#[test]
fn frames_decoded_from_foreign_latents_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("latents.safetensors");
    let options = GenerateOptions::default().with_latents(|latents| latents.save(&path));
    pipeline().generate_with(&request(), options).unwrap();
    let embedded = Pipeline::embedded(&Device::flex()).unwrap();
    let error = embedded
        .decode(&Latents::open(&path).unwrap(), GenerateOptions::default())
        .unwrap_err();
    assert!(error.to_string().contains("channels"), "{error}");
}

#[test]
fn sequential_mode_takes_pictures_to_start_from() {
    let picture = image::RgbImage::from_fn(24, 16, |x, y| image::Rgb([(x * 9) as u8, (y * 9) as u8, 80]));
    let run = |pipeline: Pipeline| {
        let options = GenerateOptions::default().with_init(InitMedia::Image(picture.clone()));
        pipeline.generate_with(&request().with_strength(0.5), options).unwrap()
    };
    let sequential = sequential_pipeline();
    assert_eq!(run(pipeline()).frames(), run(sequential).frames());
}
