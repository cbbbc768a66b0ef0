//! Wan with blocks that are read for each call: the same videos, in less memory, and faults that come between.

use std::{fs, path::Path};

use crate::folders::copy;
use t2v_pipeline::{
    CancelToken, Device, GenerateOptions, MemoryMode, Pipeline, PipelineError, Stage, TextToVideoRequest,
};

fn open(folder: &Path, mode: MemoryMode) -> Pipeline {
    let pipeline = Pipeline::from_dir(folder, &Device::flex()).unwrap();
    pipeline.set_memory_mode(mode);
    pipeline
}

fn request() -> TextToVideoRequest {
    TextToVideoRequest::new("a red fox")
        .with_size(32, 32)
        .with_num_frames(5)
        .with_num_inference_steps(4)
        .with_seed(1)
}

/// One transformer, two, and timesteps of tokens.
#[test]
fn videos_are_the_same_to_the_bit() {
    for name in ["wan_a", "wan_b", "wan_c"] {
        let folder = copy(name);
        let videos = [MemoryMode::Resident, MemoryMode::Sequential, MemoryMode::Streamed].map(|mode| {
            let pipeline = open(folder.path(), mode);
            // A second generation begins like the first.
            let first = pipeline.generate(&request()).unwrap();
            assert!(pipeline.generate(&request()).unwrap().frames() == first.frames());
            first.frames().to_vec()
        });
        assert!(videos[0] == videos[1] && videos[0] == videos[2], "{name}");
    }
}

/// Splits the weights of the transformer into a shard a block, and an index.
fn shard(folder: &Path) {
    use std::collections::BTreeMap;
    let transformer = folder.join("transformer");
    let whole = transformer.join("diffusion_pytorch_model.safetensors");
    let bytes = fs::read(&whole).unwrap();
    fs::remove_file(whole).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut shards: BTreeMap<String, Vec<_>> = BTreeMap::new();
    let mut map = serde_json::Map::new();
    for (key, view) in tensors.iter() {
        let part = match key.strip_prefix("blocks.") {
            Some(rest) => rest.split('.').next().unwrap(),
            None => "rest",
        };
        let file = format!("diffusion_pytorch_model-{part}.safetensors");
        map.insert(key.to_owned(), file.clone().into());
        shards.entry(file).or_default().push((key.to_owned(), view));
    }
    assert!(shards.len() > 2);
    for (file, tensors) in shards {
        fs::write(transformer.join(file), safetensors::serialize(tensors, None).unwrap()).unwrap();
    }
    let index = serde_json::json!({"weight_map": map}).to_string();
    fs::write(
        transformer.join("diffusion_pytorch_model.safetensors.index.json"),
        index,
    )
    .unwrap();
}

#[test]
fn shards_are_read_block_by_block() {
    let folder = copy("wan_a");
    let expected = open(folder.path(), MemoryMode::Resident).generate(&request()).unwrap();
    shard(folder.path());
    let video = open(folder.path(), MemoryMode::Streamed).generate(&request()).unwrap();
    assert!(video.frames() == expected.frames());
}

/// Bytes in memory during the model calls of a generation.
fn bytes_while_denoising(mode: MemoryMode) -> usize {
    let folder = copy("wan_a");
    let pipeline = open(folder.path(), mode);
    let mut most = 0;
    let options = GenerateOptions::default().with_progress(|progress| {
        if progress.stage == Stage::Denoising {
            most = most.max(pipeline.loaded_bytes());
        }
    });
    pipeline.generate_with(&request(), options).unwrap();
    most
}

#[test]
fn blocks_are_not_kept() {
    let [sequential, streamed] = [MemoryMode::Sequential, MemoryMode::Streamed].map(bytes_while_denoising);
    assert!(0 < streamed && streamed < sequential, "{streamed} {sequential}");
}

#[test]
fn a_file_that_is_cut_while_it_is_used_ends_the_generation() {
    let folder = copy("wan_a");
    let weights = folder.path().join("transformer/diffusion_pytorch_model.safetensors");
    let pipeline = open(folder.path(), MemoryMode::Streamed);
    let mut calls = 0;
    let options = GenerateOptions::default().with_progress(|progress| {
        if progress.stage == Stage::Denoising {
            calls += 1;
            if calls == 2 {
                let file = fs::OpenOptions::new().write(true).open(&weights).unwrap();
                file.set_len(3000).unwrap();
            }
        }
    });
    let message = pipeline.generate_with(&request(), options).unwrap_err().to_string();
    assert!(
        message.contains("diffusion_pytorch_model.safetensors") && message.contains("blocks."),
        "{message}"
    );
    assert_eq!(pipeline.loaded_bytes(), 0);
}

#[test]
fn a_generation_is_cancelled_between_calls() {
    let folder = copy("wan_b");
    let pipeline = open(folder.path(), MemoryMode::Streamed);
    let cancel = CancelToken::new();
    let canceller = cancel.clone();
    let mut calls = 0;
    let options = GenerateOptions::default()
        .with_cancel(cancel)
        .with_progress(|progress| {
            if progress.stage == Stage::Denoising {
                calls += 1;
                if calls == 2 {
                    canceller.cancel();
                }
            }
        });
    let error = pipeline.generate_with(&request(), options).unwrap_err();
    assert!(matches!(error, PipelineError::Cancelled), "{error}");
    assert_eq!(pipeline.loaded_bytes(), 0);
}
