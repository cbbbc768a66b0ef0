//! LoRA: small matrices that are added to a model's weights, in the layouts that people have.
//!
//! A layer of a LoRA is a pair `down` `[rank, in, …]` and `up` `[out, rank]`; with it the layer's weight becomes
//! `W + scale · alpha / rank · up · down`. The key decision: that sum is computed once and takes the weight's place
//! ([`LoraSet::apply`]), so that a step costs what it costs without a LoRA; the weights that were replaced are kept and put back
//! ([`AppliedLoras::remove`]).
//!
//! | layout | a key of it |
//! | --- | --- |
//! | diffusers, PEFT | `unet.down_blocks.0….attn1.to_q.lora_A.weight`, with or without `unet.` and `base_model.model.` |
//! | diffusers before PEFT | `unet.….to_q.lora.down.weight`, `text_encoder.….q_proj.lora_linear_layer.down.weight` |
//! | diffusers' attention processors | `….attn1.processor.to_q_lora.down.weight` (also `v3_sd15_adapter`) |
//! | kohya | `lora_unet_down_blocks_0_…_attn1_to_q.lora_down.weight`, `lora_te_…`, `.alpha`; with dots after the prefix too |
//! | Wan's own names | `diffusion_model.blocks.0.self_attn.q.lora_down.weight`, `….lora_A.weight`, `….alpha`, `….diff_b` |
//! | AnimateDiff's motion LoRA | `….motion_modules.0.temporal_transformer.….attention_blocks.0.processor.to_q_lora.down.weight` |
//!
//! # How a key finds its parameter
//! A name with dots is a module's name in diffusers: the target's [`KeyMap`](crate::KeyMap) makes the parameter's path of it,
//! as it does for the checkpoint's own keys. Kohya's names have underscores in place of the dots: they are read back with the
//! words that the target's fields and its key map contain (`down_blocks`, `to_q`), and the first reading that leads to a
//! parameter is taken.
//!
//! # Where diffusers 0.42.1 is followed although it is odd
//! - In kohya's files the layers' own `alpha` counts only outside the attention's `to_q`, `to_k`, `to_v` and `to_out.0`, and not
//!   in the text encoder. There the commonest alpha of the part (U-Net or text encoder) holds, the first in the file of several;
//!   so it does for layers without one.
//! - Layers without an alpha in a file without any have a scale of 1. In PEFT's layout alphas are in the metadata
//!   (`lora_adapter_metadata`), with patterns that match a module's whole name or its end.
//! - `text_model.` in names of the text encoder is left out or not, as transformers 5 does.
//! - In Wan's own names biases may have differences (`diff_b`), to which no alpha applies; they count where the layer has matrices. Of
//!   whole differences of weights (`diff`) that of `head.head` alone counts.
//! - Layers that the model does not have are left out with a warning, unless none is left; other shapes are an error.
//!
//! # Where it is not followed
//! - Names without `unet.` are the denoiser's: diffusers loads nothing then.
//! - Keys beside the layers are left out with a warning, where diffusers refuses the file.
//! - A kohya file of a text encoder without `out_proj` is applied in full; diffusers leaves its attention out.
//! - A 1x1 kernel fits a linear layer and the reverse.
//! - DoRA is refused: diffusers drops `dora_scale` and shows another picture.
//! - An `adapter_config.json` beside `adapter_model.safetensors` gives the alphas.

mod alpha;
mod applied;
mod beside;
mod fit;
mod folder;
mod key;
mod layer;
mod merge;
mod metadata;
mod names;
mod plan;
mod refusal;
mod set;

use std::path::Path;

use burn::tensor::DType;
use sha2::{Digest, Sha256};

use self::layer::LoraLayer;
pub use self::{applied::AppliedLoras, plan::LoraPlan, set::LoraSet};
use crate::{
    WeightsError, safetensors,
    source::{Blob, digits},
    tensors::WeightFile,
};

/// The part of a model that a layer of a LoRA is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LoraTarget {
    /// The U-Net or transformer that is called for each timestep, motion modules included.
    Denoiser,
    /// The (first) text encoder.
    TextEncoder,
}

impl std::fmt::Display for LoraTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            LoraTarget::Denoiser => "denoiser",
            LoraTarget::TextEncoder => "text encoder",
        })
    }
}

/// A LoRA file: its layers are known, their values are read when they are added to a model.
///
/// Layouts: diffusers' and PEFT's, those of diffusers before PEFT, kohya's, with kernels of convolutions (LoCon) or without,
/// AnimateDiff's motion LoRA and domain adapter. The scale of a layer is what diffusers takes it to be, which is not always its
/// own alpha over its rank in kohya's files: there attention and text encoder have the commonest alpha of their part.
#[derive(Debug)]
pub struct Lora {
    origin: String,
    blob: Blob,
    layers: Vec<LoraLayer>,
    unknown: Vec<String>,
}

impl Lora {
    /// Opens `path`: safetensors by its extension, anything else (`.bin`, `.pt`, `.ckpt`) as a pickle, of which no code runs.
    /// A folder stands for the LoRA in it, by the names that diffusers and PEFT give it, or else the only safetensors file there.
    ///
    /// # Errors
    /// The file is missing or damaged, it is no LoRA, or one of a kind that is not supported (DoRA, LoHa, LoKr, SDXL, …).
    pub fn open(path: impl AsRef<Path>) -> Result<Self, WeightsError> {
        let path = &folder::file_of(path.as_ref())?;
        let file = WeightFile::open(path)?;
        let metadata = metadata::beside(path)?;
        let blob = match &file {
            WeightFile::Safetensors { blob, .. } | WeightFile::Gguf { blob, .. } => blob.clone(),
            WeightFile::Pickle { file, .. } => Blob::open(file)?,
        };
        Self::new(path.display().to_string(), blob, &file, metadata)
    }

    /// A safetensors file held in memory; `origin` names it in errors.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub fn from_safetensors(origin: &str, bytes: Vec<u8>) -> Result<Self, WeightsError> {
        let (file, blob) = (origin.to_string(), Blob::Memory(bytes.into()));
        let weights = WeightFile::Safetensors {
            file: file.clone(),
            blob: blob.clone(),
        };
        Self::new(file, blob, &weights, None)
    }

    fn new(
        origin: String,
        blob: Blob,
        file: &WeightFile,
        beside: Option<metadata::AdapterMetadata>,
    ) -> Result<Self, WeightsError> {
        let tensors = file.tensors(DType::F32.into())?;
        let of_file = match file {
            WeightFile::Safetensors { file, blob } => metadata::of_file(file, &safetensors::strings(file, blob)?)?,
            WeightFile::Gguf { .. } | WeightFile::Pickle { .. } => None,
        };
        let metadata = of_file.or(beside).unwrap_or_default();
        let (layers, unknown) = layer::layers(tensors, &metadata).map_err(|reason| WeightsError::Lora {
            file: origin.clone(),
            reason,
        })?;
        if !unknown.is_empty() {
            let (count, keys) = (unknown.len(), crate::load::list(&unknown));
            log::warn!("`{origin}` has keys that are no part of a LoRA; they are left out: {count} keys: {keys}");
        }
        Ok(Self {
            origin,
            blob,
            layers,
            unknown,
        })
    }

    /// The file's name for messages.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// How many layers it has for a part of a model.
    #[must_use]
    pub fn layers(&self, target: LoraTarget) -> usize {
        self.of(target).count()
    }

    /// Keys of the file that are no part of a LoRA, in the file's order.
    #[must_use]
    pub fn unknown_keys(&self) -> &[String] {
        &self.unknown
    }

    /// SHA-256 of the whole file, in hexadecimal digits. Reads it each time.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn sha256(&self) -> Result<String, WeightsError> {
        let mut hash = Sha256::new();
        self.blob.hash(&self.origin, &mut hash)?;
        Ok(digits(hash))
    }

    fn of(&self, target: LoraTarget) -> impl Iterator<Item = &LoraLayer> {
        self.layers.iter().filter(move |layer| layer.target == target)
    }
}
