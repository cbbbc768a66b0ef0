//! The autoencoder in the layout of Wan's own code, `Wan2.1_VAE.pth` and `Wan2.2_VAE.pth`.
//!
//! That code numbers the layers of a residual block, of the middle and of the end as they follow each other; Wan 2.1 numbers
//! all layers of the decoder's levels without a break.
//!
//! Upstream: `convert_wan_vae_to_diffusers` of `diffusers/loaders/single_file_utils.py`, and for Wan 2.2 `convert_vae_22` of
//! `scripts/convert_wan_to_diffusers.py`.

use serde_json::{Value, json};
use t2v_weights::Selection;

use super::AutoencoderKlWanConfig;

/// The tensors of `AutoencoderKLWan` in a file of Wan's own. Names of diffusers' layout stay as they are.
#[must_use]
pub fn autoencoder_kl_wan(config: &AutoencoderKlWanConfig) -> Selection {
    let selection = match config.is_residual {
        true => residual_levels(config.num_res_blocks),
        false => flat_levels(config.dim_mult.len(), config.num_res_blocks),
    };
    let both = |name: &str| format!(r"^(encoder|decoder)\.{name}\.");
    selection
        .rename(r"^conv1\.", "quant_conv.")
        .rename(r"^conv2\.", "post_quant_conv.")
        .rename(&both("conv1"), "$1.conv_in.")
        .rename(&both(r"head\.0"), "$1.norm_out.")
        .rename(&both(r"head\.2"), "$1.conv_out.")
        .rename(&both(r"middle\.0"), "$1.mid_block.resnets.0.")
        .rename(&both(r"middle\.1"), "$1.mid_block.attentions.0.")
        .rename(&both(r"middle\.2"), "$1.mid_block.resnets.1.")
        .rename(r"\.residual\.0\.", ".norm1.")
        .rename(r"\.residual\.2\.", ".conv1.")
        .rename(r"\.residual\.3\.", ".norm2.")
        .rename(r"\.residual\.6\.", ".conv2.")
        .rename(r"\.shortcut\.", ".conv_shortcut.")
}

/// Wan 2.1: so many residual blocks a level of the encoder, one more in the decoder, and after all but the last an enlargement.
fn flat_levels(levels: usize, blocks: usize) -> Selection {
    let mut selection = Selection::new().rename(r"^encoder\.downsamples\.", "encoder.down_blocks.");
    let of_level = blocks + 2;
    for level in 0..levels {
        for layer in 0..of_level {
            let from = format!(r"^decoder\.upsamples\.{}\.", level * of_level + layer);
            let to = match layer <= blocks {
                true => format!("decoder.up_blocks.{level}.resnets.{layer}."),
                false => format!("decoder.up_blocks.{level}.upsamplers.0."),
            };
            selection = selection.rename(&from, &to);
        }
    }
    selection
}

/// Wan 2.2: a list of layers for each level.
fn residual_levels(blocks: usize) -> Selection {
    let down = r"^encoder\.downsamples\.(\d+)\.downsamples";
    let up = r"^decoder\.upsamples\.(\d+)\.upsamples";
    Selection::new()
        .rename(&format!(r"{down}\.{blocks}\."), "encoder.down_blocks.$1.downsampler.")
        .rename(&format!(r"{down}\.(\d+)\."), "encoder.down_blocks.$1.resnets.$2.")
        .rename(&format!(r"{up}\.{}\.", blocks + 1), "decoder.up_blocks.$1.upsampler.")
        .rename(&format!(r"{up}\.(\d+)\."), "decoder.up_blocks.$1.resnets.$2.")
}

/// `vae/config.json` of Wan 2.1, which the larger models of Wan 2.2 have, too.
#[must_use]
pub fn wan_2_1_config() -> Value {
    let config = AutoencoderKlWanConfig::default();
    json!({
        "_class_name": "AutoencoderKLWan",
        "attn_scales": [],
        "base_dim": config.base_dim,
        "dim_mult": config.dim_mult,
        "dropout": config.dropout,
        "latents_mean": config.latents_mean,
        "latents_std": config.latents_std,
        "num_res_blocks": config.num_res_blocks,
        "temperal_downsample": config.temperal_downsample,
        "z_dim": config.z_dim,
    })
}

/// `vae/config.json` of Wan 2.2's model of 5 billion parameters.
#[must_use]
pub fn wan_2_2_config() -> Value {
    json!({
        "_class_name": "AutoencoderKLWan",
        "attn_scales": [],
        "base_dim": 160,
        "decoder_base_dim": 256,
        "dim_mult": [1, 2, 4, 4],
        "dropout": 0.0,
        "in_channels": 12,
        "is_residual": true,
        "latents_mean": MEAN_2_2,
        "latents_std": STD_2_2,
        "num_res_blocks": 2,
        "out_channels": 12,
        "patch_size": 2,
        "scale_factor_spatial": 16,
        "scale_factor_temporal": 4,
        "temperal_downsample": [false, true, true],
        "z_dim": 48,
    })
}

const MEAN_2_2: &[f64] = &[
    -0.2289, -0.0052, -0.1323, -0.2339, -0.2799, 0.0174, 0.1838, 0.1557, -0.1382, 0.0542, 0.2813, 0.0891, 0.1570,
    -0.0098, 0.0375, -0.1825, -0.2246, -0.1207, -0.0698, 0.5109, 0.2665, -0.2108, -0.2158, 0.2502, -0.2055, -0.0322,
    0.1109, 0.1567, -0.0729, 0.0899, -0.2799, -0.1230, -0.0313, -0.1649, 0.0117, 0.0723, -0.2839, -0.2083, -0.0520,
    0.3748, 0.0152, 0.1957, 0.1433, -0.2944, 0.3573, -0.0548, -0.1681, -0.0667,
];
const STD_2_2: &[f64] = &[
    0.4765, 1.0364, 0.4514, 1.1677, 0.5313, 0.4990, 0.4818, 0.5013, 0.8158, 1.0344, 0.5894, 1.0901, 0.6885, 0.6165,
    0.8454, 0.4978, 0.5759, 0.3523, 0.7135, 0.6804, 0.5833, 1.4146, 0.8986, 0.5659, 0.7069, 0.5338, 0.4889, 0.4917,
    0.4069, 0.4999, 0.6866, 0.4093, 0.5709, 0.6065, 0.6415, 0.4944, 0.5726, 1.2042, 0.5458, 1.6887, 0.3971, 1.0600,
    0.3943, 0.5537, 0.5444, 0.4089, 0.7468, 0.7744,
];
