//! How a generation is run: memory modes, latents kept, jobs, previews, what a cancelled one leaves.

use std::{sync::Arc, time::Duration};

use crate::folders::fixture;
use t2v_pipeline::{
    CancelToken, Device, GenerateOptions, InitMedia, Job, JobEvent, Latents, MemoryMode, Pipeline, PipelineError,
    Progress, Stage, TextToVideoRequest,
};

fn pipeline() -> Pipeline {
    let folder = fixture("tiny_a");
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

/// What is told of loading, by network: bytes that are read and their total.
fn loads(run: impl FnOnce(GenerateOptions<'_>)) -> Vec<(&'static str, Vec<(usize, usize)>)> {
    let mut loads: Vec<(_, Vec<_>)> = Vec::new();
    run(GenerateOptions::default().with_progress(|progress| {
        assert_eq!(progress.component.is_some(), progress.stage == Stage::Loading);
        let Some(network) = progress.component else { return };
        if progress.done == 0 {
            loads.push((network, Vec::new()));
        }
        loads.last_mut().unwrap().1.push((progress.done, progress.total));
    }));
    loads
}

/// Bytes of the tensors of a safetensors file of the fixture.
fn tensor_bytes(file: &str) -> usize {
    let bytes = std::fs::read(fixture("tiny_a").join(file)).unwrap();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap());
    bytes.len() - 8 - header as usize
}

#[test]
fn loading_is_told_in_bytes_and_once_in_resident_mode() {
    let pipeline = pipeline();
    let generate = |options: GenerateOptions<'_>| drop(pipeline.generate_with(&request(), options).unwrap());
    let told = loads(generate);
    let names: Vec<_> = told.iter().map(|(network, _)| *network).collect();
    assert_eq!(names, ["text encoder", "denoiser", "autoencoder"]);
    let files = [
        "text_encoder/model",
        "unet/diffusion_pytorch_model",
        "vae/diffusion_pytorch_model",
    ];
    for ((network, bytes), file) in told.iter().zip(files) {
        assert!(bytes.is_sorted(), "{network} {bytes:?}");
        assert_eq!(bytes[0], (0, 0), "{network}");
        let total = tensor_bytes(&format!("{file}.safetensors"));
        assert_eq!(*bytes.last().unwrap(), (total, total), "{network}");
    }
    assert!(loads(generate).is_empty());
    assert!(loads(|options| pipeline.preload_with(options).unwrap()).is_empty());
    let ends = |told: &[(&'static str, Vec<(usize, usize)>)]| -> Vec<_> {
        told.iter()
            .map(|(network, bytes)| (*network, bytes.last().copied()))
            .collect()
    };
    let preloaded = loads(|options| self::pipeline().preload_with(options).unwrap());
    assert_eq!(ends(&preloaded), ends(&told));
}

#[test]
fn preloading_can_be_cancelled_and_done_again() {
    let pipeline = pipeline();
    let options = cancelling(Stage::Loading, 0, false);
    assert!(matches!(pipeline.preload_with(options), Err(PipelineError::Cancelled)));
    assert_eq!(pipeline.loaded_bytes(), 0);
    pipeline.preload().unwrap();
    assert!(pipeline.loaded_bytes() > 0);
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

/// A generation that stands still before its second model call until it is told to go on.
struct Held {
    job: Job,
    go_on: std::sync::mpsc::Sender<()>,
}

impl Held {
    fn start(pipeline: &Arc<Pipeline>) -> Self {
        let (go_on, wait) = std::sync::mpsc::channel::<()>();
        let (stands, standing) = std::sync::mpsc::channel();
        let options = GenerateOptions::default().with_progress(move |progress| {
            if progress.stage == Stage::Denoising && progress.done == 1 {
                stands.send(()).unwrap();
                let _ = wait.recv();
            }
        });
        let job = Job::start(Arc::clone(pipeline), request(), options);
        standing.recv_timeout(Duration::from_secs(60)).unwrap();
        Self { job, go_on }
    }

    fn finish(self) {
        self.go_on.send(()).unwrap();
        self.job.wait().unwrap();
    }
}

#[test]
fn checking_cancelling_and_counting_wait_for_no_generation() {
    let pipeline = Arc::new(pipeline());
    let held = Held::start(&pipeline);
    let error = pipeline.generate(&request().with_size(25, 16)).unwrap_err();
    assert!(matches!(error, PipelineError::Request(_)), "{error}");
    pipeline.check(&request()).unwrap();
    assert!(pipeline.loaded_bytes() > 1000);

    let queued = Job::start(Arc::clone(&pipeline), request(), GenerateOptions::default());
    let last = Job::start(Arc::clone(&pipeline), request(), GenerateOptions::default());
    std::thread::sleep(Duration::from_millis(50));
    assert!(!queued.is_finished());
    queued.cancel();
    assert!(matches!(queued.wait(), Err(PipelineError::Cancelled)));
    assert!(!last.is_finished() && !held.job.is_finished());
    held.finish();
    last.wait().unwrap();
}

#[test]
fn a_dropped_job_is_cancelled_alone() {
    let pipeline = Arc::new(pipeline());
    let held = Held::start(&pipeline);
    let shared = CancelToken::new();
    let job = || {
        Job::start(
            Arc::clone(&pipeline),
            request(),
            GenerateOptions::default().with_cancel(shared.clone()),
        )
    };
    let (dropped, kept) = (job(), job());
    drop(dropped);
    assert!(!shared.is_cancelled());
    held.finish();
    kept.wait().unwrap();

    let held = Held::start(&pipeline);
    let both = [job(), job()];
    shared.cancel();
    for job in both {
        assert!(matches!(job.wait(), Err(PipelineError::Cancelled)));
    }
    let Held { job, go_on } = held;
    drop(job);
    go_on.send(()).unwrap();
    // The running generation stops, so its pipeline is free again.
    pipeline.generate(&request()).unwrap();
}

#[test]
fn a_job_that_nobody_listens_to_keeps_the_newest_events() {
    let pipeline = Arc::new(pipeline());
    let job = Job::start(
        pipeline,
        request().with_num_inference_steps(50).with_num_frames(30),
        GenerateOptions::default(),
    );
    while !job.is_finished() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let events: Vec<JobEvent> = job.events().collect();
    assert_eq!(events.len(), 64);
    assert!(matches!(
        events.last(),
        Some(JobEvent::Progress(progress)) if progress.stage == Stage::Decoding && progress.done == 30
    ));
    job.wait().unwrap();
}

#[test]
fn a_generation_that_ends_early_leaves_nothing_in_sequential_mode() {
    let pipeline = Arc::new(sequential_pipeline());
    for stage in [Stage::Denoising, Stage::Decoding] {
        let mut seen = 0;
        let mut options = cancelling(stage, 1, false);
        let mut on_progress = options.on_progress.take().unwrap();
        let watched = Arc::clone(&pipeline);
        let options = GenerateOptions::default()
            .with_cancel(options.cancel.clone())
            .with_progress(|progress| {
                seen = seen.max(watched.loaded_bytes());
                on_progress(progress);
            });
        let result = pipeline.generate_with(&request(), options);
        assert!(matches!(result, Err(PipelineError::Cancelled)));
        assert!(seen > 0);
        assert_eq!(pipeline.loaded_bytes(), 0);
    }
    let panicking = GenerateOptions::default().with_progress(|progress| {
        assert!(progress.stage != Stage::Denoising, "made up");
    });
    Job::start(Arc::clone(&pipeline), request(), panicking)
        .wait()
        .unwrap_err();
    assert_eq!(pipeline.loaded_bytes(), 0);
}

#[test]
fn init_media_that_are_no_pictures_are_refused() {
    let empty = image::RgbImage::new(0, 0);
    let picture = |width| image::RgbImage::new(width, 16);
    for init in [
        InitMedia::Video(Vec::new()),
        InitMedia::Image(empty.clone()),
        InitMedia::Video(vec![empty]),
        InitMedia::Video(vec![picture(16), picture(17)]),
        InitMedia::Video(vec![picture(1); 200]),
    ] {
        let options = GenerateOptions::default().with_init(init);
        let result = pipeline().generate_with(&request().with_strength(0.5), options);
        let error = result.map(drop).unwrap_err();
        assert!(!error.to_string().contains('\n'), "{error}");
    }
}
