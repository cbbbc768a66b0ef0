//! Models of two transformers: which of them files, LoRAs and guidance scales are for.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    folders::{copy, fixture, replace},
    wan::{apart, open},
};
use safetensors::{Dtype, tensor::TensorView};
use serde_json::{Map, Value};
use t2v_pipeline::{Device, FolderModel, Lora, MemoryMode, Pipeline, TextToVideoRequest};
use tempfile::TempDir;

fn fault(model: FolderModel) -> String {
    Pipeline::from_dir(model, &Device::flex()).err().unwrap().to_string()
}

fn request() -> TextToVideoRequest {
    TextToVideoRequest::new("a red fox")
        .with_size(32, 16)
        .with_num_frames(5)
        .with_num_inference_steps(6)
        .with_seed(1)
}

/// The model of two transformers, with another `boundary_ratio`.
fn with_boundary(ratio: impl Into<Value>) -> TempDir {
    let folder = copy("wan_b");
    let keys = Map::from_iter([("boundary_ratio".into(), ratio.into())]);
    replace(&folder.path().join("model_index.json"), &keys);
    folder
}

/// A LoRA of the first layer, of rank 1.
fn lora(file: &str) -> Lora {
    let values: Vec<u8> = (0_u8..24).flat_map(|i| (f32::from(i) / 24.0).to_le_bytes()).collect();
    let tensors = [("lora_A", [1, 24]), ("lora_B", [24, 1])].map(|(factor, shape)| {
        let name = format!("diffusion_model.blocks.0.self_attn.v.{factor}.weight");
        (name, TensorView::new(Dtype::F32, shape.to_vec(), &values).unwrap())
    });
    Lora::from_safetensors(file, safetensors::serialize(tensors, None).unwrap()).unwrap()
}

fn frames(folder: &Path, mode: MemoryMode, loras: &[&str]) -> Vec<f32> {
    let pipeline = open(folder);
    pipeline.set_memory_mode(mode);
    let mut request = request();
    for name in loras {
        pipeline.add_lora(*name, lora(name)).unwrap();
        request = request.with_lora(name, 1.0);
    }
    pipeline.generate(&request).unwrap().frames().to_vec()
}

#[test]
fn loras_are_for_the_transformer_that_their_names_say() {
    const HIGH: &str = "wan2.2_high_noise.safetensors";
    const LOW: &str = "Wan22_LOW.safetensors";
    let (both, second_alone) = (fixture("wan_b"), with_boundary(1.0));
    let of = |loras: &[&str]| frames(&both, MemoryMode::Resident, loras);
    let (none, high, low, pair) = (of(&[]), of(&[HIGH]), of(&[LOW]), of(&[HIGH, LOW]));
    assert!(none != high && none != low && high != low && pair != high && pair != low);
    // Without a word of it, it is the first one's.
    assert!(of(&["style.safetensors"]) == high);
    for mode in [MemoryMode::Sequential, MemoryMode::Streamed] {
        assert!(frames(&both, mode, &[HIGH, LOW]) == pair, "{mode:?}");
    }
    let of_second = |loras: &[&str]| frames(second_alone.path(), MemoryMode::Resident, loras);
    assert!(of_second(&[HIGH]) == of_second(&[]) && of_second(&[LOW]) != of_second(&[]));
}

/// The same file under two names is for two transformers.
#[test]
fn another_name_is_another_lora() {
    let pipeline = open(fixture("wan_b"));
    let of = |name: &str| {
        pipeline.add_lora(name, lora(name)).unwrap();
        pipeline
            .generate(&request().with_lora(name, 1.0))
            .unwrap()
            .frames()
            .to_vec()
    };
    let both = fixture("wan_b");
    for name in ["high_noise.safetensors", "low_noise.safetensors"] {
        assert!(of(name) == frames(&both, MemoryMode::Resident, &[name]), "{name}");
    }
}

#[test]
fn a_lora_of_the_second_transformer_is_as_on_it_alone() {
    let second = with_boundary(1.0);
    let alone = with_boundary(Value::Null);
    fs::remove_dir_all(alone.path().join("transformer")).unwrap();
    fs::rename(alone.path().join("transformer_2"), alone.path().join("transformer")).unwrap();
    let keys = Map::from_iter([("transformer_2".into(), Value::Null)]);
    replace(&alone.path().join("model_index.json"), &keys);
    let low = ["low_noise.safetensors"];
    assert!(frames(second.path(), MemoryMode::Resident, &low) == frames(alone.path(), MemoryMode::Resident, &low));
}

#[test]
fn a_file_that_would_not_be_used_is_refused() {
    let (_root, _, file) = apart("wan_b", "transformer_2", "wan2.2_low_noise.safetensors");
    let one = with_boundary(Value::Null);
    let message = fault(FolderModel::new(one.path()).with_weights("transformer_2", &file));
    assert!(message.contains("`boundary_ratio`"), "{message}");
    let twice = FolderModel::new(&file)
        .with_config(fixture("wan_b"))
        .with_weights("transformer_2", &file);
    let message = fault(twice);
    assert!(
        message.contains("two files are given for its `transformer_2`"),
        "{message}"
    );
}

#[test]
fn which_transformer_a_file_is_has_to_be_known() {
    let renamed = |name: &str| -> (TempDir, PathBuf, PathBuf) {
        let (root, rest, file) = apart("wan_b", "transformer_2", "low_noise.safetensors");
        let path = root.path().join(name);
        fs::rename(file, &path).unwrap();
        (root, rest, path)
    };
    let expected = open(fixture("wan_b")).generate(&request()).unwrap();
    let (_root, rest, file) = renamed("Wan2.2-T2V-A14B-LowNoise.safetensors");
    let video = open(FolderModel::new(&file).with_config(&rest))
        .generate(&request())
        .unwrap();
    assert!(video.frames() == expected.frames());
    let (_root, rest, file) = renamed("wan2.2.safetensors");
    let message = fault(FolderModel::new(&file).with_config(&rest));
    assert!(message.contains("neither `high_noise` nor `low_noise`"), "{message}");
    fs::remove_file(rest.join("model_index.json")).unwrap();
    let message = fault(FolderModel::new(&file).with_config(&rest));
    assert!(message.contains("no `model_index.json`"), "{message}");
}

/// As in diffusers, where the first one says whether there is any guidance.
#[test]
fn a_second_scale_counts_beside_a_first_one() {
    let pipeline = open(fixture("wan_b"));
    let frames = |first, second| {
        let request = request().with_guidance_scale(first).with_guidance_scale_2(second);
        pipeline.generate(&request).unwrap().frames().to_vec()
    };
    assert!(frames(1.0, 4.0) == frames(1.0, 1.0) && frames(2.0, 4.0) != frames(2.0, 1.0));
}
