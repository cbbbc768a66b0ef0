//! Checkpoints of Stable Diffusion 1.x and 2.x in one file, and transformers of Wan, opened as if they were model folders.
//!
//! Such a file of Stable Diffusion (`.safetensors`, or a `.ckpt` pickle, of which no code is run) has the weights of the U-Net, the autoencoder
//! and the text encoder in the layout of latent-diffusion, and nothing else. The configurations are those that diffusers
//! takes for its kind, or those of a folder that is given, as by diffusers' `config=`; the tokenizer is always of that folder.
//! One of Wan has the weights of the transformer, in safetensors or GGUF; the rest is the folder's.
//!
//! Upstream: `diffusers/loaders/single_file.py`.

mod assumed;
mod kind;
#[cfg(test)]
mod tests;
mod wan;
mod weights;

use std::path::Path;

use serde_json::{Map, Value};
use t2v_weights::{FolderParts, ModelFolder, Selection, TensorFile, WeightsError};

use crate::PipelineError;
use kind::{Kind, TextEncoder};
pub(crate) use weights::with_file;

/// More residual blocks at a resolution than any network has.
const MOST_LAYERS: u64 = 64;
/// More resolutions than any network has.
const MOST_LEVELS: usize = 16;

/// Opens `path`, a checkpoint of Stable Diffusion 1.x or 2.x in one file or a transformer of Wan, as a model folder.
///
/// Files of `config_folder`, a diffusers folder or one that has at least `tokenizer/`, come before what is assumed of the
/// checkpoint's kind; weights of it are read only for a component that the file lacks, such as an autoencoder that was left
/// out.
///
/// Of 2.x the model of 768 pixels is assumed, which predicts velocity, as in diffusers: one of 512 pixels needs the
/// scheduler's configuration in `config_folder`.
///
/// Of Wan the folder has all but the transformer, whose configuration is read off the file where the folder has none. Where it has two,
/// the file's name says which one it is, by `high_noise` or `low_noise`.
///
/// # Errors
/// The file can't be read, would run code, or is of another kind, which is named; no folder with a tokenizer is given; a
/// component is neither in the file nor in the folder.
pub fn open_single_file(path: impl AsRef<Path>, config_folder: Option<&Path>) -> Result<ModelFolder, PipelineError> {
    let path = path.as_ref();
    let file = TensorFile::open(path)?;
    if wan::is_transformer(&file) {
        return wan::open(path, &file, config_folder);
    }
    if let Some(architecture) = file.string("general.architecture") {
        let reason = format!(
            "it is a GGUF file of the architecture `{architecture}`; of those the transformers of Wan are opened"
        );
        return Err(fault(path, reason));
    }
    let kind = Kind::of(&file)?;
    let Some(folder) = config_folder else {
        let reason =
            format!("it is {kind} in one file, which has no tokenizer; give a folder that has one in `tokenizer/`");
        return Err(fault(path, reason));
    };
    if !folder.is_dir() {
        return Err(WeightsError::MissingFolder(folder.into()).into());
    }
    let parts = with_configurations(FolderParts::new(path).with_folder(folder), &kind)?;
    check_tokenizer(&ModelFolder::from_parts(parts.clone())?)?;
    Ok(ModelFolder::from_parts(with_weights(parts, path, &kind)?)?)
}

fn fault(path: &Path, reason: String) -> PipelineError {
    let file = path.display().to_string();
    WeightsError::SingleFile { file, reason }.into()
}

fn check_tokenizer(model: &ModelFolder) -> Result<(), PipelineError> {
    let tokenizer = model.component("tokenizer")?;
    if ["vocab.json", "tokenizer.json"].iter().any(|name| tokenizer.has(name)) {
        return Ok(());
    }
    Err(WeightsError::MissingFile {
        file: tokenizer.display("vocab.json"),
        hint: "a checkpoint of one file takes its tokenizer from there".into(),
    }
    .into())
}

/// The configurations that are assumed where the folder has none.
fn with_configurations(parts: FolderParts, kind: &Kind) -> Result<FolderParts, PipelineError> {
    let mut index = assumed::index(kind);
    let mut parts = parts.with_json("model_index.json", &index);
    for (path, config) in assumed::configurations(kind) {
        parts = parts.with_json(path, &config);
    }
    // A folder without an index may have a scheduler of its own.
    let scheduler = ModelFolder::from_parts(parts.clone())?.component("scheduler")?;
    let config = scheduler.json("scheduler_config.json")?;
    if let Some(class) = config.get("_class_name") {
        index["scheduler"][1] = class.clone();
    }
    Ok(parts.with_json("model_index.json", &index))
}

/// The weights of the file; those of a component that it has nothing of are the folder's.
fn with_weights(mut parts: FolderParts, path: &Path, kind: &Kind) -> Result<FolderParts, PipelineError> {
    let model = ModelFolder::from_parts(parts.clone())?;
    for (name, selection) in selections(kind, &model)? {
        match selection {
            Some(selection) => parts = parts.with_weights(name, path, selection),
            None => {
                let found = model.component(name)?.weights();
                found.map_err(|e| {
                    fault(
                        path,
                        format!("it has no weights of the `{name}`, and the folder beside it has none: {e}"),
                    )
                })?;
            }
        }
    }
    Ok(parts)
}

/// What each component takes of the file; none where the file has nothing of it.
fn selections(kind: &Kind, model: &ModelFolder) -> Result<[(&'static str, Option<Selection>); 3], PipelineError> {
    let unet = model.component("unet")?.json("config.json")?;
    let vae = model.component("vae")?.json("config.json")?;
    let layers = unet.get("layers_per_block").and_then(Value::as_u64);
    let layers = layers.map_or(2, |layers| layers.min(MOST_LAYERS) as usize);
    let unet = t2v_denoiser::ldm::unet_2d(levels(&unet), layers);
    let vae = kind.has_vae.then(|| t2v_vae::ldm::autoencoder_kl(levels(&vae)));
    let text_encoder = kind.text_encoder.map(|text_encoder| match text_encoder {
        TextEncoder::Clip => t2v_text_encoder::ldm::clip(),
        TextEncoder::OpenClip => t2v_text_encoder::ldm::open_clip(),
    });
    Ok([("unet", Some(unet)), ("vae", vae), ("text_encoder", text_encoder)])
}

/// The resolutions of a network; what is wrong with a configuration is said when it is read for good.
fn levels(config: &Map<String, Value>) -> usize {
    let widths = config.get("block_out_channels").and_then(Value::as_array);
    widths.map_or(0, |widths| widths.len().min(MOST_LEVELS))
}
