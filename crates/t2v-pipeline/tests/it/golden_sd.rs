//! Pictures of Stable Diffusion and clips of AnimateDiff against diffusers' pipelines: from text, from pictures, into masks, with
//! FreeInit and FreeNoise (`scripts/make_t2v_pipeline_sd_fixtures.py`).

use crate::folders::{copy, fixture, replace};
use image::{GrayImage, RgbImage};
use serde::Deserialize;
use serde_json::{Map, Value};
use t2v_pipeline::{FolderModel, FreeInit, FreeNoise, GenerateOptions, InitMedia, Lora, Pipeline, TextToVideoRequest};
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
    #[serde(default)]
    loras: Vec<(String, f64)>,
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
        self.loras
            .iter()
            .fold(request, |request, (name, scale)| request.with_lora(name, *scale))
    }

    /// A copy of the folder, with another network laid over it and some of its scheduler's keys replaced.
    fn pipeline(&self) -> Pipeline {
        let folder = copy(&self.folder);
        if let Some(overlay) = &self.overlay {
            copy_folder(&fixture(overlay), folder.path());
        }
        let path = folder.path().join("scheduler/scheduler_config.json");
        replace(&path, &self.scheduler_overrides);
        let mut model = FolderModel::new(folder.path());
        if let Some(adapter) = &self.motion_adapter {
            model = model.with_motion_adapter(fixture(adapter));
        }
        let pipeline = Pipeline::from_dir(model, &t2v_test_support::device()).unwrap();
        for (name, _) in &self.loras {
            let file = fixture("loras").join(format!("{name}.safetensors"));
            pipeline.add_lora(name, Lora::open(file).unwrap()).unwrap();
        }
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
    let golden = Fixture::open(fixture(format!("{name}_golden.safetensors")).to_str().unwrap());
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

#[test]
fn loras_equal_diffusers() {
    check("sd_lora", 5);
}

/// Weights are as before, to the bit, when a LoRA is taken off, and a set is put in place of another as if it were the first.
#[test]
fn loras_come_and_go_without_a_trace() {
    let golden = Fixture::open(fixture("sd_lora_golden.safetensors").to_str().unwrap());
    let runs: Vec<Run> = golden.metadata("runs");
    let pipeline = runs[0].pipeline();
    for name in ["peft", "processors"] {
        let file = fixture("loras").join(format!("{name}.safetensors"));
        pipeline.add_lora(name, Lora::open(file).unwrap()).unwrap();
    }
    let plain = runs[0].request();
    let plain = {
        let mut request = plain;
        (request.lora_model, request.lora_strength) = (None, None);
        request
    };
    let frames = |request: &TextToVideoRequest| pipeline.generate(request).unwrap().frames().to_vec();
    let (before, bytes) = (frames(&plain), pipeline.loaded_bytes());
    let with_one = frames(&plain.clone().with_lora("kohya", 0.8));
    assert!(pipeline.loaded_bytes() > bytes);
    let with_another = frames(&plain.clone().with_lora("peft", 1.0).with_lora("processors", -0.5));
    assert_eq!(with_one, frames(&plain.clone().with_lora("kohya", 0.8)));
    assert_eq!(before, frames(&plain));
    assert_eq!(pipeline.loaded_bytes(), bytes);
    assert!(before != with_one && with_one != with_another);
    let unknown = pipeline
        .generate(&plain.clone().with_lora("oil", 1.0))
        .unwrap_err()
        .to_string();
    assert!(
        unknown.contains("`oil`") && unknown.contains("kohya, peft, processors"),
        "{unknown}"
    );
    let misfit = fixture("loras/motion.safetensors");
    pipeline.add_lora("motion", Lora::open(misfit).unwrap()).unwrap();
    let misfit = pipeline
        .generate(&plain.clone().with_lora("motion", 1.0))
        .unwrap_err()
        .to_string();
    assert!(misfit.contains("The LoRA motion can't be used"), "{misfit}");
    assert_eq!(before, frames(&plain), "after a LoRA that did not fit");
}
