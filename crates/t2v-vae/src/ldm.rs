//! The autoencoder of Stable Diffusion in the layout of its first code, latent-diffusion (LDM).
//!
//! That code counts the levels of the decoder from the highest resolution, diffusers from the lowest. Projections of its
//! attention are 1x1 convolutions.
//!
//! Upstream: `convert_ldm_vae_checkpoint` of `diffusers/loaders/single_file_utils.py`; names:
//! `ldm/modules/diffusionmodules/model.py` of latent-diffusion.

use serde_json::{Value, json};
use t2v_weights::Selection;

/// What the keys of the autoencoder begin with in a checkpoint of a whole model; the first that there is counts.
pub const PREFIXES: [&str; 2] = ["vae.", "first_stage_model."];

/// The tensors of `AutoencoderKL` in a checkpoint of a whole model, for an autoencoder of so many resolutions
/// (`block_out_channels`).
#[must_use]
pub fn autoencoder_kl(levels: usize) -> Selection {
    let mut selection = Selection::new()
        .unwrap("state_dict.")
        .prefixes(&PREFIXES)
        // The discriminator, in checkpoints of its training.
        .leave_out(r"^loss\.")
        .rename(r"^(encoder|decoder)\.norm_out\.", "$1.conv_norm_out.")
        .rename(r"^encoder\.down\.(\d+)\.block\.", "encoder.down_blocks.$1.resnets.")
        .rename(
            r"^encoder\.down\.(\d+)\.downsample\.",
            "encoder.down_blocks.$1.downsamplers.0.",
        );
    for level in 0..levels {
        let (from, to) = (format!(r"^decoder\.up\.{level}\."), levels - 1 - level);
        selection = selection
            .rename(&format!(r"{from}block\."), &format!("decoder.up_blocks.{to}.resnets."))
            .rename(
                &format!(r"{from}upsample\."),
                &format!("decoder.up_blocks.{to}.upsamplers.0."),
            );
    }
    let attention = r"\.mid\.attn_1\.";
    let projection = |name: &str| format!(r"{attention}{name}\.");
    selection
        .rename(r"\.nin_shortcut\.", ".conv_shortcut.")
        .rename(r"\.mid\.block_1\.", ".mid_block.resnets.0.")
        .rename(r"\.mid\.block_2\.", ".mid_block.resnets.1.")
        .rename(&projection("norm"), ".mid_block.attentions.0.group_norm.")
        .rename(&projection("q"), ".mid_block.attentions.0.to_q.")
        .rename(&projection("k"), ".mid_block.attentions.0.to_k.")
        .rename(&projection("v"), ".mid_block.attentions.0.to_v.")
        .rename(&projection("proj_out"), ".mid_block.attentions.0.to_out.0.")
        .squeeze(r"\.mid_block\.attentions\.0\.to_")
}

/// `vae/config.json` of Stable Diffusion 1.x and 2.x, for pictures of `sample_size` pixels a side.
#[must_use]
pub fn autoencoder_kl_config(sample_size: usize) -> Value {
    let (down, up) = (["DownEncoderBlock2D"; 4], ["UpDecoderBlock2D"; 4]);
    json!({
        "_class_name": "AutoencoderKL",
        "act_fn": "silu",
        "block_out_channels": [128, 256, 512, 512],
        "down_block_types": down,
        "in_channels": 3,
        "latent_channels": 4,
        "layers_per_block": 2,
        "norm_num_groups": 32,
        "out_channels": 3,
        "sample_size": sample_size,
        "scaling_factor": 0.18215,
        "up_block_types": up,
    })
}
