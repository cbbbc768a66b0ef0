//! Each attribute of the request changes what it should, and nothing else.

use crate::folders::fixture;
use image::{Rgb, RgbImage};
use serde_json::{Value, json};
use t2v_pipeline::{
    Device, GenerateOptions, InitMedia, ModelRegistry, Pipeline, SchedulerKind, Stage, TextToVideoRequest, Video,
};

fn pipeline() -> Pipeline {
    let folder = fixture("tiny_a");
    Pipeline::from_dir(folder, &Device::flex()).unwrap()
}

/// A body of the API with some fields replaced.
fn request(changes: Value) -> TextToVideoRequest {
    let mut body = json!({
        "prompt": "a red ball", "width": 24, "height": 16, "num_frames": 2, "num_inference_steps": 4, "seed": 1,
        "scheduler": "DDIMScheduler", "guidance_scale": 5, "enhance_prompt": "no",
    });
    body.as_object_mut()
        .unwrap()
        .extend(changes.as_object().unwrap().clone());
    TextToVideoRequest::from_json_strict(&body).unwrap()
}

fn run(changes: Value) -> Video {
    pipeline().generate(&request(changes)).unwrap()
}

/// Generates from a picture and tells how many model calls there were.
fn from_init(changes: Value, picture: RgbImage) -> (Video, usize) {
    let mut calls = 0;
    let options = GenerateOptions::default()
        .with_init(InitMedia::Image(picture))
        .with_progress(|progress| {
            if progress.stage == Stage::Denoising {
                calls = progress.total;
            }
        });
    let video = pipeline().generate_with(&request(changes), options).unwrap();
    (video, calls)
}

fn from_picture(changes: Value) -> (Video, usize) {
    let picture = RgbImage::from_fn(24, 16, |x, y| Rgb([(x * 9) as u8, (y * 12) as u8, 60]));
    from_init(changes, picture)
}

/// What one step makes of the noise: latents before they are decoded.
fn one_step(changes: Value) -> Vec<f32> {
    let mut body = json!({"num_inference_steps": 1});
    body.as_object_mut()
        .unwrap()
        .extend(changes.as_object().unwrap().clone());
    let mut values = Vec::new();
    let options = GenerateOptions::default().with_latents(|latents| {
        values = latents.values().to_vec();
        Ok(())
    });
    pipeline().generate_with(&request(body), options).unwrap();
    values
}

fn distance(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// What one step gives is `negative + scale (positive - negative)`, where the two are what it gives without guidance.
#[track_caller]
fn assert_guided(guided: Value, scale: f32, positive: Value, negative: Value) {
    let unguided = |mut changes: Value| {
        changes["guidance_scale"] = json!(1);
        one_step(changes)
    };
    let (positive, negative) = (unguided(positive), unguided(negative));
    let signal = distance(&positive, &negative);
    assert!(signal > 1e-5, "the prompts give the same");
    let expected: Vec<f32> = positive
        .iter()
        .zip(&negative)
        .map(|(p, n)| n + scale * (p - n))
        .collect();
    let error = distance(&one_step(guided), &expected);
    assert!(
        error < 0.02 * signal * scale,
        "{error} where guidance adds {}",
        signal * scale
    );
}

#[track_caller]
fn assert_changes_frames(changes: Value) {
    let (base, changed) = (run(json!({})), run(changes));
    assert_eq!(base.num_frames(), changed.num_frames());
    assert!(distance(base.frames(), changed.frames()) > 1e-4);
}

#[track_caller]
fn assert_changes_nothing(changes: Value) {
    assert_eq!(run(json!({})).frames(), run(changes).frames());
}

#[test]
fn prompt() {
    assert_eq!(run(json!({"prompt": "a blue cube"})).report().prompt, "a blue cube");
    assert_changes_frames(json!({"prompt": "a blue cube"}));
    let guided = json!({"prompt": "a blue cube", "guidance_scale": 4});
    assert_guided(guided, 4.0, json!({"prompt": "a blue cube"}), json!({"prompt": ""}));
}

#[test]
fn negative_prompt() {
    assert_eq!(
        run(json!({"negative_prompt": "blurry"})).report().negative_prompt,
        "blurry"
    );
    let guided = json!({"negative_prompt": "blurry", "guidance_scale": 4});
    assert_guided(guided, 4.0, json!({}), json!({"prompt": "blurry"}));
    assert_changes_nothing(json!({"negative_prompt": ""}));
    let unguided = |text: &str| run(json!({"guidance_scale": 1, "negative_prompt": text}));
    assert_eq!(unguided("").frames(), unguided("blurry").frames());
}

#[test]
fn guidance_scale() {
    for scale in [2.5, 20.0] {
        let guided = json!({"guidance_scale": scale});
        assert_eq!(run(guided.clone()).report().guidance_scale, scale);
        assert_guided(guided, scale as f32, json!({}), json!({"prompt": ""}));
    }
    assert_changes_frames(json!({"guidance_scale": 2.5}));
}

/// Upstream leaves layers out for the prompt only.
#[test]
fn clip_skip() {
    for skip in [1, 3] {
        let guided = json!({"clip_skip": skip, "guidance_scale": 4, "negative_prompt": "blurry"});
        assert_eq!(run(guided.clone()).report().clip_skip, skip);
        assert_guided(guided, 4.0, json!({"clip_skip": skip}), json!({"prompt": "blurry"}));
    }
    assert_changes_nothing(json!({"clip_skip": 0}));
    assert_changes_frames(json!({"clip_skip": 1}));
    let message = pipeline()
        .generate(&request(json!({"clip_skip": 4})))
        .unwrap_err()
        .to_string();
    assert!(message.contains("clip skip") && message.contains('3'), "{message}");
}

#[test]
fn width_and_height() {
    let video = run(json!({"width": "32", "height": "8"}));
    assert_eq!((video.width(), video.height(), video.num_frames()), (32, 8, 2));
    assert_eq!(video.frames().len(), 2 * 8 * 32 * 3);
    assert_eq!((video.report().width, video.report().height), (32, 8));
}

#[test]
fn scheduler() {
    let calls = |name: &str| from_picture(json!({"scheduler": name, "num_inference_steps": 4, "strength": 1})).1;
    // Heun's method looks ahead on all steps but the last.
    assert_eq!((calls("DDIM"), calls("HeunDiscrete")), (4, 7));
    let mut results = vec![run(json!({}))];
    for (named, class) in [
        ("eulerdiscrete", "EulerDiscreteScheduler"),
        ("HeunDiscrete", "HeunDiscreteScheduler"),
        ("DDPMScheduler", "DDPMScheduler"),
    ] {
        let (video, by_class) = (run(json!({"scheduler": named})), run(json!({"scheduler": class})));
        assert_eq!(video.report().scheduler, class);
        assert_eq!(video.frames(), by_class.frames());
        for other in &results {
            let name = &other.report().scheduler;
            assert!(distance(video.frames(), other.frames()) > 1e-4, "{class} is {name}");
        }
        results.push(video);
    }
}

#[test]
fn num_inference_steps() {
    let calls = |steps: u32| from_picture(json!({"num_inference_steps": steps, "strength": 1})).1;
    assert_eq!((calls(3), calls(7)), (3, 7));
    assert_eq!(run(json!({"num_inference_steps": "5"})).report().num_inference_steps, 5);
    assert_changes_frames(json!({"num_inference_steps": "5"}));
}

/// How much of the picture is replaced: the less of the steps are run, the more of it is seen.
#[test]
fn strength() {
    assert_changes_nothing(json!({"strength": 0.3}));
    let start = |strength: f64, colour: [u8; 3]| {
        let changes = json!({"num_inference_steps": 10, "strength": strength});
        from_init(changes, RgbImage::from_pixel(24, 16, Rgb(colour)))
    };
    let mut difference = f32::INFINITY;
    for (strength, calls) in [(0.2, 2), (0.7, 7), (1.0, 10)] {
        let ((dark, dark_calls), (light, _)) = (start(strength, [20, 20, 60]), start(strength, [240, 230, 200]));
        assert_eq!(dark_calls, calls);
        assert_eq!(dark.report().strength, Some(strength));
        let less = distance(dark.frames(), light.frames());
        assert!(less < difference, "{strength}: {less}, with less strength {difference}");
        difference = less;
    }
}

#[test]
fn seed() {
    assert_eq!(run(json!({"seed": 2})).report().seed, 2);
    assert_changes_frames(json!({"seed": 2}));
    assert_changes_nothing(json!({"seed": "1"}));
    let (a, b) = (run(json!({"seed": null})), run(json!({"seed": null})));
    assert_ne!(a.report().seed, b.report().seed);
    let again = run(json!({"seed": a.report().seed}));
    assert_eq!(again.frames(), a.frames());
}

#[test]
fn enhance_prompt() {
    let enhanced = run(json!({"enhance_prompt": "yes"}));
    assert_eq!(enhanced.report().original_prompt.as_deref(), Some("a red ball"));
    assert!(enhanced.report().prompt.starts_with("a red ball"));
    assert!(enhanced.report().prompt.len() > "a red ball".len());
    assert_eq!(run(json!({})).report().original_prompt, None);
}

#[test]
fn what_a_server_looks_at_changes_no_video() {
    assert_changes_nothing(json!({
        "key": "secret", "webhook": "https://example.org/hook", "track_id": "x1", "loadbalancer": "yes",
    }));
}

#[test]
fn model_id() {
    let folder = fixture("tiny_a");
    let registry = ModelRegistry::new(&Device::flex()).with_model("mine", folder.as_path());
    let mine = registry.generate(&request(json!({"model_id": "mine"}))).unwrap();
    assert_eq!(mine.frames(), run(json!({})).frames());
    let tiny_world = registry.generate(&request(json!({"model_id": "tiny-world"}))).unwrap();
    assert_eq!(tiny_world.report().model_id, "tiny-world");
    assert_ne!(tiny_world.frames(), mine.frames());
}

#[test]
fn num_frames_and_fps() {
    for frames in [1, 3] {
        let video = run(json!({"num_frames": frames}));
        assert_eq!((video.num_frames(), video.report().num_frames), (frames, frames as u32));
        assert_eq!(video.frames().len(), frames * 16 * 24 * 3);
    }
    let fast = run(json!({"fps": 24}));
    assert_eq!((fast.frame_rate(), fast.report().fps), (24.into(), 24));
    assert_eq!(fast.frames(), run(json!({})).frames());
}

#[test]
fn every_scheduler_gives_a_video_or_says_what_it_needs() {
    let pipeline = pipeline();
    for kind in SchedulerKind::ALL {
        for steps in [1, 2, 5] {
            let request = request(json!({"scheduler": kind.class_name(), "num_inference_steps": steps}));
            match pipeline.generate(&request) {
                Ok(video) => assert!(video.frames().iter().all(|v| v.is_finite()), "{kind} {steps}"),
                Err(error) => {
                    assert_eq!(*kind, SchedulerKind::DdimInverse, "{error}");
                    assert!(error.to_string().contains("init image"), "{error}");
                }
            }
        }
    }
}

fn psnr(a: &Video, b: &Video) -> f32 {
    let squares = a.frames().iter().zip(b.frames()).map(|(a, b)| (a - b).powi(2));
    -10.0 * (squares.sum::<f32>() / a.frames().len() as f32).log10()
}

#[test]
fn ddim_inverse_leads_to_noise_and_back_to_the_picture() {
    let pipeline = Pipeline::embedded(&Device::flex()).unwrap();
    let sky = RgbImage::from_fn(64, 64, |_, y| Rgb([90 + y as u8, 160 + y as u8, 240]));
    let run = |scheduler: &str, strength: f64| {
        let request = TextToVideoRequest::new("in a blue sky")
            .with_num_frames(2)
            .with_scheduler(scheduler)
            .with_num_inference_steps(50)
            .with_guidance_scale(1.0)
            .with_strength(strength)
            .with_enhance_prompt(false)
            .with_seed(1);
        let options = GenerateOptions::default().with_init(InitMedia::Image(sky.clone()));
        pipeline.generate_with(&request, options).unwrap()
    };
    // What the autoencoder makes of the picture, nearly without steps.
    let picture = run("DDIMInverse", 0.02);
    let (back, other) = (
        psnr(&run("DDIMInverse", 1.0), &picture),
        psnr(&run("DDIM", 1.0), &picture),
    );
    assert!(
        back > 20.0 && back > other + 3.0,
        "{back} dB, from other noise {other} dB"
    );
}

#[test]
fn a_saved_video_holds_the_request_that_repeats_it() {
    let folder = tempfile::tempdir().unwrap();
    let video = run(json!({"seed": null, "negative_prompt": "größer, 🎈", "clip_skip": 1, "strength": 0.5}));
    for name in ["a.mp4", "a.gif", "a.webp", "a.png"] {
        let path = folder.path().join(name);
        video.save(&path).unwrap();
        let metadata = t2v_mp4::read_metadata(&path).unwrap_or_default();
        if name != "a.mp4" {
            continue;
        }
        assert_eq!(metadata.get("model"), Some("tiny_a"));
        let body: Value = serde_json::from_str(metadata.get("request").unwrap()).unwrap();
        let request = TextToVideoRequest::from_json_strict(&body).unwrap();
        assert_eq!(pipeline().generate(&request).unwrap().frames(), video.frames());
    }
    video.save(folder.path().join("frames")).unwrap();
    assert_eq!(std::fs::read_dir(folder.path().join("frames")).unwrap().count(), 2);
    let message = video.save(folder.path().join("a.avi")).unwrap_err().to_string();
    assert!(message.contains("avi") && message.contains("mp4"), "{message}");
}

#[test]
fn the_example_body_of_the_api_runs() {
    let body = json!({
        "key": "enterprise_api_key", "model_id": "tiny-world",
        "prompt": "Girl smiling and sitting on bench, ultra HD video", "negative_prompt": "Low Quality",
        "width": "64", "height": "64", "scheduler": "UniPCMultistepScheduler", "num_inference_steps": "30",
        "enhance_prompt": "yes", "guidance_scale": 7.5, "strength": 0.7,
        "seed": null, "webhook": null, "track_id": null,
    });
    let mut request = TextToVideoRequest::from_json_strict(&body).unwrap();
    request.num_frames = Some(2);
    let video = ModelRegistry::new(&Device::flex()).generate(&request).unwrap();
    assert_eq!((video.width(), video.height(), video.num_frames()), (64, 64, 2));
    assert_eq!(video.report().num_inference_steps, 30);
}
