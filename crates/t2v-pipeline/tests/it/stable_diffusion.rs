//! What users of Stable Diffusion and AnimateDiff are told, in one sentence each, and that a model from one file is the folder's.

use std::{fs, path::Path};

use crate::folders::{copy, fixture};
use image::{GrayImage, RgbImage};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde_json::{Map, Value, json};
use t2v_pipeline::{
    Device, FolderModel, FreeInit, FreeNoise, GenerateOptions, InitMedia, Lora, Pipeline, TextToVideoRequest,
};
use t2v_test_support::copy_folder;

/// Sets a key of a JSON file.
fn set(path: &Path, key: &str, value: Value) {
    let mut json: Map<String, Value> = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    json.insert(key.into(), value);
    fs::write(path, serde_json::to_vec(&json).unwrap()).unwrap();
}

fn open(model: impl Into<FolderModel>) -> Result<Pipeline, String> {
    Pipeline::from_dir(model, &Device::flex()).map_err(|error| error.to_string())
}

fn request() -> TextToVideoRequest {
    TextToVideoRequest::new("a heron")
        .with_size(16, 16)
        .with_num_inference_steps(1)
        .with_seed(1)
}

fn fault(pipeline: &Pipeline, request: &TextToVideoRequest, init: Option<InitMedia>) -> String {
    let mut options = GenerateOptions::default();
    options.init = init;
    pipeline.generate_with(request, options).unwrap_err().to_string()
}

#[test]
fn an_adapter_for_another_base_is_named() {
    for (key, value, part) in [
        ("block_out_channels", json!([8, 24]), "[8, 24]"),
        ("motion_layers_per_block", json!(2), "motion_layers_per_block"),
    ] {
        let adapter = copy("motion_adapter");
        set(&adapter.path().join("config.json"), key, value);
        let error = open(FolderModel::new(fixture("sd")).with_motion_adapter(adapter.path())).unwrap_err();
        assert!(error.contains(part) && error.contains("another base model"), "{error}");
    }
    let adapter = copy("motion_adapter");
    set(&adapter.path().join("config.json"), "conv_in_channels", json!(9));
    let error = open(FolderModel::new(fixture("sd")).with_motion_adapter(adapter.path())).unwrap_err();
    assert!(error.contains("conv_in_channels") && error.contains("PIA"), "{error}");
    let error = open(FolderModel::new(fixture("tiny_a")).with_motion_adapter(adapter.path())).unwrap_err();
    assert!(error.contains("goes with a folder of Stable Diffusion"), "{error}");
    let error = open(FolderModel::new(fixture("animatediff")).with_motion_adapter(adapter.path())).unwrap_err();
    assert!(error.contains("has motion modules already"), "{error}");
}

#[test]
fn a_missing_adapter_is_told_what_to_give() {
    let pipeline = open(fixture("sd")).unwrap();
    let error = fault(&pipeline, &request().with_num_frames(8), None);
    assert!(
        error.contains("still pictures") && error.contains("motion adapter"),
        "{error}"
    );
    let folder = copy("animatediff");
    let index = folder.path().join("model_index.json");
    set(&index, "motion_adapter", json!([null, null]));
    set(&index, "unet", json!(["diffusers", "UNet2DConditionModel"]));
    fs::remove_dir_all(folder.path().join("unet")).unwrap();
    copy_folder(&fixture("sd/unet"), &folder.path().join("unet"));
    let error = open(folder.path()).unwrap_err();
    assert!(
        error.contains("no motion modules") && error.contains("give one beside the folder"),
        "{error}"
    );
}

#[test]
fn long_clips_ask_for_windows() {
    let pipeline = open(FolderModel::new(fixture("sd")).with_motion_adapter(fixture("motion_adapter"))).unwrap();
    let long = request().with_num_frames(17);
    let error = fault(&pipeline, &long, None);
    assert!(
        error.contains("between 1 and 16") && error.contains("free_noise"),
        "{error}"
    );
    let made = pipeline
        .generate(&long.clone().with_free_noise(FreeNoise::new(8, 4)))
        .unwrap();
    assert_eq!(made.num_frames(), 17);
    assert_eq!(made.report().request().free_noise, Some(FreeNoise::new(8, 4)));
    let adapter = made.report().motion_adapter.clone().unwrap();
    assert_eq!((adapter.name.as_str(), adapter.sha256.len()), ("motion_adapter", 64));
    for (windows, part) in [
        (FreeNoise::new(17, 4), "between 1 and 16"),
        (FreeNoise::new(8, 9), "context_stride"),
        (FreeNoise::new(0, 1), "context_length"),
    ] {
        let error = fault(&pipeline, &long.clone().with_free_noise(windows), None);
        assert!(error.contains(part), "{error}");
    }
    let tiny = Pipeline::embedded(&Device::flex()).unwrap();
    let error = fault(&tiny, &long.with_free_noise(FreeNoise::new(8, 4)), None);
    assert!(error.contains("no motion modules"), "{error}");
}

#[test]
fn masks_are_for_pictures_and_inpainting_needs_one() {
    let masked = || InitMedia::Masked {
        picture: RgbImage::new(16, 16),
        mask: GrayImage::new(16, 16),
    };
    let tiny = Pipeline::embedded(&Device::flex()).unwrap();
    let error = fault(&tiny, &request().with_num_frames(2), Some(masked()));
    assert!(error.contains("can't paint into a mask"), "{error}");
    let folder = copy("sd");
    copy_folder(&fixture("sd_inpaint"), folder.path());
    let error = fault(&open(folder.path()).unwrap(), &request(), None);
    assert!(error.contains("for inpainting") && error.contains("a mask"), "{error}");
    let pictures = open(fixture("sd")).unwrap();
    let error = fault(&pictures, &request().with_free_init(FreeInit::default()), None);
    assert!(error.contains("FreeInit is for clips"), "{error}");
}

/// The size of a picture to start from is that of the result where the request does not say.
#[test]
fn pictures_keep_their_size() {
    let pipeline = open(fixture("sd")).unwrap();
    let mut request = request().with_num_inference_steps(2);
    (request.width, request.height) = (None, None);
    let options = GenerateOptions::default().with_init(InitMedia::Image(RgbImage::new(23, 33)));
    let made = pipeline.generate_with(&request, options).unwrap();
    assert_eq!((made.width(), made.height()), (20, 32));
    let made = pipeline.generate(&request).unwrap();
    assert_eq!((made.width(), made.height()), (32, 32));
}

/// FreeInit is for every model of clips; another seed for what it draws gives another clip.
#[test]
fn improved_sampling_is_for_every_model_of_clips() {
    let pipeline = Pipeline::embedded(&Device::flex()).unwrap();
    let mut request = TextToVideoRequest::new("a red circle")
        .with_num_frames(4)
        .with_num_inference_steps(2)
        .with_seed(5);
    request.use_improved_sampling = Some(true);
    let frames = |request: &TextToVideoRequest| pipeline.generate(request).unwrap().frames().to_vec();
    let improved = frames(&request);
    assert_eq!(improved, frames(&request));
    request.improved_sampling_seed = Some(7);
    assert_ne!(improved, frames(&request));
    request.use_improved_sampling = None;
    assert_ne!(improved, frames(&request));
}

#[test]
fn what_is_no_lora_is_named() {
    for (file, part) in [
        (fixture("sd/unet/diffusion_pytorch_model.safetensors"), "it is no LoRA"),
        (fixture("motion_adapter/diffusion_pytorch_model.safetensors"), "motion"),
    ] {
        let error = Lora::open(&file).unwrap_err().to_string();
        assert!(error.contains(part) && error.contains("can't be used"), "{error}");
    }
}

/// A LoRA whose part for the text encoder fits and whose part for the denoiser does not leaves nothing behind.
#[test]
fn a_lora_that_fits_in_part_leaves_nothing_behind() {
    let pipeline = open(fixture("sd")).unwrap();
    let frames = |request: &TextToVideoRequest| pipeline.generate(request).map(|video| video.frames().to_vec());
    let before = frames(&request()).unwrap();
    let file = fs::read(fixture("loras/kohya.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&file).unwrap();
    let zeros = vec![0; 2 * 999];
    let pair = |name: &str, shape: [usize; 2]| {
        let view = TensorView::new(Dtype::F16, shape.to_vec(), &zeros).unwrap();
        (
            format!("lora_unet_down_blocks_0_attentions_0_proj_in.{name}.weight"),
            view,
        )
    };
    let mut mixed: Vec<_> = tensors
        .tensors()
        .into_iter()
        .filter(|(name, _)| name.starts_with("lora_te_"))
        .collect();
    assert!(!mixed.is_empty());
    mixed.extend([pair("lora_down", [1, 999]), pair("lora_up", [999, 1])]);
    let mixed = safetensors::serialize(mixed, None).unwrap();
    pipeline
        .add_lora("mixed", Lora::from_safetensors("mixed", mixed).unwrap())
        .unwrap();
    for _ in 0..2 {
        let error = frames(&request().with_lora("mixed", 1.0)).unwrap_err().to_string();
        assert!(error.contains("The LoRA mixed can't be used"), "{error}");
        assert_eq!(before, frames(&request()).unwrap());
    }
}

#[test]
fn improved_sampling_of_a_clip_with_few_steps_left() {
    let pipeline = open(fixture("animatediff")).unwrap();
    let clip = || InitMedia::Video(vec![RgbImage::new(16, 16); 2]);
    let request = |steps, strength| {
        request()
            .with_num_inference_steps(steps)
            .with_strength(strength)
            .with_scheduler("HeunDiscrete")
            .with_free_init(FreeInit::new(2))
    };
    let error = fault(&pipeline, &request(3, 0.4), Some(clip()));
    assert!(error.contains("leaves the first none"), "{error}");
    let mut long = request(10, 0.5);
    long.free_init = Some(FreeInit::new(3));
    // With "leading" timesteps diffusers' Heun knows no last timestep of training.
    long.scheduler = Some("DDIM".into());
    let options = GenerateOptions::default().with_init(clip());
    assert_eq!(pipeline.generate_with(&long, options).unwrap().num_frames(), 2);
}

#[test]
fn pictures_without_room_for_a_latent_are_refused() {
    let pipeline = open(fixture("sd")).unwrap();
    let mut request = request().with_num_inference_steps(2);
    (request.width, request.height) = (None, None);
    for (width, height) in [(3, 16), (16, 1100)] {
        let error = fault(
            &pipeline,
            &request,
            Some(InitMedia::Image(RgbImage::new(width, height))),
        );
        assert!(error.contains("of the picture would be"), "{error}");
    }
}
