//! The LoRA in a folder.

use std::path::{Path, PathBuf};

use crate::WeightsError;

/// What diffusers and PEFT call it; motion LoRAs are called what networks are called.
const NAMES: [&str; 6] = [
    "pytorch_lora_weights.safetensors",
    "adapter_model.safetensors",
    "diffusion_pytorch_model.safetensors",
    "pytorch_lora_weights.bin",
    "adapter_model.bin",
    "diffusion_pytorch_model.bin",
];

/// `path`, or if it is a folder the LoRA in it.
///
/// # Errors
/// A folder without one, or one that can't be listed.
pub(super) fn file_of(path: &Path) -> Result<PathBuf, WeightsError> {
    if !path.is_dir() {
        return Ok(path.into());
    }
    let known = NAMES.iter().map(|name| path.join(name)).find(|file| file.is_file());
    if let Some(file) = known {
        return Ok(file);
    }
    let mut others = safetensors_in(path)?;
    match (others.pop(), others.is_empty()) {
        (Some(file), true) => Ok(file),
        (found, _) => Err(WeightsError::MissingFile {
            file: path.join(NAMES[0]).display().to_string(),
            hint: match found {
                Some(_) => "the folder has several safetensors files; name the one that is meant".into(),
                None => format!("a folder with a LoRA has it or one of {}", NAMES[1..].join(", ")),
            },
        }),
    }
}

fn safetensors_in(folder: &Path) -> Result<Vec<PathBuf>, WeightsError> {
    let list = || {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            let file = entry?.path();
            if file.extension().is_some_and(|e| e.eq_ignore_ascii_case("safetensors")) {
                files.push(file);
            }
        }
        Ok(files)
    };
    list().map_err(|source| WeightsError::Io {
        file: folder.display().to_string(),
        source,
    })
}
