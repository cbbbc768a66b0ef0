//! Damaged model folders end in one clear sentence.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::folders::copy;
use serde_json::{Value, json};
use t2v_pipeline::{Device, Pipeline, PipelineError, TextToVideoRequest};

fn message(folder: &Path) -> String {
    match Pipeline::from_dir(folder, &Device::flex()).and_then(|pipeline| pipeline.preload()) {
        Ok(()) => panic!("the folder was accepted"),
        Err(error) => error.to_string(),
    }
}

fn assert_names(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
    assert!(!message.contains('\n'), "{message}");
}

fn edit(path: PathBuf, from: &str, to: &str) {
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{from}");
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

#[test]
fn a_good_folder_is_accepted() {
    let folder = copy("tiny_a");
    let pipeline = Pipeline::from_dir(folder.path(), &Device::flex()).unwrap();
    assert_eq!(pipeline.loaded_bytes(), 0);
    pipeline.preload().unwrap();
    assert!(pipeline.loaded_bytes() > 1000);
}

#[test]
fn missing_folder() {
    assert_names(&message(Path::new("/nonexistent/model")), &["/nonexistent/model"]);
}

#[test]
fn missing_index() {
    let folder = copy("tiny_a");
    fs::remove_file(folder.path().join("model_index.json")).unwrap();
    assert_names(&message(folder.path()), &["model_index.json"]);
}

#[test]
fn unknown_class() {
    let folder = copy("tiny_a");
    edit(
        folder.path().join("unet/config.json"),
        "UNet3DConditionModel",
        "UNetUnheardOf",
    );
    assert_names(
        &message(folder.path()),
        &["unet/config.json", "UNetUnheardOf", "UNet3DConditionModel"],
    );
}

#[test]
fn unknown_block_type() {
    let folder = copy("tiny_a");
    edit(
        folder.path().join("unet/config.json"),
        "CrossAttnDownBlock3D",
        "StrangeBlock",
    );
    assert_names(&message(folder.path()), &["unet/config.json", "StrangeBlock"]);
}

#[test]
fn impossible_configuration() {
    let folder = copy("tiny_a");
    edit(
        folder.path().join("unet/config.json"),
        "\"norm_num_groups\": 4",
        "\"norm_num_groups\": 5",
    );
    assert_names(&message(folder.path()), &["norm_num_groups"]);
}

#[test]
fn truncated_weights() {
    let folder = copy("tiny_a");
    let path = folder.path().join("unet/diffusion_pytorch_model.safetensors");
    let bytes = fs::read(&path).unwrap();
    for len in [0, 4, 100, bytes.len() / 2, bytes.len() - 1] {
        fs::write(&path, &bytes[..len]).unwrap();
        assert_names(
            &message(folder.path()),
            &["diffusion_pytorch_model.safetensors", "truncated"],
        );
    }
}

#[test]
fn no_weights() {
    let folder = copy("tiny_a");
    fs::remove_file(folder.path().join("vae/diffusion_pytorch_model.safetensors")).unwrap();
    assert_names(&message(folder.path()), &["vae", "diffusion_pytorch_model.safetensors"]);
}

#[test]
fn a_key_of_the_wrong_name() {
    let folder = copy("tiny_a");
    let path = folder.path().join("unet/diffusion_pytorch_model.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.windows(14).position(|w| w == b"conv_in.weight").unwrap();
    bytes[at..at + 14].copy_from_slice(b"conv_xx.weight");
    fs::write(&path, bytes).unwrap();
    assert_names(
        &message(folder.path()),
        &["missing", "conv_in.weight", "unused", "conv_xx.weight"],
    );
}

#[test]
fn a_tensor_of_the_wrong_shape() {
    let folder = copy("tiny_a");
    edit(
        folder.path().join("text_encoder/config.json"),
        "\"intermediate_size\": 32",
        "\"intermediate_size\": 40",
    );
    assert_names(&message(folder.path()), &["fc1.weight", "shape", "40"]);
}

#[test]
fn components_that_do_not_fit() {
    let folder = copy("tiny_a");
    edit(folder.path().join("model_index.json"), "\"vae\"", "\"other\"");
    assert_names(&message(folder.path()), &["model_index.json", "vae"]);
}

/// Sets a key of a JSON file; `null` takes it away.
fn set(path: PathBuf, key: &str, value: Value) {
    let mut json: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    match value {
        Value::Null => json.as_object_mut().unwrap().remove(key).map(drop).unwrap_or_default(),
        value => json[key] = value,
    }
    fs::write(path, json.to_string()).unwrap();
}

fn request() -> TextToVideoRequest {
    TextToVideoRequest::new("a ball")
        .with_size(16, 16)
        .with_num_frames(2)
        .with_num_inference_steps(3)
        .with_seed(1)
}

fn generate(folder: &Path) -> Result<t2v_pipeline::Video, PipelineError> {
    Pipeline::from_dir(folder, &Device::flex())?.generate(&request())
}

#[test]
fn the_class_of_the_pipeline_decides() {
    let folder = copy("tiny_a");
    let index = folder.path().join("model_index.json");
    set(index.clone(), "_class_name", json!("StableDiffusionXLPipeline"));
    assert_names(
        &message(folder.path()),
        &["model_index.json", "StableDiffusionXLPipeline", "TextToVideoSDPipeline"],
    );
    // Zeroscope XL's folder says this, and makes videos from prompts all the same.
    set(index, "_class_name", json!("VideoToVideoSDPipeline"));
    generate(folder.path()).unwrap();
}

#[test]
fn the_scheduler_is_the_one_that_the_index_names() {
    let folder = copy("tiny_a");
    let config = folder.path().join("scheduler/scheduler_config.json");
    let index = folder.path().join("model_index.json");
    set(index, "scheduler", json!(["diffusers", "EulerDiscreteScheduler"]));
    for own in [json!("DDIMScheduler"), Value::Null] {
        set(config.clone(), "_class_name", own);
        assert_eq!(
            generate(folder.path()).unwrap().report().scheduler,
            "EulerDiscreteScheduler"
        );
    }
}

#[test]
fn an_option_of_the_scheduler_is_checked_when_the_folder_is_opened() {
    for (key, value, found) in [
        ("beta_schedule", json!("quadratic"), "quadratic"),
        ("beta_start", json!(-1), "-1"),
    ] {
        let folder = copy("tiny_a");
        set(folder.path().join("scheduler/scheduler_config.json"), key, value);
        let error = Pipeline::from_dir(folder.path(), &Device::flex())
            .map(drop)
            .unwrap_err();
        assert_names(&error.to_string(), &[key, found]);
    }
}

#[test]
fn defaults_are_within_the_limits_of_requests() {
    for (key, value) in [
        ("num_frames", json!(0)),
        ("num_frames", json!(1 << 30)),
        ("fps", json!(0)),
        ("num_inference_steps", json!(51)),
        ("guidance_scale", json!(0.5)),
        ("strength", json!(2)),
        ("width", json!(0)),
        ("height", json!(4096)),
        ("scheduler", json!("Nonesuch")),
    ] {
        let folder = copy("tiny_a");
        fs::write(folder.path().join("t2v.json"), json!({key: value}).to_string()).unwrap();
        assert_names(&message(folder.path()), &["t2v.json", &key.replace('_', " ")]);
    }
}

#[test]
fn a_width_of_its_own_needs_no_height() {
    let folder = copy("tiny_a");
    fs::write(folder.path().join("t2v.json"), r#"{"width": 24}"#).unwrap();
    set(folder.path().join("unet/config.json"), "sample_size", Value::Null);
    let mut request = request();
    (request.width, request.height) = (None, Some(16));
    let pipeline = Pipeline::from_dir(folder.path(), &Device::flex()).unwrap();
    let video = pipeline.generate(&request).unwrap();
    assert_eq!((video.width(), video.height()), (24, 16));
    request.height = None;
    let error = pipeline.check(&request).unwrap_err().to_string();
    assert!(
        error.contains("height is required") && !error.contains("width"),
        "{error}"
    );
}

#[track_caller]
fn assert_not_finite(folder: &Path, where_: &str) {
    let error = generate(folder).map(drop).unwrap_err();
    assert!(matches!(error, PipelineError::NotFinite { .. }), "{error}");
    assert_names(&error.to_string(), &[where_]);
}

#[test]
fn values_that_are_no_numbers_are_no_video() {
    // The first noise level is infinite then, and the prediction of noise divided by zero.
    let folder = copy("tiny_a");
    let config = folder.path().join("scheduler/scheduler_config.json");
    for (key, value) in [
        ("rescale_betas_zero_snr", json!(true)),
        ("timestep_spacing", json!("trailing")),
        ("prediction_type", json!("epsilon")),
    ] {
        set(config.clone(), key, value);
    }
    assert_not_finite(folder.path(), "model call 1 of 3");
}

#[test]
fn weights_that_are_no_numbers_are_no_video() {
    for (file, tensor, where_) in [
        (
            "unet/diffusion_pytorch_model.safetensors",
            "conv_out.bias",
            "model call 1 of 3",
        ),
        (
            "vae/diffusion_pytorch_model.safetensors",
            "decoder.conv_out.bias",
            "frame 1 of 2",
        ),
        (
            "text_encoder/model.safetensors",
            "text_model.final_layer_norm.bias",
            "model call 1 of 3",
        ),
    ] {
        let folder = copy("tiny_a");
        let path = folder.path().join(file);
        let mut bytes = fs::read(&path).unwrap();
        let (header, file) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
        let (begin, _) = file.info(tensor).unwrap().data_offsets;
        bytes[8 + header + begin..][..4].copy_from_slice(&f32::NAN.to_le_bytes());
        fs::write(&path, bytes).unwrap();
        assert_not_finite(folder.path(), where_);
    }
}
