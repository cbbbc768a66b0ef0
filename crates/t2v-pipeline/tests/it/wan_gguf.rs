//! Wan from GGUF files: against diffusers with the same values, and with its own reader
//! (`scripts/make_t2v_pipeline_wan_gguf_fixtures.py`).

use std::{fs, path::PathBuf};

use crate::folders::fixture;
use serde::Deserialize;
use t2v_pipeline::{Device, FolderModel, Lora, MemoryMode, Pipeline, TextToVideoRequest};
use t2v_test_support::{Fixture, copy_folder};
use tempfile::TempDir;

#[derive(Deserialize)]
struct Run {
    prompt: String,
    seed: u32,
    num_inference_steps: u32,
    guidance_scale: f64,
    width: u32,
    height: u32,
    num_frames: u32,
}

fn gguf(file: &str) -> PathBuf {
    fixture("wan_gguf").join(file)
}

fn golden() -> Fixture {
    Fixture::open(gguf("golden.safetensors").to_str().unwrap())
}

fn request() -> TextToVideoRequest {
    let run: Run = golden().metadata("run");
    TextToVideoRequest::new(&run.prompt)
        .with_size(run.width, run.height)
        .with_num_frames(run.num_frames)
        .with_num_inference_steps(run.num_inference_steps)
        .with_guidance_scale(run.guidance_scale)
        .with_seed(run.seed)
}

/// A folder that has all but the weights of the transformer and the text encoder.
fn rest() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy_folder(&fixture("wan_a"), folder.path());
    for (component, weights) in [
        ("transformer", "diffusion_pytorch_model.safetensors"),
        ("text_encoder", "model.safetensors"),
    ] {
        fs::remove_file(folder.path().join(component).join(weights)).unwrap();
        let config = gguf(&format!("{component}.json"));
        fs::copy(config, folder.path().join(component).join("config.json")).unwrap();
    }
    folder
}

fn with_both(folder: &TempDir) -> FolderModel {
    FolderModel::new(folder.path())
        .with_weights("transformer", gguf("transformer.gguf"))
        .with_weights("text_encoder", gguf("text_encoder.gguf"))
}

#[test]
fn a_pipeline_of_gguf_files_equals_diffusers() {
    let (folder, golden) = (rest(), golden());
    let pipeline = Pipeline::from_dir(with_both(&folder), &t2v_test_support::device()).unwrap();
    let video = pipeline.generate(&request()).unwrap();
    let (shape, expected) = golden.values("frames");
    assert_eq!(shape, [video.num_frames(), video.height(), video.width(), 3]);
    let far = t2v_test_support::difference("wan_gguf frames", video.frames(), &expected);
    assert!(far < 5.0 * t2v_test_support::tolerance(), "{far}");
    // diffusers' reader widens blocks in f16.
    let (_, by_reader) = golden.values("frames_by_reader");
    let far = t2v_test_support::difference("wan_gguf frames by diffusers' reader", video.frames(), &by_reader);
    assert!(far < 3e-3, "{far}");
}

#[test]
fn a_transformer_by_itself_is_a_model_with_the_rest_of_a_folder() {
    let folder = rest();
    let single = FolderModel::new(gguf("transformer.gguf"))
        .with_config(folder.path())
        .with_weights("text_encoder", gguf("text_encoder.gguf"));
    let frames = |model: FolderModel| {
        let pipeline = Pipeline::from_dir(model, &Device::flex()).unwrap();
        pipeline.generate(&request()).unwrap().frames().to_vec()
    };
    assert!(frames(single) == frames(with_both(&folder)));
}

#[test]
fn blocks_stay_blocks_in_memory() {
    let folder = rest();
    let pipeline = Pipeline::from_dir(with_both(&folder), &Device::flex()).unwrap();
    pipeline.preload().unwrap();
    let files = ["transformer.gguf", "text_encoder.gguf"].map(|file| fs::metadata(gguf(file)).unwrap().len());
    let vae = fs::metadata(folder.path().join("vae/diffusion_pytorch_model.safetensors")).unwrap();
    // The autoencoder and what is small are widened from half precision.
    let most = files.iter().sum::<u64>() + 2 * vae.len();
    let loaded = pipeline.loaded_bytes();
    assert!((loaded as u64) < most + most / 4, "{loaded} bytes of {most}");
}

#[test]
fn streamed_blocks_of_a_gguf_file_give_the_same_video() {
    let folder = rest();
    let frames = |mode| {
        let pipeline = Pipeline::from_dir(with_both(&folder), &Device::flex()).unwrap();
        pipeline.set_memory_mode(mode);
        pipeline.generate(&request()).unwrap().frames().to_vec()
    };
    assert!(frames(MemoryMode::Streamed) == frames(MemoryMode::Resident));
}

#[test]
fn what_can_not_be_given_is_said() {
    let folder = rest();
    let said = |component: &str, file: PathBuf| {
        let model = FolderModel::new(folder.path()).with_weights(component, file);
        Pipeline::from_dir(model, &Device::flex()).err().unwrap().to_string()
    };
    for (component, file, part) in [
        ("transformer", "text_encoder.gguf", "no transformer of Wan"),
        ("text_encoder", "transformer.gguf", "no text encoder of Wan"),
        ("vae", "transformer.gguf", "weights of `vae`"),
        (
            "transformer_2",
            "transformer.gguf",
            "lists no component `transformer_2`",
        ),
        ("transformer", "absent.gguf", "is missing"),
        ("transformer", "transformer.json", "not a usable weight file"),
    ] {
        let message = said(component, gguf(file));
        assert!(message.contains(part), "{component} {file}: {message}");
    }
    let single = FolderModel::new(gguf("text_encoder.gguf")).with_config(folder.path());
    let message = Pipeline::from_dir(single, &Device::flex()).err().unwrap().to_string();
    assert!(message.contains("architecture `t5encoder`"), "{message}");
}

/// A LoRA of the transformer's first layer, of rank 1.
fn lora() -> Lora {
    use safetensors::{Dtype, tensor::TensorView};
    let ones: Vec<u8> = std::iter::repeat_n(1.0_f32.to_le_bytes(), 128).flatten().collect();
    let tensors = [("lora_A", [1, 128]), ("lora_B", [128, 1])].map(|(factor, shape)| {
        let name = format!("diffusion_model.blocks.0.self_attn.q.{factor}.weight");
        (name, TensorView::new(Dtype::F32, shape.to_vec(), &ones).unwrap())
    });
    Lora::from_safetensors("one.safetensors", safetensors::serialize(tensors, None).unwrap()).unwrap()
}

/// In memory they lie beside the blocks; streamed ones get them when they are read.
#[test]
fn loras_are_added_and_taken_off() {
    let folder = rest();
    let plain = request();
    let styled = request().with_lora("one", 0.5);
    let videos = [MemoryMode::Resident, MemoryMode::Streamed].map(|mode| {
        let pipeline = Pipeline::from_dir(with_both(&folder), &Device::flex()).unwrap();
        pipeline.set_memory_mode(mode);
        pipeline.add_lora("one", lora()).unwrap();
        [&plain, &styled, &plain].map(|request| pipeline.generate(request).unwrap().frames().to_vec())
    });
    for [before, with, after] in &videos {
        assert!(before != with && before == after);
    }
    assert!(videos[0] == videos[1]);
}
