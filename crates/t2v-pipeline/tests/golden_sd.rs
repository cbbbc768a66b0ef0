//! Pictures of Stable Diffusion and clips of AnimateDiff against diffusers' pipelines: from text, from pictures, into masks, with
//! FreeInit and FreeNoise (`scripts/make_t2v_pipeline_sd_fixtures.py`).

#![allow(clippy::unwrap_used)]

use std::{fs, path::Path};

use image::{GrayImage, RgbImage};
use serde::Deserialize;
use serde_json::{Map, Value};
use t2v_pipeline::{FolderModel, FreeInit, FreeNoise, GenerateOptions, InitMedia, Pipeline, TextToVideoRequest};
use t2v_test_support::{Fixture, copy_folder};

#[derive(Deserialize)]
struct Run {
    task: String,
    prompt: String,
    negative_prompt: Option<String>,
    seed: u32,
    scheduler: String,
    scheduler_overrides: Map<String, Value>,
    num_inference_steps: u32,
    guidance_scale: f64,
    guidance_rescale: f64,
    width: u32,
    height: u32,
    num_frames: u32,
    clip_skip: Option<u32>,
    strength: Option<f64>,
    free_init: Option<FreeInit>,
    free_noise: Option<FreeNoise>,
    folder: String,
    overlay: Option<String>,
    motion_adapter: Option<String>,
}

fn fixtures() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures"))
}

impl Run {
    fn request(&self) -> TextToVideoRequest {
        let mut request = TextToVideoRequest::new(&self.prompt)
            .with_size(self.width, self.height)
            .with_num_frames(self.num_frames)
            .with_scheduler(&self.scheduler)
            .with_num_inference_steps(self.num_inference_steps)
            .with_guidance_scale(self.guidance_scale)
            .with_guidance_rescale(self.guidance_rescale)
            .with_seed(self.seed);
        request.negative_prompt.clone_from(&self.negative_prompt);
        request.clip_skip = self.clip_skip;
        request.strength = self.strength;
        request.free_init = self.free_init;
        request.free_noise = self.free_noise;
        request
    }

    /// A copy of the folder, with another network laid over it and some of its scheduler's keys replaced.
    fn pipeline(&self) -> Pipeline {
        let folder = tempfile::tempdir().unwrap();
        copy_folder(&fixtures().join(&self.folder), folder.path());
        if let Some(overlay) = &self.overlay {
            copy_folder(&fixtures().join(overlay), folder.path());
        }
        let path = folder.path().join("scheduler/scheduler_config.json");
        let mut config: Map<String, Value> = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        config.extend(self.scheduler_overrides.clone());
        fs::write(&path, serde_json::to_vec(&config).unwrap()).unwrap();
        let mut model = FolderModel::new(folder.path());
        if let Some(adapter) = &self.motion_adapter {
            model = model.with_motion_adapter(fixtures().join(adapter));
        }
        let pipeline = Pipeline::from_dir(model, &t2v_test_support::device()).unwrap();
        pipeline.preload().unwrap();
        pipeline
    }

    /// What run `i` starts from.
    fn init(&self, golden: &Fixture, i: usize) -> Option<InitMedia> {
        self.strength?;
        let (shape, values) = golden.values(&format!("init.{i}"));
        let (width, height) = (shape[2] as u32, shape[1] as u32);
        let bytes = |values: &[f32]| values.iter().map(|value| *value as u8).collect::<Vec<u8>>();
        let picture = |values| RgbImage::from_raw(width, height, bytes(values)).unwrap();
        let mut pictures = values.chunks_exact(shape[1] * shape[2] * 3).map(picture);
        Some(match self.task.as_str() {
            "video_to_video" => InitMedia::Video(pictures.collect()),
            "image_to_image" => InitMedia::Image(pictures.next().unwrap()),
            "inpaint" => InitMedia::Masked {
                picture: pictures.next().unwrap(),
                mask: GrayImage::from_raw(width, height, bytes(&golden.values(&format!("mask.{i}")).1)).unwrap(),
            },
            other => panic!("{other} starts from noise"),
        })
    }
}

fn check(name: &str, least: usize) {
    let golden = Fixture::open(fixtures().join(format!("{name}_golden.safetensors")).to_str().unwrap());
    let runs: Vec<Run> = golden.metadata("runs");
    assert!(runs.len() >= least);
    let mut far = Vec::new();
    for (i, run) in runs.into_iter().enumerate() {
        let mut options = GenerateOptions::default();
        options.init = run.init(&golden, i);
        let video = run.pipeline().generate_with(&run.request(), options).unwrap();
        let (shape, expected) = golden.values(&format!("run.{i}"));
        assert_eq!(
            shape,
            [video.num_frames(), video.height(), video.width(), 3],
            "{name}, run {i}"
        );
        let what = format!("{name}_pipeline frames of run {i}");
        let difference = t2v_test_support::difference(&what, video.frames(), &expected);
        if difference >= 5.0 * t2v_test_support::tolerance() {
            far.push(format!("run {i} ({}, {}): {difference}", run.task, run.scheduler));
        }
    }
    assert!(far.is_empty(), "{name}: frames differ\n{}", far.join("\n"));
}

#[test]
fn animatediff_equals_diffusers() {
    check("animatediff", 20);
}

#[test]
fn stable_diffusion_with_a_motion_adapter_equals_diffusers() {
    check("sd_motion", 6);
}

#[test]
fn stable_diffusions_pictures_equal_diffusers() {
    check("sd", 20);
}
