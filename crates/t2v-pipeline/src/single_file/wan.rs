//! Wan's transformer in one file, in the layout of its first code, beside a folder that has the rest of the model.
//!
//! Upstream: `WanTransformer3DModel.from_single_file`, whose result is given to the pipeline of a folder.

use std::path::Path;

use serde_json::{Value, json};
use t2v_denoiser::{check_wan_transformer, wan_transformer, wan_transformer_config};
use t2v_weights::{FolderParts, ModelFolder, TensorFile, WeightsError};

use super::fault;
use crate::{PipelineError, expert::Expert};

/// Keys that only this network has, in its own layout and in diffusers'.
const MARKS: [&str; 2] = ["head.modulation", "condition_embedder.time_proj.weight"];
/// The channels of the autoencoder of Wan 2.2's small model, whose latent frames have timesteps of their own.
const CHANNELS_WITH_TIMESTEPS: u64 = 48;
const INDEX: &str = "model_index.json";
const SCHEDULER: &str = "scheduler/scheduler_config.json";

/// Whether a file holds the transformer.
pub(super) fn is_transformer(file: &TensorFile) -> bool {
    let is_mark = |name: &str, mark: &str| {
        name.strip_suffix(mark)
            .is_some_and(|before| before.is_empty() || before.ends_with('.'))
    };
    file.names().any(|name| MARKS.iter().any(|mark| is_mark(name, mark)))
}

/// The model folder whose transformer is that of the file. In a folder of two transformers [its name says](Expert::named_by) which.
///
/// # Errors
/// The file holds another network, or its name does not say which; there is no folder, or one of two transformers without an index.
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
    let name = expert(path, folder)?.component();
    let mut parts = FolderParts::new(path).with_folder(folder);
    if !folder.join(name).join("config.json").is_file() {
        let config = wan_transformer_config(file.display(), file.shapes())?;
        parts = parts.with_json(&format!("{name}/config.json"), &config);
    }
    let index = index(file, &parts)?;
    let parts = parts.with_json(INDEX, &index);
    Ok(ModelFolder::from_parts(parts.with_weights(
        name,
        path,
        wan_transformer(),
    ))?)
}

fn expert(path: &Path, folder: &Path) -> Result<Expert, PipelineError> {
    if !folder.join(Expert::Clear.component()).is_dir() {
        return Ok(Expert::Noisy);
    }
    if !folder.join(INDEX).is_file() {
        let reason = format!(
            "`{}` has two transformers and no `{INDEX}`, which says in `boundary_ratio` when the second takes over (0.875 for the \
             model of text, 0.9 for that of pictures)",
            folder.display()
        );
        return Err(fault(path, reason));
    }
    Expert::named_by(path).ok_or_else(|| {
        let reason = format!(
            "`{}` has two transformers, and the file's name has neither `high_noise` nor `low_noise` in it: give the folder as the model, \
             and the file as its transformer or its second one",
            folder.display()
        );
        fault(path, reason)
    })
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
    let bare = ModelFolder::from_parts(parts.clone().with_json(INDEX, &classes))?;
    let mut index = classes;
    let scheduler: Option<Value> = bare.optional_config(SCHEDULER)?;
    let class = scheduler.as_ref().and_then(|config| config.get("_class_name")).cloned();
    index["scheduler"] = json!(["diffusers", class.unwrap_or_else(|| "UniPCMultistepScheduler".into())]);
    let vae: Option<Value> = bare.optional_config("vae/config.json")?;
    let channels = vae
        .as_ref()
        .and_then(|config| config.get("z_dim"))
        .and_then(Value::as_u64);
    index["expand_timesteps"] = (channels == Some(CHANNELS_WITH_TIMESTEPS)).into();
    if file.names().any(|name| name.contains("img_emb.")) {
        index["_class_name"] = "WanImageToVideoPipeline".into();
        index["image_encoder"] = json!(["transformers", "CLIPVisionModel"]);
        index["image_processor"] = json!(["transformers", "CLIPImageProcessor"]);
    }
    Ok(index)
}
