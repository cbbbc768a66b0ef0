//! A LoRA as a file that everybody loads: PEFT's layout under diffusers' names.
//!
//! The factor `alpha / rank` is a part of `lora_B` here, so that what is told of alphas, and where a reader looks for it, changes
//! nothing: with an alpha that is the rank, and without any, the layer is the same.

use std::{collections::HashMap, path::Path};

use serde_json::json;

use crate::{Adapters, TrainError, TrainSettings, tensor_file};

/// What a LoRA's file says of it.
#[derive(Debug, Clone, Default)]
pub struct LoraLabel {
    /// The word in prompts that calls for it.
    pub trigger: Option<String>,
    /// The name of the model that it was trained on.
    pub base: String,
    /// SHA-256 of that model's denoiser.
    pub base_sha256: String,
    /// Steps it was trained for.
    pub steps: usize,
}

/// Writes a LoRA: whole, or not at all.
///
/// # Errors
/// A path that can't be written to.
pub fn save_lora(
    path: &Path,
    adapters: &Adapters,
    label: &LoraLabel,
    settings: &TrainSettings,
) -> Result<(), TrainError> {
    let mut tensors = Vec::new();
    for layer in adapters.layers() {
        let key = |matrix: &str| format!("unet.{}.{matrix}.weight", layer.name());
        tensors.push((key("lora_A"), layer.down().clone()));
        tensors.push((key("lora_B"), layer.up().clone() * adapters.scale()));
    }
    tensor_file::write(path, &tensors, metadata(label, settings))
}

fn metadata(label: &LoraLabel, settings: &TrainSettings) -> HashMap<String, String> {
    let peft = json!({
        "unet.r": settings.rank,
        "unet.lora_alpha": settings.rank,
        "unet.target_modules": settings.targets.ends(),
    });
    let all = serde_json::to_string(settings).unwrap_or_default();
    let mut metadata = HashMap::from([
        ("format".to_owned(), "pt".to_owned()),
        ("lora_adapter_metadata".to_owned(), peft.to_string()),
        ("base".to_owned(), label.base.clone()),
        ("base_sha256".to_owned(), label.base_sha256.clone()),
        ("rank".to_owned(), settings.rank.to_string()),
        ("steps".to_owned(), label.steps.to_string()),
        ("settings".to_owned(), all),
        (
            "software".to_owned(),
            format!("t2v-train {}", env!("CARGO_PKG_VERSION")),
        ),
    ]);
    if let Some(trigger) = &label.trigger {
        // The second is where the model specification of safetensors files has it.
        for key in ["trigger", "modelspec.trigger_phrase"] {
            metadata.insert(key.to_owned(), trigger.clone());
        }
    }
    metadata
}
