//! What lies where a model folder should: a sentence for each common mistake.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::{WeightsError, folder::INDEX};

/// Extensions of checkpoints that are one file.
const SINGLE_FILES: [&str; 7] = ["safetensors", "ckpt", "pt", "pth", "bin", "gguf", "onnx"];
/// Configurations that lie in the folder of one component.
const CONFIGS: [&str; 3] = ["config.json", "scheduler_config.json", "tokenizer_config.json"];
/// The weights of ModelScope's own layout.
const MODELSCOPE: &str = "text2video_pytorch_model.pth";

/// Whether `path` is a folder with a model index.
///
/// # Errors
/// It is not: the error says what it is, and what to do.
pub(crate) fn check(path: &Path) -> Result<(), WeightsError> {
    if path.is_file() {
        return Err(fault(path, of_file(path)));
    }
    if !path.is_dir() {
        return Err(WeightsError::MissingFolder(path.into()));
    }
    if path.join(INDEX).is_file() {
        return Ok(());
    }
    match of_folder(path) {
        Some(reason) => Err(fault(path, format!("it has no `{INDEX}`; {reason}"))),
        None => Err(WeightsError::MissingFile {
            file: path.join(INDEX).display().to_string(),
            hint: "a model folder in diffusers' layout has it".into(),
        }),
    }
}

/// Whether `path` is the folder of one component of diffusers, of one of `classes`.
///
/// # Errors
/// It is not: the error says what it is, and what to do.
pub(crate) fn check_component(path: &Path, classes: &[&str]) -> Result<(), WeightsError> {
    let wanted = format!(
        "give the folder with the `config.json` and the weights of {}",
        classes.join(" or ")
    );
    let fault = |reason: &str| {
        Err(WeightsError::NotAComponent {
            path: path.display().to_string(),
            reason: format!("{reason}; {wanted}"),
        })
    };
    match () {
        () if path.is_file() => fault("it is a file"),
        () if !path.is_dir() => Err(WeightsError::MissingFolder(path.into())),
        () if path.join("config.json").is_file() => Ok(()),
        () if path.join(INDEX).is_file() => fault("it is a whole model"),
        () if entries(path).is_empty() => fault("the folder is empty"),
        () => fault("it has no `config.json`"),
    }
}

fn fault(path: &Path, reason: String) -> WeightsError {
    WeightsError::NotAModelFolder {
        path: path.display().to_string(),
        reason,
    }
}

fn of_file(path: &Path) -> String {
    let extension = path.extension().and_then(OsStr::to_str).unwrap_or("").to_lowercase();
    if path.file_name() == Some(OsStr::new(INDEX)) {
        return "it is the index of one; give the folder that it lies in".into();
    }
    if SINGLE_FILES.contains(&extension.as_str()) {
        return "it is a single file; those of Stable Diffusion are opened with a folder that has a tokenizer, of other \
                models give a folder as diffusers' `save_pretrained` writes it"
            .into();
    }
    "it is a file; give a folder as diffusers' `save_pretrained` writes it".into()
}

/// What a folder without an index is, where it is known.
fn of_folder(path: &Path) -> Option<String> {
    let entries = entries(path);
    if entries.is_empty() {
        return Some("the folder is empty".into());
    }
    if path.join("configuration.json").is_file() || path.join(MODELSCOPE).is_file() {
        return Some(
            "it is a model in ModelScope's own layout: convert its U-Net with diffusers' \
             `scripts/convert_ms_text_to_video_to_diffusers.py`, or take the converted \
             `ali-vilab/text-to-video-ms-1.7b` of the Hugging Face Hub"
                .into(),
        );
    }
    of_component(path)
        .or_else(|| of_parent(&entries))
        .or_else(|| of_weights(&entries))
}

/// The files and folders inside; none where they can't be listed.
fn entries(path: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(path) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

fn of_component(path: &Path) -> Option<String> {
    let config = CONFIGS.iter().map(|name| path.join(name)).find(|file| file.is_file())?;
    let json: Value = serde_json::from_slice(&std::fs::read(config).ok()?).unwrap_or_default();
    let parent = path.parent().filter(|parent| parent.join(INDEX).is_file());
    let give = match parent {
        Some(parent) => format!("give `{}`, the folder above it", parent.display()),
        None => format!("give the folder that has `{INDEX}`, usually the one above it"),
    };
    let of_diffusers = json.get("_class_name").and_then(Value::as_str);
    let of_transformers = json.get("architectures").and_then(|list| list.get(0)?.as_str());
    match (of_diffusers, of_transformers, parent) {
        (Some(class), ..) | (None, Some(class), Some(_)) => {
            Some(format!("it is one component of a model, `{class}`: {give}"))
        }
        (None, Some(class), None) => Some(format!(
            "it is a model of transformers, `{class}`; a model that makes videos is wanted"
        )),
        (None, None, _) => Some(format!("it is one component of a model: {give}")),
    }
}

/// A folder that holds a model folder, or the `snapshots` of the Hub's cache, which hold some.
fn of_parent(entries: &[PathBuf]) -> Option<String> {
    let is_model = |path: &&PathBuf| path.join(INDEX).is_file();
    let snapshots: Vec<PathBuf> = entries
        .iter()
        .filter(|path| path.file_name() == Some(OsStr::new("snapshots")))
        .flat_map(|path| self::entries(path))
        .collect();
    let models: Vec<String> = entries
        .iter()
        .chain(&snapshots)
        .filter(is_model)
        .map(|path| format!("`{}`", path.display()))
        .collect();
    match models.as_slice() {
        [] => None,
        [model] => Some(format!("it holds a model folder: give {model}")),
        models => Some(format!(
            "it holds several model folders: give one of {}",
            models.join(", ")
        )),
    }
}

fn of_weights(entries: &[PathBuf]) -> Option<String> {
    let is_weights = |path: &&PathBuf| {
        let extension = path.extension().and_then(OsStr::to_str).unwrap_or("").to_lowercase();
        path.is_file() && SINGLE_FILES.contains(&extension.as_str())
    };
    let file = entries.iter().find(is_weights)?;
    let name = file.file_name().and_then(OsStr::to_str).unwrap_or("");
    Some(format!(
        "it holds the single file `{name}`; give that itself if it is a checkpoint of Stable Diffusion, otherwise a folder as \
         diffusers' `save_pretrained` writes it"
    ))
}
