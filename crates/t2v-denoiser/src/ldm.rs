//! The U-Net of Stable Diffusion 1.x and 2.x in the layout of its first code, latent-diffusion (LDM).
//!
//! That code counts the layers of its `input_blocks` and `output_blocks` from end to end; diffusers counts blocks, and the
//! residual blocks, attentions and samplers in each. Inside a residual block the two name its parts differently, inside a
//! transformer alike.
//!
//! Upstream: `convert_ldm_unet_checkpoint` of `diffusers/loaders/single_file_utils.py`; names:
//! `ldm/modules/diffusionmodules/openaimodel.py` of latent-diffusion.

use serde_json::{Value, json};
use t2v_weights::Selection;

/// What the keys of the U-Net begin with in a checkpoint of a whole model.
pub const UNET_PREFIX: &str = "model.diffusion_model.";

/// The tensors of `UNet2DConditionModel` in a checkpoint of a whole model, for a U-Net of so many resolutions
/// (`block_out_channels`) with so many residual blocks at each (`layers_per_block`).
#[must_use]
pub fn unet_2d(levels: usize, layers_per_block: usize) -> Selection {
    let mut selection = Selection::new()
        .unwrap("state_dict.")
        .prefixes(&[UNET_PREFIX])
        .rename(r"^time_embed\.0\.", "time_embedding.linear_1.")
        .rename(r"^time_embed\.2\.", "time_embedding.linear_2.")
        .rename(r"^out\.0\.", "conv_norm_out.")
        .rename(r"^out\.2\.", "conv_out.")
        .rename(r"^input_blocks\.0\.0\.", "conv_in.")
        .rename(r"^middle_block\.0\.", "mid_block.resnets.0.")
        .rename(r"^middle_block\.1\.", "mid_block.attentions.0.")
        .rename(r"^middle_block\.2\.", "mid_block.resnets.1.");
    // The layers of a resolution: on the way down its blocks and the one that halves the sides, on the way up one block more.
    let each = layers_per_block.saturating_add(1);
    for layer in 0..levels.saturating_mul(each) {
        selection = layers(selection, layer, layer / each, layer % each);
    }
    residual_blocks(selection)
}

/// The layer `count` of both ways, which is `layer` in `block`.
fn layers(selection: Selection, count: usize, block: usize, layer: usize) -> Selection {
    // The first of the input blocks is the convolution before all.
    let down = format!(r"^input_blocks\.{}\.", count + 1);
    let up = format!(r"^output_blocks\.{count}\.");
    selection
        .rename(
            &format!(r"{down}0\.op\."),
            &format!("down_blocks.{block}.downsamplers.0.conv."),
        )
        .rename(&format!(r"{down}0\."), &format!("down_blocks.{block}.resnets.{layer}."))
        .rename(
            &format!(r"{down}1\."),
            &format!("down_blocks.{block}.attentions.{layer}."),
        )
        // The last layer of a resolution doubles the sides, after an attention where it has one.
        .rename(
            &format!(r"{up}[12]\.conv\."),
            &format!("up_blocks.{block}.upsamplers.0.conv."),
        )
        .rename(&format!(r"{up}0\."), &format!("up_blocks.{block}.resnets.{layer}."))
        .rename(&format!(r"{up}1\."), &format!("up_blocks.{block}.attentions.{layer}."))
}

fn residual_blocks(selection: Selection) -> Selection {
    let parts = [
        (r"in_layers\.0", "norm1"),
        (r"in_layers\.2", "conv1"),
        (r"emb_layers\.1", "time_emb_proj"),
        (r"out_layers\.0", "norm2"),
        (r"out_layers\.3", "conv2"),
        ("skip_connection", "conv_shortcut"),
    ];
    parts.into_iter().fold(selection, |selection, (from, to)| {
        selection.rename(&format!(r"(\.resnets\.\d+)\.{from}\."), &format!("$1.{to}."))
    })
}

/// `unet/config.json` of Stable Diffusion 1.5 with `in_channels`: 4, or 9 where it paints into pictures.
#[must_use]
pub fn unet_2d_v1_config(in_channels: usize) -> Value {
    config(json!({
        "attention_head_dim": 8,
        "cross_attention_dim": 768,
        "in_channels": in_channels,
        "sample_size": 64,
        "use_linear_projection": false,
    }))
}

/// `unet/config.json` of Stable Diffusion 2.x with `in_channels`, for latents of `sample_size` a side: 96 for the model of
/// 768 pixels, 64 for that of 512.
#[must_use]
pub fn unet_2d_v2_config(in_channels: usize, sample_size: usize) -> Value {
    config(json!({
        "attention_head_dim": [5, 10, 20, 20],
        "cross_attention_dim": 1024,
        "in_channels": in_channels,
        "sample_size": sample_size,
        "use_linear_projection": true,
        // Attention of 2.1 overflows in half precision; in single it makes no difference.
        "upcast_attention": true,
    }))
}

/// What all versions have in common, and `own`.
fn config(own: Value) -> Value {
    let [cross, plain] = ["CrossAttnDownBlock2D", "DownBlock2D"];
    let [cross_up, plain_up] = ["CrossAttnUpBlock2D", "UpBlock2D"];
    let mut config = json!({
        "_class_name": "UNet2DConditionModel",
        "act_fn": "silu",
        "block_out_channels": [320, 640, 1280, 1280],
        "center_input_sample": false,
        "down_block_types": [cross, cross, cross, plain],
        "downsample_padding": 1,
        "flip_sin_to_cos": true,
        "freq_shift": 0,
        "layers_per_block": 2,
        "mid_block_scale_factor": 1,
        "norm_eps": 1e-5,
        "norm_num_groups": 32,
        "out_channels": 4,
        "up_block_types": [plain_up, cross_up, cross_up, cross_up],
    });
    if let (Value::Object(config), Value::Object(own)) = (&mut config, own) {
        config.extend(own);
    }
    config
}
