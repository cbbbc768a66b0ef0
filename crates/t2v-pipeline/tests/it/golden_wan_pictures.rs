//! Clips of Wan that begin with a picture against diffusers' pipeline: with an encoder of pictures, between two pictures, with
//! two transformers, by the first latent frame; and the second guidance scale
//! (`scripts/make_t2v_pipeline_wan_pictures_fixtures.py`).

use crate::folders::{copy, fixture, replace};
use image::RgbImage;
use serde::Deserialize;
use serde_json::{Value, json};
use t2v_pipeline::{GenerateOptions, InitMedia, MemoryMode, Pipeline, PipelineError, TextToVideoRequest};
use t2v_test_support::Fixture;
use tempfile::TempDir;

#[derive(Deserialize)]
struct Run {
    folder: String,
    prompt: String,
    negative_prompt: Option<String>,
    seed: u32,
    scheduler: String,
    num_inference_steps: u32,
    guidance_scale: f64,
    guidance_scale_2: Option<f64>,
    width: u32,
    height: u32,
    num_frames: u32,
    pictures: Vec<[u32; 2]>,
}

fn open(name: &str) -> Pipeline {
    Pipeline::from_dir(fixture(name), &t2v_test_support::device()).unwrap()
}

fn picture(fixture: &Fixture, name: &str) -> RgbImage {
    let (shape, values) = fixture.values(name);
    let bytes: Vec<u8> = values.iter().map(|value| *value as u8).collect();
    RgbImage::from_raw(shape[1] as u32, shape[0] as u32, bytes).unwrap()
}

impl Run {
    fn request(&self) -> TextToVideoRequest {
        let mut request = TextToVideoRequest::new(&self.prompt)
            .with_size(self.width, self.height)
            .with_num_frames(self.num_frames)
            .with_scheduler(&self.scheduler)
            .with_num_inference_steps(self.num_inference_steps)
            .with_guidance_scale(self.guidance_scale)
            .with_seed(self.seed);
        request.negative_prompt.clone_from(&self.negative_prompt);
        request.guidance_scale_2 = self.guidance_scale_2;
        request
    }

    fn init(&self, fixture: &Fixture, index: usize) -> Option<InitMedia> {
        let picture = |which: usize| picture(fixture, &format!("picture.{index}.{which}"));
        match self.pictures.len() {
            0 => None,
            1 => Some(InitMedia::Image(picture(0))),
            _ => Some(InitMedia::Ends([picture(0), picture(1)])),
        }
    }
}

fn with(init: Option<InitMedia>) -> GenerateOptions<'static> {
    let mut options = GenerateOptions::default();
    options.init = init;
    options
}

#[test]
fn pictures_become_the_clips_of_diffusers() {
    let golden = Fixture::open(fixture("wan_pictures_golden.safetensors").to_str().unwrap());
    let runs: Vec<Run> = golden.metadata("runs");
    assert!(runs.len() >= 12);
    let mut far = Vec::new();
    for (i, run) in runs.into_iter().enumerate() {
        let pipeline = open(&run.folder);
        let video = pipeline
            .generate_with(&run.request(), with(run.init(&golden, i)))
            .unwrap();
        let (shape, expected) = golden.values(&format!("run.{i}"));
        assert_eq!(shape, [video.num_frames(), video.height(), video.width(), 3], "run {i}");
        let name = format!("wan_pipeline frames of picture run {i}");
        let difference = t2v_test_support::difference(&name, video.frames(), &expected);
        if difference >= 5.0 * t2v_test_support::tolerance() {
            far.push(format!("run {i} ({}, {}): {difference}", run.folder, run.scheduler));
        }
    }
    assert!(far.is_empty(), "frames differ\n{}", far.join("\n"));
}

#[test]
fn one_network_at_a_time_gives_the_same_frames() {
    let golden = Fixture::open(fixture("wan_pictures_golden.safetensors").to_str().unwrap());
    let runs: Vec<Run> = golden.metadata("runs");
    for index in [0, 6] {
        let (run, pipeline) = (&runs[index], open(&runs[index].folder));
        let frames = || {
            let video = pipeline.generate_with(&run.request(), with(run.init(&golden, index)));
            video.unwrap().frames().to_vec()
        };
        let resident = frames();
        pipeline.set_memory_mode(MemoryMode::Sequential);
        assert_eq!(pipeline.loaded_bytes(), 0);
        assert!(frames() == resident, "run {index}");
        assert_eq!(pipeline.loaded_bytes(), 0);
    }
}

#[test]
fn the_report_says_what_was_used() {
    let request = TextToVideoRequest::new("a fox").with_strength(0.5);
    let init = InitMedia::Image(RgbImage::new(20, 10));
    let report = open("wan_i2v_b").resolve(&request, Some(&init)).unwrap();
    // Nothing of the picture is replaced.
    assert_eq!((report.strength, report.guidance_scale_2), (None, Some(5.0)));
    assert_eq!(
        report.init.as_ref().map(|init| (init.width, init.height)),
        Some((20, 10))
    );
    let again = report.request();
    assert_eq!(again.guidance_scale_2, Some(5.0));
    let report = open("wan_i2v_b").resolve(&request.clone().with_guidance_scale_2(2.0), Some(&init));
    assert_eq!(report.unwrap().guidance_scale_2, Some(2.0));
    let report = open("wan_i2v").resolve(&request, Some(&init)).unwrap();
    assert_eq!(report.guidance_scale_2, None);
}

#[test]
fn pictures_that_do_not_fit_the_model_are_refused() {
    let one = || Some(InitMedia::Image(RgbImage::new(20, 10)));
    let ends = || Some(InitMedia::Ends([RgbImage::new(20, 10), RgbImage::new(8, 8)]));
    let video = || Some(InitMedia::Video(vec![RgbImage::new(20, 10); 5]));
    let request = TextToVideoRequest::new("a fox").with_size(32, 32).with_num_frames(5);
    for (folder, init, part) in [
        ("wan_a", one(), "from text alone"),
        ("wan_i2v", None, "give an init image"),
        ("wan_i2v_b", None, "give an init image"),
        ("wan_i2v", video(), "not of a video"),
        ("wan_c", video(), "not of a video"),
        ("wan_i2v", ends(), "leave out the last one"),
        ("wan_c", ends(), "leave out the last one"),
        ("wan_i2v_ends", one(), "give the last one too"),
    ] {
        let message = open(folder).resolve(&request, init.as_ref()).unwrap_err().to_string();
        assert!(message.contains(part), "{folder}: {message}");
    }
    let single = request.clone().with_num_frames(1);
    let message = open("wan_i2v_b")
        .resolve(&single, ends().as_ref())
        .unwrap_err()
        .to_string();
    assert!(message.contains("no last picture"), "{message}");
    let second = request.with_guidance_scale_2(3.0);
    let message = open("wan_i2v")
        .resolve(&second, one().as_ref())
        .unwrap_err()
        .to_string();
    assert!(message.contains("one denoiser for all steps"), "{message}");
}

/// A copy of a folder in which keys of a JSON file are replaced, and the error of opening it.
fn changed(name: &str, file: &str, keys: &Value) -> (TempDir, Result<Pipeline, PipelineError>) {
    let folder = copy(name);
    replace(&folder.path().join(file), keys.as_object().unwrap());
    let pipeline = Pipeline::from_dir(folder.path(), &t2v_test_support::device());
    (folder, pipeline)
}

#[test]
fn encoders_that_do_not_fit_are_named() {
    let transformer = "transformer/config.json";
    let processor = "image_processor/preprocessor_config.json";
    for (name, file, keys, part) in [
        ("wan_i2v", transformer, json!({"image_dim": 16}), "width 12"),
        ("wan_i2v", transformer, json!({"in_channels": 8}), "or 12"),
        ("wan_i2v", transformer, json!({"pos_embed_seq_len": 20}), "17 of each"),
        ("wan_i2v", processor, json!({"crop_size": 30}), "28x28"),
        ("wan_i2v", processor, json!({"resample": 0}), "`resample`"),
        (
            "wan_i2v",
            "image_encoder/config.json",
            json!({"patch_size": 0}),
            "`patch_size` of the image encoder",
        ),
        (
            "wan_i2v",
            "model_index.json",
            json!({"image_encoder": [null, null]}),
            "image_encoder",
        ),
        (
            "wan_i2v_b",
            "transformer_2/config.json",
            json!({"in_channels": 4}),
            "12 and 4 channels",
        ),
    ] {
        let (_folder, pipeline) = changed(name, file, &keys);
        let message = pipeline.err().unwrap().to_string();
        assert!(message.contains(part), "{keys}: {message}");
    }
}
