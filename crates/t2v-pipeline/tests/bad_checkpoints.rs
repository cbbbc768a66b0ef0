//! Damaged model folders end in one clear sentence.

#![allow(clippy::unwrap_used)]

use std::{
    fs,
    path::{Path, PathBuf},
};

use t2v_pipeline::{Device, Pipeline};
use tempfile::TempDir;

/// A copy of a good checkpoint to damage.
fn checkpoint() -> TempDir {
    fn copy(from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let path = entry.unwrap().path();
            let target = to.join(path.file_name().unwrap());
            if path.is_dir() {
                copy(&path, &target)
            } else {
                fs::copy(&path, &target).map(|_| ()).unwrap()
            }
        }
    }
    let folder = tempfile::tempdir().unwrap();
    copy(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny_a"),
        folder.path(),
    );
    folder
}

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
    let folder = checkpoint();
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
    let folder = checkpoint();
    fs::remove_file(folder.path().join("model_index.json")).unwrap();
    assert_names(&message(folder.path()), &["model_index.json"]);
}

#[test]
fn unknown_class() {
    let folder = checkpoint();
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
    let folder = checkpoint();
    edit(
        folder.path().join("unet/config.json"),
        "CrossAttnDownBlock3D",
        "StrangeBlock",
    );
    assert_names(&message(folder.path()), &["unet/config.json", "StrangeBlock"]);
}

#[test]
fn impossible_configuration() {
    let folder = checkpoint();
    edit(
        folder.path().join("unet/config.json"),
        "\"norm_num_groups\": 4",
        "\"norm_num_groups\": 5",
    );
    assert_names(&message(folder.path()), &["norm_num_groups"]);
}

#[test]
fn truncated_weights() {
    let folder = checkpoint();
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
    let folder = checkpoint();
    fs::remove_file(folder.path().join("vae/diffusion_pytorch_model.safetensors")).unwrap();
    assert_names(&message(folder.path()), &["vae", "diffusion_pytorch_model.safetensors"]);
}

#[test]
fn a_key_of_the_wrong_name() {
    let folder = checkpoint();
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
    let folder = checkpoint();
    edit(
        folder.path().join("text_encoder/config.json"),
        "\"intermediate_size\": 32",
        "\"intermediate_size\": 40",
    );
    assert_names(&message(folder.path()), &["fc1.weight", "shape", "40"]);
}

#[test]
fn components_that_do_not_fit() {
    let folder = checkpoint();
    edit(folder.path().join("model_index.json"), "\"vae\"", "\"other\"");
    assert_names(&message(folder.path()), &["model_index.json", "vae"]);
}
