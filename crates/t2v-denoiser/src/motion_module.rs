//! Motion modules: `MotionAdapter` folders of diffusers, and the files that AnimateDiff's own code writes.
//!
//! A file has no configuration: the sizes are read off the shapes, heads and groups are those of every module that there is.
//! The table of positions is left out, as in diffusers, since it can be computed.
//!
//! Upstream: `convert_animatediff_checkpoint_to_diffusers` of `diffusers/loaders/single_file_utils.py`; names:
//! `animatediff/models/motion_module.py` of AnimateDiff ([Guo et al., 2023](https://arxiv.org/abs/2307.04725)).

use std::path::Path;

use serde_json::{Value, json};
use t2v_weights::{Component, FolderParts, Selection, Taken, TensorFile, WeightsError};

use crate::DenoiserError;

/// The class of a folder's `config.json`.
const CLASS: &str = "MotionAdapter";
/// Resolutions of the U-Net of Stable Diffusion 1.x, whose modules these are.
const LEVELS: usize = 4;
/// The attention heads of every motion module.
const HEADS: usize = 8;
/// The groups of its normalisation.
const GROUPS: usize = 32;

/// What else a file may be that holds motion modules, or is given for one: a part of a key, and what it is.
const OTHERS: [(&str, &str); 7] = [
    (
        "lora",
        "it is a LoRA, which is applied to a motion module, not used as one",
    ),
    (
        "controlnet_cond_embedding.",
        "it is a SparseCtrl encoder, which is not supported",
    ),
    (
        "conv_in.",
        "it has a first convolution beside the motion module, as PIA has, which is not supported",
    ),
    (
        "temporal_attentions.",
        "it is a motion module of Hotshot-XL, which is not supported",
    ),
    ("cc_projection.", "it is a module of MotionCtrl, which is not supported"),
    (
        "pose_encoder.",
        "it is a camera encoder of CameraCtrl, which is not supported",
    ),
    (
        "model.diffusion_model.",
        "it is a checkpoint of a whole model, not a motion module",
    ),
];

/// A motion adapter: a folder with `config.json` and weights, or one file in AnimateDiff's own layout
/// (`mm_sd_v15_v2.ckpt`, safetensors likewise).
///
/// # Errors
/// Neither of them is there; the folder is another's, the file a motion module of another model, or none.
pub fn open_motion_adapter(path: impl AsRef<Path>) -> Result<Component, DenoiserError> {
    let path = path.as_ref();
    if !path.is_file() {
        return Ok(Component::open_class(path, &[CLASS])?);
    }
    let file = TensorFile::open(path)?;
    let config = motion_module_config(file.display(), file.shapes())?;
    let parts = FolderParts::new(path).with_json("config.json", &config);
    Ok(Component::from_parts(parts.with_weights("", path, motion_module())))
}

/// The tensors of `MotionAdapter` in a file of AnimateDiff's own layout.
#[must_use]
pub fn motion_module() -> Selection {
    Selection::new()
        .unwrap("state_dict.")
        .unwrap("module.")
        .leave_out(r"\.pos_encoder\.")
        .rename(r"\.temporal_transformer\.", ".")
        .rename(r"\.attention_blocks\.0\.", ".attn1.")
        .rename(r"\.attention_blocks\.1\.", ".attn2.")
        .rename(r"\.norms\.0\.", ".norm1.")
        .rename(r"\.norms\.1\.", ".norm2.")
        .rename(r"\.ff_norm\.", ".norm3.")
}

/// The `config.json` of a motion module in AnimateDiff's own layout, from the names and shapes of its tensors; `origin` is
/// the file's name for messages.
///
/// # Errors
/// It is the module of another model, or none.
pub fn motion_module_config<'a>(
    origin: &str,
    tensors: impl Iterator<Item = (&'a str, &'a [usize])>,
) -> Result<Value, WeightsError> {
    let tensors: Vec<_> = tensors.collect();
    let fault = |reason: String| WeightsError::SingleFile {
        file: origin.into(),
        reason,
    };
    for (part, what) in OTHERS {
        if tensors.iter().any(|(key, _)| key.contains(part)) {
            return Err(fault(what.into()));
        }
    }
    let positions = tensors.iter().find(|(key, _)| key.ends_with(".pos_encoder.pe"));
    let Some((_, [_, positions, _])) = positions else {
        return Err(fault(without_positions(&tensors)));
    };
    let module = Shapes(motion_module().plan(origin, tensors.iter().copied())?);
    let levels = module.count(|level| format!("down_blocks.{level}.motion_modules.0.norm.weight"));
    match levels {
        LEVELS => {}
        3 => {
            let reason = "it is a motion module of Stable Diffusion XL (three resolutions), which is not supported; those of \
                          Stable Diffusion 1.x are";
            return Err(fault(reason.into()));
        }
        _ => {
            return Err(fault(format!(
                "its motion modules are of {levels} resolutions; those of Stable Diffusion 1.x have {LEVELS}"
            )));
        }
    }
    Ok(module.config(*positions))
}

/// What a file without a table of positions is.
fn without_positions(tensors: &[(&str, &[usize])]) -> String {
    if tensors.iter().any(|(key, _)| key.contains(".motion_modules.")) {
        return format!(
            "it is the weights of a `{CLASS}` of diffusers alone; give the folder that has its `config.json`, too"
        );
    }
    let found = tensors.first().map_or("none".into(), |(key, _)| format!("`{key}`"));
    format!(
        "it is no motion module in AnimateDiff's own layout, with keys such as \
         `down_blocks.0.motion_modules.0.temporal_transformer.norm.weight`: its first key is {found}"
    )
}

/// The tensors of a motion module under diffusers' names.
struct Shapes(Vec<Taken>);

impl Shapes {
    fn shape(&self, name: &str) -> Option<&[usize]> {
        let found = self.0.iter().find(|tensor| tensor.name == name);
        found.map(|tensor| tensor.shape.as_slice())
    }

    /// How many there are of a key, counted from 0.
    fn count(&self, key: impl Fn(usize) -> String) -> usize {
        let there = |index: &usize| self.shape(&key(*index)).is_some();
        (0..self.0.len()).take_while(there).count()
    }

    fn config(&self, positions: usize) -> Value {
        let width = |level| {
            let norm = self.shape(&format!("down_blocks.{level}.motion_modules.0.norm.weight"));
            norm.and_then(|shape| shape.first().copied()).unwrap_or_default()
        };
        let depth = |module: &str| self.count(|layer| format!("{module}.transformer_blocks.{layer}.norm1.weight"));
        let mid = self.count(|module| format!("mid_block.motion_modules.{module}.norm.weight"));
        json!({
            "_class_name": CLASS,
            "block_out_channels": (0..LEVELS).map(width).collect::<Vec<_>>(),
            "motion_layers_per_block": self.count(|module| format!("down_blocks.0.motion_modules.{module}.norm.weight")),
            "motion_transformer_layers_per_block": depth("down_blocks.0.motion_modules.0"),
            "motion_mid_block_layers_per_block": mid.max(1),
            "motion_transformer_layers_per_mid_block": depth("mid_block.motion_modules.0").max(1),
            "motion_num_attention_heads": HEADS,
            "motion_norm_num_groups": GROUPS,
            "motion_max_seq_length": positions,
            "use_motion_mid_block": mid > 0,
            "conv_in_channels": null,
        })
    }
}
