//! Clips of Wan against diffusers' pipeline: one transformer and two, both autoencoders
//! (`scripts/make_t2v_pipeline_wan_fixtures.py`).

use std::fs;

use crate::folders::{copy, fixture, replace};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use t2v_pipeline::{FlowShift, Pipeline, PipelineError, TextToVideoRequest};
use t2v_test_support::Fixture;
use tempfile::TempDir;

#[derive(Deserialize)]
struct Run {
    folder: String,
    prompt: String,
    negative_prompt: Option<String>,
    seed: u32,
    scheduler: String,
    scheduler_overrides: Map<String, Value>,
    num_inference_steps: u32,
    guidance_scale: f64,
    width: u32,
    height: u32,
    num_frames: u32,
}

/// A copy of a folder in which keys of a JSON file are replaced.
fn changed(name: &str, file: &str, keys: &Map<String, Value>) -> TempDir {
    let folder = copy(name);
    replace(&folder.path().join(file), keys);
    folder
}

fn open(folder: &TempDir) -> Result<Pipeline, PipelineError> {
    Pipeline::from_dir(folder.path(), &t2v_test_support::device())
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
        request
    }
}

#[test]
fn wan_equals_diffusers() {
    let golden = Fixture::open(fixture("wan_golden.safetensors").to_str().unwrap());
    let runs: Vec<Run> = golden.metadata("runs");
    assert!(runs.len() >= 10);
    let mut far = Vec::new();
    for (i, run) in runs.into_iter().enumerate() {
        let folder = changed(&run.folder, "scheduler/scheduler_config.json", &run.scheduler_overrides);
        let video = open(&folder).unwrap().generate(&run.request()).unwrap();
        let (shape, expected) = golden.values(&format!("run.{i}"));
        assert_eq!(shape, [video.num_frames(), video.height(), video.width(), 3], "run {i}");
        let difference =
            t2v_test_support::difference(&format!("wan_pipeline frames of run {i}"), video.frames(), &expected);
        if difference >= 5.0 * t2v_test_support::tolerance() {
            far.push(format!("run {i} ({}, {}): {difference}", run.folder, run.scheduler));
        }
    }
    assert!(far.is_empty(), "frames differ\n{}", far.join("\n"));
}

#[test]
fn a_shift_of_the_request_is_that_of_the_folder() {
    let request = TextToVideoRequest::new("a fox")
        .with_size(32, 32)
        .with_num_frames(5)
        .with_num_inference_steps(3)
        .with_seed(1);
    let frames = |keys: Value, request: &TextToVideoRequest| {
        let folder = changed("wan_a", "scheduler/scheduler_config.json", keys.as_object().unwrap());
        let video = open(&folder).unwrap().generate(request).unwrap();
        let shift = video.report().flow_shift;
        assert_eq!(video.report().request().flow_shift, shift.map(FlowShift::Of));
        (video.frames().to_vec(), shift)
    };
    for (scheduler, key) in [("UniPCMultistep", "flow_shift"), ("FlowMatchEulerDiscrete", "shift")] {
        let request = request.clone().with_scheduler(scheduler);
        let of_folder = |shift: f64| frames(json!({ (key): shift }), &request).0;
        let of_request = |shift: &str| frames(json!({}), &request.clone().with_flow_shift(shift.parse().unwrap()));
        let (seven, three) = (of_folder(7.0), of_folder(3.0));
        assert_ne!(seven, three, "{scheduler}");
        assert_eq!((seven, Some(7.0)), of_request("7"), "{scheduler}");
        assert_eq!((three, Some(3.0)), of_request("size"), "{scheduler}");
    }
    let of_pictures = Pipeline::from_dir(fixture("tiny_a"), &t2v_test_support::device()).unwrap();
    let refused = of_pictures.resolve(&request.with_size(16, 16).with_flow_shift(FlowShift::BySize), None);
    assert!(refused.unwrap_err().to_string().contains("no flow"));
}

/// diffusers writes a setting of DPM-Solver++ as `-Infinity`, which only Python takes for JSON.
#[test]
fn two_transformers_go_with_every_scheduler_of_diffusers() {
    let folder = changed("wan_b", "model_index.json", &Map::new());
    let path = folder.path().join("scheduler/scheduler_config.json");
    let text = fs::read_to_string(&path).unwrap();
    let (first, rest) = text.split_once('{').unwrap();
    fs::write(&path, format!("{first}{{\"lambda_min_clipped\": -Infinity, {rest}")).unwrap();
    open(&folder).unwrap();
}

#[test]
fn what_the_model_cannot_do_is_said() {
    let pipeline = open(&changed("wan_a", "model_index.json", &Map::new())).unwrap();
    let request = TextToVideoRequest::new("a fox").with_size(32, 32).with_num_frames(5);
    let said = |change: &dyn Fn(&mut TextToVideoRequest)| {
        let mut request = request.clone();
        change(&mut request);
        pipeline.generate(&request).unwrap_err().to_string()
    };
    for (message, part) in [
        (said(&|request| request.num_frames = Some(6)), "4k + 1"),
        (said(&|request| request.width = Some(40)), "multiple of 16"),
        (said(&|request| request.clip_skip = Some(1)), "not CLIP"),
        (said(&|request| request.prompt_weighting = Some(true)), "not CLIP"),
        (said(&|request| request.long_prompts = Some(true)), "512 tokens"),
    ] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn folders_that_do_not_fit_together_are_named() {
    for (name, file, keys, part) in [
        ("wan_a", "transformer/config.json", json!({"text_dim": 16}), "width 12"),
        (
            "wan_a",
            "transformer/config.json",
            json!({"in_channels": 9}),
            "takes 9 channels",
        ),
        (
            "wan_a",
            "transformer/config.json",
            json!({"out_channels": 9}),
            "gives 9 channels",
        ),
        (
            "wan_a",
            "transformer/config.json",
            json!({"patch_size": [2, 2, 2]}),
            "it must be 1",
        ),
        (
            "wan_b",
            "transformer_2/config.json",
            json!({"patch_size": [1, 1, 2]}),
            "[1, 1, 2]",
        ),
        (
            "wan_b",
            "model_index.json",
            json!({"boundary_ratio": 1.5}),
            "`boundary_ratio`",
        ),
        (
            "wan_b",
            "model_index.json",
            json!({"transformer_2": [null, null]}),
            "transformer_2",
        ),
    ] {
        let folder = changed(name, file, keys.as_object().unwrap());
        let message = open(&folder).err().unwrap().to_string();
        assert!(message.contains(part), "{keys}: {message}");
    }
}
