//! A LoRA as a file that everybody loads: PEFT's layout under diffusers' names.
//!
//! The factor `alpha / rank` is a part of `lora_B` here, so that what is told of alphas, and where a reader looks for it, changes
//! nothing: with an alpha that is the rank, and without any, the layer is the same.

use std::{collections::HashMap, path::Path};

use burn::tensor::Tensor;
use serde_json::{Map, Value, json};
use t2v_weights::LoraTarget;

use crate::{
    Adapter, Adapters, TargetModules, TrainError, TrainSettings,
    targets::of_text_encoders,
    tensor_file::{self, Entry},
};

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
    tensor_file::write(path, &entries(adapters), metadata(adapters, label, settings))
}

/// The bytes of the file that [`save_lora`] writes.
///
/// # Errors
/// Values that can't be read back from their device.
pub fn lora_bytes(adapters: &Adapters, label: &LoraLabel, settings: &TrainSettings) -> Result<Vec<u8>, TrainError> {
    let metadata = metadata(adapters, label, settings);
    tensor_file::serialise(Path::new("the LoRA"), &entries(adapters), metadata)
}

/// The matrices; of a convolution `down` has the kernel's sides, and `up` sides of 1.
fn entries(adapters: &Adapters) -> Vec<Entry> {
    let mut entries = Vec::new();
    for layer in adapters.layers() {
        let prefix = adapters.prefix(layer.target());
        let entry = |matrix: &str, values: &Tensor<2>, sides: &[usize]| {
            let [rows, columns] = values.dims();
            let of_row = [rows, columns / sides.iter().product::<usize>()];
            Entry::new(format!("{prefix}.{}.{matrix}.weight", layer.name()), values.clone())
                .shaped([&of_row[..], sides].concat())
        };
        entries.push(entry("lora_A", layer.down(), layer.kernel()));
        let up = layer.up().clone() * adapters.scale();
        entries.push(entry("lora_B", &up, &vec![1; layer.kernel().len()]));
    }
    entries
}

/// What PEFT is told of the parts that have adapters.
fn peft(adapters: &Adapters, settings: &TrainSettings) -> Value {
    let mut told = Map::new();
    let parts = [
        (LoraTarget::Denoiser, settings.targets.clone()),
        (LoraTarget::TextEncoder, of_text_encoders()),
    ];
    for (target, targets) in parts {
        let (_, layers) = adapters.of(target);
        if layers.is_empty() {
            continue;
        }
        let is_used = |end: &&String| {
            let of_end = TargetModules::new([(*end).clone()]);
            let mut linear = layers.iter().filter(|layer| layer.kernel().is_empty());
            linear.any(|layer| of_end.contains(layer.name()))
        };
        let used = targets.ends().iter().filter(is_used).map(String::as_str);
        // By their whole names: PEFT refuses an end that is that of a layer without weights, too, as `conv1` is of convolutions along time.
        let convolutions = layers.iter().filter(|layer| !layer.kernel().is_empty());
        let used: Vec<&str> = used.chain(convolutions.map(Adapter::name)).collect();
        let prefix = adapters.prefix(target);
        told.insert(format!("{prefix}.r"), json!(settings.rank));
        told.insert(format!("{prefix}.lora_alpha"), json!(settings.rank));
        told.insert(format!("{prefix}.target_modules"), json!(used));
    }
    told.into()
}

fn metadata(adapters: &Adapters, label: &LoraLabel, settings: &TrainSettings) -> HashMap<String, String> {
    let peft = peft(adapters, settings);
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
