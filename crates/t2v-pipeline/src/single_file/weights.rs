//! Files with the weights of one component, in place of those of a folder.

use std::path::Path;

use t2v_denoiser::{check_wan_transformer, wan_transformer};
use t2v_weights::{ModelFolder, Selection, TensorFile};

use super::{fault, wan};
use crate::PipelineError;

/// Keys that only an encoder of T5 has: of Wan's own code, transformers and llama.cpp.
const TEXT_ENCODER: [&str; 3] = [
    "blocks.0.pos_embedding.embedding.weight",
    "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
    "enc.blk.0.attn_rel_b.weight",
];

/// The folder with the weights of a component from `file`.
///
/// # Errors
/// The file can't be read or is of another network; the folder has no such component, or it is one that is not given by itself.
pub(crate) fn with_file(folder: ModelFolder, component: &str, file: &Path) -> Result<ModelFolder, PipelineError> {
    let tensors = TensorFile::open(file)?;
    let is_text_encoder = || {
        let is_mark = |name: &str| TEXT_ENCODER.iter().any(|mark| name.ends_with(mark));
        tensors.names().any(is_mark)
    };
    let selection = match component {
        "transformer" | "transformer_2" if wan::is_transformer(&tensors) => {
            check_wan_transformer(tensors.display(), tensors.shapes())?;
            wan_transformer()
        }
        "text_encoder" if is_text_encoder() => Selection::new(),
        "transformer" | "transformer_2" => return Err(fault(file, "it is no transformer of Wan".into())),
        "text_encoder" => return Err(fault(file, "it is no text encoder of Wan (UMT5)".into())),
        other => {
            let reason = format!(
                "weights of `{other}` are not taken from a file by itself; those of `transformer`, `transformer_2` and `text_encoder` are"
            );
            return Err(fault(file, reason));
        }
    };
    Ok(folder.with_weights(component, file, selection)?)
}
