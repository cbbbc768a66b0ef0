//! Which model a file of one checkpoint holds, by its keys and shapes as in `infer_diffusers_model_type` of diffusers.

use std::fmt;

use t2v_denoiser::ldm::UNET_PREFIX;
use t2v_text_encoder::ldm::{CLIP_PREFIX, OPEN_CLIP_PREFIX};
use t2v_weights::{Selection, Taken, TensorFile, WeightsError};

/// A part of a key that gives another model away, and what it is.
const OTHERS: [(&str, &str); 24] = [
    ("lora", "a LoRA, which is applied to a model, not opened as one"),
    ("string_to_param.", "a learnt word (textual inversion), not a model"),
    ("emb_params", "a learnt word (textual inversion), not a model"),
    (
        ".temporal_transformer.",
        "a motion module of AnimateDiff, which is given beside a model of Stable Diffusion 1.x",
    ),
    ("control_model.", "a ControlNet"),
    ("controlnet_cond_embedding.", "a ControlNet"),
    ("edm_mean", "Playground v2.5"),
    ("conditioner.embedders.0.open_clip.", "Stable Video Diffusion"),
    ("conditioner.embedders.", "Stable Diffusion XL"),
    ("joint_blocks.", "Stable Diffusion 3"),
    ("text_encoders.clip_g.", "Stable Diffusion 3"),
    ("individual_token_refiner.", "HunyuanVideo"),
    ("distilled_guidance_layer.", "Chroma"),
    ("double_blocks.", "Flux"),
    ("single_stream_modulation.", "Flux 2"),
    ("clip_txt_mapper.", "Stable Cascade"),
    (".channelwise.", "Stable Cascade"),
    ("patchify_proj.", "LTX-Video"),
    (".attn.qkv_x.", "Mochi"),
    ("cap_embedder.", "Lumina 2"),
    ("double_layers.", "AuraFlow"),
    ("cross_attn.q_linear.", "Sana or PixArt"),
    ("double_stream_blocks.", "HiDream"),
    ("net.x_embedder.", "Cosmos"),
];

/// A model that can be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) version: Version,
    /// Whether it takes a masked picture beside the latents.
    pub(super) inpainting: bool,
    /// None where the file has no text encoder.
    pub(super) text_encoder: Option<TextEncoder>,
    pub(super) has_vae: bool,
}

/// Which Stable Diffusion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// 1.x, with text of width 768.
    V1,
    /// 2.x, with text of width 1024.
    V2,
}

/// Whose names the text encoder has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TextEncoder {
    Clip,
    OpenClip,
}

impl Kind {
    /// # Errors
    /// The file holds something else, which is named.
    pub(super) fn of(file: &TensorFile) -> Result<Self, WeightsError> {
        let keys = Selection::new()
            .unwrap("state_dict.")
            .plan(file.display(), file.shapes())?;
        Self::of_keys(&keys).map_err(|reason| WeightsError::SingleFile {
            file: file.display().into(),
            reason,
        })
    }

    fn of_keys(keys: &[Taken]) -> Result<Self, String> {
        let starts = |prefix: &str| keys.iter().any(|key| key.name.starts_with(prefix));
        let other = OTHERS
            .iter()
            .find(|(part, _)| keys.iter().any(|key| key.name.contains(part)));
        if let Some((_, what)) = other {
            return Err(format!(
                "it is {what}; checkpoints of Stable Diffusion 1.x and 2.x and transformers of Wan are opened from one file"
            ));
        }
        let channels = axis(keys, "input_blocks.0.0.weight", 1).ok_or_else(|| without_unet(keys))?;
        let width = axis(keys, "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight", 1);
        Ok(Self {
            version: if width == Some(1024) { Version::V2 } else { Version::V1 },
            inpainting: inpaints(channels)?,
            text_encoder: match () {
                () if starts(CLIP_PREFIX) => Some(TextEncoder::Clip),
                () if starts(OPEN_CLIP_PREFIX) => Some(TextEncoder::OpenClip),
                () => None,
            },
            has_vae: t2v_vae::ldm::PREFIXES.iter().any(|prefix| starts(prefix)),
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.version {
            Version::V1 => "Stable Diffusion 1.x",
            Version::V2 => "Stable Diffusion 2.x",
        })
    }
}

/// An axis of a tensor of the U-Net.
fn axis(keys: &[Taken], name: &str, axis: usize) -> Option<usize> {
    let is_it = |key: &&Taken| key.name.strip_prefix(UNET_PREFIX) == Some(name);
    keys.iter().find(is_it)?.shape.get(axis).copied()
}

/// By the channels that the U-Net takes: latents, and what lies beside them.
fn inpaints(channels: usize) -> Result<bool, String> {
    let other = match channels {
        9 => return Ok(true),
        5 => "the depth model of Stable Diffusion 2.x, which is not supported",
        7 => "the upscaler of Stable Diffusion 2.x, which is not supported",
        8 => "InstructPix2Pix, which is not supported",
        _ => return Ok(false),
    };
    Err(format!(
        "it is {other}: its U-Net takes {channels} channels, not 4 or 9"
    ))
}

/// What a file is whose U-Net is not where it should be.
fn without_unet(keys: &[Taken]) -> String {
    let Some(first) = keys.first() else {
        return "it holds no tensor".into();
    };
    let starts = |prefixes: &[&str]| {
        let mut keys = keys.iter();
        keys.any(|key| prefixes.iter().any(|prefix| key.name.starts_with(prefix)))
    };
    match () {
        () if starts(&["down_blocks.", "encoder.down_blocks.", "text_model."]) => {
            "it is the weights of one component in diffusers' layout; give the folder of the model that it lies in"
                .into()
        }
        () if starts(&["encoder.down.", "first_stage_model.", "vae."]) => "it is an autoencoder without a U-Net".into(),
        () => format!(
            "it is no checkpoint of Stable Diffusion 1.x or 2.x: it has no U-Net under `{UNET_PREFIX}`, its first key is `{}`",
            first.source
        ),
    }
}
