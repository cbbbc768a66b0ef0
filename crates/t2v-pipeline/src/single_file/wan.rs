//! Wan's transformer in one file, in the layout of its first code, beside a folder that has the rest of the model.
//!
//! Upstream: `WanTransformer3DModel.from_single_file`, whose result is given to the pipeline of a folder.

use std::path::Path;

use serde_json::{Value, json};
use t2v_denoiser::{check_wan_transformer, wan_transformer, wan_transformer_config};
use t2v_weights::{FolderParts, ModelFolder, TensorFile, WeightsError};

use super::fault;
use crate::PipelineError;

/// A key that only this network has.
const MARK: &str = "head.modulation";
/// What files of the second transformer have in their names.
const SECOND: &str = "low_noise";
const SCHEDULER: &str = "scheduler/scheduler_config.json";

/// Whether a file holds the transformer.
pub(super) fn is_transformer(file: &TensorFile) -> bool {
    file.names()
        .any(|name| name == MARK || name.ends_with(".head.modulation"))
}

/// The model folder whose transformer is that of the file. In a folder of two transformers it is the first, or the second if
/// the name of the file has `low_noise` in it.
///
/// # Errors
/// The file holds another network, or there is no folder.
pub(super) fn open(path: &Path, file: &TensorFile, folder: Option<&Path>) -> Result<ModelFolder, PipelineError> {
    check_wan_transformer(file.display(), file.shapes())?;
    let Some(folder) = folder else {
        let reason = "it is the transformer of Wan in one file; give a folder in diffusers' layout that has the rest of the model: \
                      `tokenizer/`, `text_encoder/`, `vae/` and `scheduler/`";
        return Err(fault(path, reason.into()));
    };
    if !folder.is_dir() {
        return Err(WeightsError::MissingFolder(folder.into()).into());
    }
    let name = component(path, folder);
    let mut parts = FolderParts::new(path).with_folder(folder);
    if !folder.join(name).join("config.json").is_file() {
        let config = wan_transformer_config(file.display(), file.shapes())?;
        parts = parts.with_json(&format!("{name}/config.json"), &config);
    }
    let index = index(file, &parts)?;
    let parts = parts.with_json("model_index.json", &index);
    Ok(ModelFolder::from_parts(parts.with_weights(
        name,
        path,
        wan_transformer(),
    ))?)
}

fn component(path: &Path, folder: &Path) -> &'static str {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    match name.contains(SECOND) && folder.join("transformer_2").is_dir() {
        true => "transformer_2",
        false => "transformer",
    }
}

/// `model_index.json` for where the folder has none: the components that it has.
fn index(file: &TensorFile, parts: &FolderParts) -> Result<Value, PipelineError> {
    let classes = json!({
        "_class_name": "WanPipeline",
        "text_encoder": ["transformers", "UMT5EncoderModel"],
        "tokenizer": ["transformers", "T5TokenizerFast"],
        "transformer": ["diffusers", "WanTransformer3DModel"],
        "vae": ["diffusers", "AutoencoderKLWan"],
    });
    let bare = ModelFolder::from_parts(parts.clone().with_json("model_index.json", &classes))?;
    let mut index = classes;
    let scheduler: Option<Value> = bare.optional_config(SCHEDULER)?;
    let class = scheduler.as_ref().and_then(|config| config.get("_class_name")).cloned();
    index["scheduler"] = json!(["diffusers", class.unwrap_or_else(|| "UniPCMultistepScheduler".into())]);
    if file.names().any(|name| name.contains("img_emb.")) {
        index["_class_name"] = "WanImageToVideoPipeline".into();
        index["image_encoder"] = json!(["transformers", "CLIPVisionModel"]);
        index["image_processor"] = json!(["transformers", "CLIPImageProcessor"]);
    }
    Ok(index)
}
