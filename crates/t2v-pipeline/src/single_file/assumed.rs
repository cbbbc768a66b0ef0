//! What is assumed of a checkpoint in one file: the files of the repositories whose configurations diffusers takes.
//!
//! They are `stable-diffusion-v1-5`, `stable-diffusion-inpainting`, `stable-diffusion-2-1` and `stable-diffusion-2-inpainting`
//! (`DIFFUSERS_DEFAULT_PIPELINE_PATHS` in `diffusers/loaders/single_file_utils.py`), without what has no effect.

use serde_json::{Value, json};

use super::kind::{Kind, Version};

/// `model_index.json`. The safety checker is left out, as by diffusers.
pub(super) fn index(kind: &Kind) -> Value {
    let pipeline = match kind.inpainting {
        true => "StableDiffusionInpaintPipeline",
        false => "StableDiffusionPipeline",
    };
    json!({
        "_class_name": pipeline,
        "scheduler": ["diffusers", scheduler(kind)["_class_name"]],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    })
}

/// The configurations of the components by their paths in the model folder.
pub(super) fn configurations(kind: &Kind) -> [(&'static str, Value); 4] {
    let channels = if kind.inpainting { 9 } else { 4 };
    // The model of 768 pixels is that which needs no mask.
    let pixels = match (kind.version, kind.inpainting) {
        (Version::V2, false) => 768,
        _ => 512,
    };
    let (unet, text_encoder) = match kind.version {
        Version::V1 => (
            t2v_denoiser::ldm::unet_2d_v1_config(channels),
            t2v_text_encoder::ldm::clip_config(),
        ),
        Version::V2 => (
            t2v_denoiser::ldm::unet_2d_v2_config(channels, pixels / 8),
            t2v_text_encoder::ldm::open_clip_config(),
        ),
    };
    [
        ("unet/config.json", unet),
        ("vae/config.json", t2v_vae::ldm::autoencoder_kl_config(pixels)),
        ("text_encoder/config.json", text_encoder),
        ("scheduler/scheduler_config.json", scheduler(kind)),
    ]
}

/// `scheduler/scheduler_config.json`.
fn scheduler(kind: &Kind) -> Value {
    let (class, prediction) = match (kind.version, kind.inpainting) {
        (Version::V1, false) | (Version::V2, true) => ("PNDMScheduler", "epsilon"),
        (Version::V1, true) => ("DDIMScheduler", "epsilon"),
        (Version::V2, false) => ("DDIMScheduler", "v_prediction"),
    };
    json!({
        "_class_name": class,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "beta_start": 0.00085,
        "clip_sample": false,
        "num_train_timesteps": 1000,
        "prediction_type": prediction,
        "set_alpha_to_one": false,
        "skip_prk_steps": true,
        "steps_offset": 1,
        "trained_betas": null,
    })
}
