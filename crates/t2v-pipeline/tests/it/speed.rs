//! Speed modes: which calls run the whole network, what frames lose, and that nothing is kept from one generation for the next.

use std::path::{Path, PathBuf};

use crate::folders::fixture;
use image::{GrayImage, Rgb, RgbImage};
use serde_json::json;
use t2v_pipeline::{
    Device, FolderModel, FreeInit, FreeNoise, GenerateOptions, InitMedia, Pipeline, PipelineError, Speed, Stage,
    TextToVideoRequest, Video,
};
use t2v_test_support::copy_folder;

/// The files of the embedded model.
fn tiny_world() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/tiny-world")
}

fn open(model: impl Into<FolderModel>) -> Pipeline {
    Pipeline::from_dir(model, &Device::flex()).unwrap()
}

fn request(steps: u32) -> TextToVideoRequest {
    TextToVideoRequest::new("a red ball")
        .with_size(24, 16)
        .with_num_frames(2)
        .with_num_inference_steps(steps)
        .with_scheduler("DDIM")
        .with_guidance_scale(5.0)
        .with_enhance_prompt(false)
        .with_seed(1)
}

/// All calls, and those that ran the whole network.
fn calls(video: &Video) -> [usize; 2] {
    let calls = video.report().model_calls;
    [calls.total, calls.whole]
}

/// Of all frames, in dB.
fn psnr(a: &Video, b: &Video) -> f32 {
    let squares = a.frames().iter().zip(b.frames()).map(|(a, b)| (a - b).powi(2));
    -10.0 * (squares.sum::<f32>() / a.frames().len() as f32).log10()
}

/// In both modes: fewer whole calls, no more of them in the faster one, frames that are not those of exact calls but as near as
/// `least` dB, and the same again.
#[track_caller]
fn assert_reuses(pipeline: &Pipeline, request: &TextToVideoRequest, init: Option<&InitMedia>, least: f32) {
    let run = |speed: Speed| {
        let mut options = GenerateOptions::default();
        options.init = init.cloned();
        let video = pipeline.generate_with(&request.clone().with_speed(speed), options);
        let video = video.unwrap();
        assert_eq!(video.report().speed, speed);
        video
    };
    let exact = run(Speed::Exact);
    let [total, whole] = calls(&exact);
    assert_eq!(total, whole);
    let mut most = total - 1;
    for speed in [Speed::Balanced, Speed::Fast] {
        let video = run(speed);
        assert_eq!(calls(&video)[0], total, "{speed}");
        assert!(calls(&video)[1] <= most, "{speed}: {:?}", video.report().model_calls);
        most = calls(&video)[1];
        let near = psnr(&video, &exact);
        assert!(near.is_finite() && near > least, "{speed}: {near} dB");
        assert_eq!(run(speed).frames(), video.frames(), "{speed}");
    }
    assert_eq!(run(Speed::Exact).frames(), exact.frames());
}

#[test]
fn exact_is_what_silence_is() {
    let (pipeline, folder) = (open(fixture("tiny_a")), tempfile::tempdir().unwrap());
    let files = [None, Some(Speed::Exact)].map(|speed| {
        let mut request = request(4);
        request.speed = speed;
        let video = pipeline.generate(&request).unwrap();
        assert_eq!(calls(&video), [4, 4]);
        let report = serde_json::to_value(video.report()).unwrap();
        assert!(report.get("speed").is_none(), "{report}");
        let path = folder.path().join("a.mp4");
        video.save(&path).unwrap();
        std::fs::read(path).unwrap()
    });
    assert!(files[0] == files[1]);
}

/// A loop of one call, of a schedule of which others would reuse its features: it keeps them, and gives what any call does.
#[test]
fn a_call_that_keeps_its_features_gives_what_any_other_does() {
    let picture = InitMedia::Image(RgbImage::from_fn(16, 16, |x, y| {
        Rgb([(x * 9) as u8, (y * 12) as u8, 60])
    }));
    for model in ["tiny_a", "sd", "animatediff"] {
        let pipeline = open(fixture(model));
        for scale in [1.0, 5.0] {
            let request = request(20).with_size(16, 16).with_num_frames(1);
            let request = request.with_guidance_scale(scale).with_strength(0.05);
            let run = |speed: Speed| {
                let options = GenerateOptions::default().with_init(picture.clone()).with_speed(speed);
                pipeline.generate_with(&request, options).unwrap()
            };
            let fast = run(Speed::Fast);
            assert_eq!(fast.frames(), run(Speed::Exact).frames(), "{model}");
            assert_eq!(calls(&fast), [1, 1]);
        }
    }
}

#[test]
fn few_steps_have_none_to_spare() {
    let pipeline = open(fixture("tiny_a"));
    for (speed, steps) in [(Speed::Balanced, 19), (Speed::Fast, 9)] {
        let exact = pipeline.generate(&request(steps)).unwrap();
        let video = pipeline.generate(&request(steps).with_speed(speed)).unwrap();
        assert_eq!(video.frames(), exact.frames());
        assert_eq!(calls(&video), [steps as usize; 2]);
    }
}

#[test]
fn calls_are_counted_whatever_the_scheduler_and_the_guidance() {
    let pipeline = open(fixture("tiny_a"));
    for (scheduler, scale, rescale, total) in [
        ("DDIM", 5.0, 0.0, 20),
        ("DDIM", 1.0, 0.0, 20),
        ("DPMSolverMultistep", 5.0, 0.7, 20),
        // Two calls a step.
        ("HeunDiscrete", 5.0, 0.0, 39),
        ("EulerAncestralDiscrete", 5.0, 0.0, 20),
    ] {
        let request = request(20)
            .with_scheduler(scheduler)
            .with_guidance_scale(scale)
            .with_guidance_rescale(rescale);
        assert_eq!(calls(&pipeline.generate(&request).unwrap()), [total; 2], "{scheduler}");
        assert_reuses(&pipeline, &request, None, 15.0);
    }
}

#[test]
fn pictures_clips_and_masks_to_start_from() {
    let picture = RgbImage::from_fn(24, 16, |x, y| Rgb([(x * 9) as u8, (y * 12) as u8, 60]));
    let image = InitMedia::Image(picture.clone());
    let tiny = open(fixture("tiny_a"));
    let request = request(20).with_strength(0.7);
    assert_reuses(&tiny, &request, Some(&image), 20.0);
    assert_reuses(
        &tiny,
        &request,
        Some(&InitMedia::Video(vec![picture.clone(), picture])),
        20.0,
    );

    let picture = RgbImage::from_fn(16, 16, |x, y| Rgb([(x * 9) as u8, (y * 12) as u8, 60]));
    let mask = GrayImage::from_fn(16, 16, |x, _| image::Luma([if x < 8 { 255 } else { 0 }]));
    // The same model with a network that is told the mask.
    let told = tempfile::tempdir().unwrap();
    copy_folder(&fixture("sd"), told.path());
    copy_folder(&fixture("sd_inpaint"), told.path());
    for (model, strength) in [(fixture("sd"), 0.8), (told.path().into(), 1.0)] {
        let request = request
            .clone()
            .with_size(16, 16)
            .with_num_frames(1)
            .with_strength(strength);
        let masked = InitMedia::Masked {
            picture: picture.clone(),
            mask: mask.clone(),
        };
        assert_reuses(&open(model), &request, Some(&masked), 10.0);
    }
}

/// What is kept in one pass of FreeInit is not for the next, which begins with other noise.
#[test]
fn passes_begin_anew() {
    let pipeline = open(fixture("animatediff"));
    let request = request(20).with_size(16, 16).with_num_frames(4);
    assert_reuses(&pipeline, &request, None, 10.0);
    let once = request.with_speed(Speed::Fast);
    let whole = calls(&pipeline.generate(&once).unwrap())[1];
    let mut free_init = FreeInit::new(3);
    free_init.use_fast_sampling = false;
    let thrice = pipeline.generate(&once.with_free_init(free_init)).unwrap();
    assert_eq!(calls(&thrice), [60, 3 * whole]);
    let windows = FolderModel::new(fixture("sd")).with_motion_adapter(fixture("motion_adapter"));
    let long = self::request(20).with_size(16, 16).with_num_frames(20);
    assert_reuses(&open(windows), &long.with_free_noise(FreeNoise::new(8, 4)), None, 10.0);
}

#[test]
fn a_cancelled_generation_leaves_nothing_behind() {
    let pipeline = open(fixture("tiny_a"));
    let request = request(20).with_speed(Speed::Fast);
    let before = pipeline.generate(&request).unwrap();
    for keep in [false, true] {
        let mut options = GenerateOptions::default().with_keep_on_cancel(keep);
        let cancel = options.cancel.clone();
        options = options.with_progress(move |progress| {
            if progress.stage == Stage::Denoising && progress.done == 6 {
                cancel.cancel();
            }
        });
        let mut other = request.clone().with_seed(2);
        other.prompt = "a blue cube".into();
        match pipeline.generate_with(&other, options) {
            Ok(video) => {
                assert!(keep && video.report().interrupted);
                assert_eq!(calls(&video), [6, 2]);
            }
            Err(error) => assert!(!keep && matches!(error, PipelineError::Cancelled), "{error}"),
        }
        assert_eq!(pipeline.generate(&request).unwrap().frames(), before.frames());
    }
}

#[test]
fn the_request_goes_before_the_options_and_comes_back_from_the_report() {
    let pipeline = open(fixture("tiny_a"));
    let run = |asked: Option<Speed>, option: Speed| {
        let mut request = request(20);
        request.speed = asked;
        let options = GenerateOptions::default().with_speed(option);
        pipeline.generate_with(&request, options).unwrap()
    };
    for (asked, option, expected) in [
        (None, Speed::Fast, Speed::Fast),
        (Some(Speed::Exact), Speed::Fast, Speed::Exact),
        (Some(Speed::Balanced), Speed::Exact, Speed::Balanced),
    ] {
        let video = run(asked, option);
        assert_eq!(video.report().speed, expected);
        let again = video.report().request();
        assert_eq!(again.speed.unwrap_or_default(), expected);
        assert_eq!(pipeline.generate(&again).unwrap().frames(), video.frames());
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.mp4");
    run(Some(Speed::Fast), Speed::Exact).save(&path).unwrap();
    let metadata = t2v_mp4::read_metadata(&path).unwrap();
    let kept = TextToVideoRequest::from_slice_strict(metadata.get("request").unwrap().as_bytes()).unwrap();
    assert_eq!(kept.speed, Some(Speed::Fast));
}

#[test]
fn speeds_are_read_by_name() {
    for (name, speed) in [
        ("exact", Speed::Exact),
        ("Balanced", Speed::Balanced),
        (" fast ", Speed::Fast),
    ] {
        let body = json!({"prompt": "x", "speed": name});
        assert_eq!(TextToVideoRequest::from_json_strict(&body).unwrap().speed, Some(speed));
        assert_eq!(TextToVideoRequest::from_json(&body).unwrap().speed, Some(speed));
    }
    assert_eq!(
        TextToVideoRequest::from_json(&json!({"prompt": "x", "speed": ""}))
            .unwrap()
            .speed,
        None
    );
    for (value, part) in [(json!("quick"), "exact, balanced, fast"), (json!(2), "a string")] {
        let error = TextToVideoRequest::from_json(&json!({"prompt": "x", "speed": value})).unwrap_err();
        let (field, faults) = error.faults().next().unwrap();
        assert!(field == "speed" && faults[0].contains(part), "{error}");
    }
}

/// Of a model that was trained, where frames mean something; one clip of many, which differ widely.
#[test]
fn frames_of_a_trained_model_stay_near_exact_ones() {
    let pipeline = Pipeline::embedded(&Device::flex()).unwrap();
    let request = TextToVideoRequest::new("a yellow heart growing in the snow")
        .with_num_frames(4)
        .with_scheduler("DDIM")
        .with_num_inference_steps(25)
        .with_seed(3);
    let run = |speed: Speed| pipeline.generate(&request.clone().with_speed(speed)).unwrap();
    let exact = run(Speed::Exact);
    for (speed, least, most) in [(Speed::Balanced, 35.0, 0.5), (Speed::Fast, 30.0, 0.3)] {
        let video = run(speed);
        let (near, [total, whole]) = (psnr(&video, &exact), calls(&video));
        assert!(near > least, "{speed}: {near} dB");
        assert!(whole as f32 <= most * total as f32, "{speed}: {whole} of {total}");
    }
}

fn of_a_trained_model(steps: u32) -> TextToVideoRequest {
    TextToVideoRequest::new("a yellow heart growing in the snow")
        .with_num_frames(16)
        .with_scheduler("DDIM")
        .with_num_inference_steps(steps)
        .with_seed(3)
}

/// So few steps that all calls are whole: what differs is what they are multiplied in.
#[test]
fn products_of_integers_are_near_exact_ones() {
    let pipeline = Pipeline::embedded(&Device::flex()).unwrap();
    let run = |speed| pipeline.generate(&of_a_trained_model(4).with_speed(speed)).unwrap();
    let [exact, balanced, fast] = [Speed::Exact, Speed::Balanced, Speed::Fast].map(run);
    assert_eq!(calls(&fast), [4, 4]);
    assert_eq!(balanced.frames(), exact.frames());
    let near = psnr(&fast, &exact);
    assert!(near > 35.0, "{near} dB");
    // To the bit again, before and after.
    assert_eq!(run(Speed::Fast).frames(), fast.frames());
    assert_eq!(run(Speed::Exact).frames(), exact.frames());
}

/// A weight that is no number is none as an integer, either.
#[test]
fn what_is_no_number_is_no_video_in_any_mode() {
    let folder = tempfile::tempdir().unwrap();
    copy_folder(&tiny_world(), folder.path());
    let path = folder.path().join("unet/diffusion_pytorch_model.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    let (header, file) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let weight = "down_blocks.1.attentions.0.transformer_blocks.0.ff.net.0.proj.weight";
    let info = file.info(weight).unwrap();
    assert_eq!(info.dtype, safetensors::Dtype::F16);
    bytes[8 + header + info.data_offsets.0..][..2].copy_from_slice(&0x7e00_u16.to_le_bytes());
    std::fs::write(&path, bytes).unwrap();
    let pipeline = open(folder.path());
    for speed in Speed::ALL {
        let error = pipeline.generate(&of_a_trained_model(1).with_speed(speed));
        let error = error.map(drop).unwrap_err();
        assert!(matches!(error, PipelineError::NotFinite { .. }), "{speed}: {error}");
    }
}
