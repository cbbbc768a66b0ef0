//! The text encoders of Stable Diffusion in the layout of its first code, latent-diffusion (LDM).
//!
//! Versions 1.x hold CLIP as transformers names it. Versions 2.x hold OpenCLIP under its own names: query, key and value are
//! one matrix, and the last of the 24 layers is there but never used.
//!
//! Upstream: `convert_ldm_clip_checkpoint` and `convert_open_clip_checkpoint` of `diffusers/loaders/single_file_utils.py`;
//! names: `open_clip/transformer.py` of OpenCLIP.

use serde_json::{Value, json};
use t2v_weights::Selection;

/// What the keys of CLIP begin with in a checkpoint of a whole model.
pub const CLIP_PREFIX: &str = "cond_stage_model.transformer.";
/// What the keys of OpenCLIP begin with in a checkpoint of a whole model.
pub const OPEN_CLIP_PREFIX: &str = "cond_stage_model.model.";

/// The tensors of `CLIPTextModel` in a checkpoint of Stable Diffusion 1.x.
#[must_use]
pub fn clip() -> Selection {
    Selection::new()
        .unwrap("state_dict.")
        .prefixes(&[CLIP_PREFIX])
        // A constant table.
        .leave_out(r"\.position_ids$")
        .rename(r"^text_model\.", "")
}

/// The tensors of `CLIPTextModel` in a checkpoint of Stable Diffusion 2.x.
#[must_use]
pub fn open_clip() -> Selection {
    Selection::new()
        .unwrap("state_dict.")
        .prefixes(&[OPEN_CLIP_PREFIX])
        .leave_out(r"^(text_projection|logit_scale|attn_mask)$")
        .leave_out(r"^transformer\.resblocks\.23\.")
        .rename(r"^token_embedding\.", "embeddings.token_embedding.")
        .rename(r"^positional_embedding$", "embeddings.position_embedding.weight")
        .rename(r"^ln_final\.", "final_layer_norm.")
        .rename(r"^transformer\.resblocks\.", "encoder.layers.")
        .rename(r"\.ln_1\.", ".layer_norm1.")
        .rename(r"\.ln_2\.", ".layer_norm2.")
        .rename(r"\.mlp\.c_fc\.", ".mlp.fc1.")
        .rename(r"\.mlp\.c_proj\.", ".mlp.fc2.")
        .rename(r"\.attn\.", ".self_attn.")
        .split(r"\.in_proj_(weight|bias)$", &[".q_proj.$1", ".k_proj.$1", ".v_proj.$1"])
}

/// `text_encoder/config.json` of Stable Diffusion 1.x.
#[must_use]
pub fn clip_config() -> Value {
    json!({
        "architectures": ["CLIPTextModel"],
        "hidden_act": "quick_gelu",
        "hidden_size": 768,
        "intermediate_size": 3072,
        "layer_norm_eps": 1e-5,
        "max_position_embeddings": 77,
        "num_attention_heads": 12,
        "num_hidden_layers": 12,
        "projection_dim": 768,
        "vocab_size": 49408,
    })
}

/// `text_encoder/config.json` of Stable Diffusion 2.x.
#[must_use]
pub fn open_clip_config() -> Value {
    json!({
        "architectures": ["CLIPTextModel"],
        "hidden_act": "gelu",
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "layer_norm_eps": 1e-5,
        "max_position_embeddings": 77,
        "num_attention_heads": 16,
        "num_hidden_layers": 23,
        "projection_dim": 512,
        "vocab_size": 49408,
    })
}
