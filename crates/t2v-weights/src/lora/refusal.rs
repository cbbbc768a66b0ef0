//! Files that are no LoRA, or one of a kind that is not supported: a sentence for each.

/// Parts of keys, and what a file with them is.
const REFUSED: [(&str, &str); 25] = [
    ("lora_magnitude_vector", DORA),
    ("dora_scale", DORA),
    (
        "hada_",
        "it is a LoHa (Hadamard products of matrices), which is not supported",
    ),
    (
        "lokr_",
        "it is a LoKr (Kronecker products of matrices), which is not supported",
    ),
    (
        "lora_mid.",
        "it is a LoCon with a third matrix a layer (Tucker decomposition), which is not supported",
    ),
    (".oft_", "it is an OFT (orthogonal matrices), which is not supported"),
    (".boft_", "it is a BOFT (orthogonal matrices), which is not supported"),
    (".on_input", "it is an (IA)³, which is not supported"),
    ("lora_controlnet", "it is a control LoRA, which is not supported"),
    ("lora_embedding_", "it changes token embeddings, which is not supported"),
    (".diff_b", DIFFERENCES),
    (".diff", DIFFERENCES),
    (".w_norm", DIFFERENCES),
    (".b_norm", DIFFERENCES),
    (".set_weight", DIFFERENCES),
    ("lora_A.bias", BIASES),
    ("lora_B.bias", BIASES),
    ("lora_down.bias", BIASES),
    ("lora_up.bias", BIASES),
    ("lora_te2_", SECOND),
    ("lora_te3_", SECOND),
    ("text_encoder_2.", SECOND),
    ("lora_unet_input_blocks_", SDXL),
    ("lora_unet_middle_block_", SDXL),
    ("lora_unet_output_blocks_", SDXL),
];

const DORA: &str = "it is a DoRA (matrices with magnitudes), which is not supported";
const DIFFERENCES: &str =
    "it has whole differences of weights, biases or normalisations beside its matrices, which is not supported";
const BIASES: &str = "it changes biases, which is not supported";
const SECOND: &str = "it is one for SDXL or another model with more than one text encoder";
const SDXL: &str = "it is one for SDXL, in the names of its original code";

/// Why a file with these keys can't be used, if one of them says so.
pub(super) fn refused(keys: &[&str]) -> Option<String> {
    REFUSED.iter().find_map(|(part, reason)| {
        let key = keys.iter().find(|key| names(key, part))?;
        Some(format!("{reason} (`{key}`)"))
    })
}

/// Whether a key has a part: at the beginning if that is where it belongs, at the end likewise.
fn names(key: &str, part: &str) -> bool {
    match part {
        // In files for Wan they are known.
        ".diff" | ".diff_b" => key.ends_with(part) && !key.starts_with("diffusion_model."),
        ".w_norm" | ".b_norm" | ".set_weight" => key.ends_with(part),
        _ if part.starts_with("lora_te") || part.starts_with("lora_unet") => key.starts_with(part),
        _ => key.contains(part),
    }
}

/// What a file without any layer of a LoRA seems to be.
pub(super) fn no_lora(keys: &[&str]) -> String {
    const WANTED: &str = "a LoRA has pairs such as `….lora_down.weight` and `….lora_up.weight`, or `….lora_A.weight` and \
                          `….lora_B.weight`";
    let any = |test: &dyn Fn(&str) -> bool| keys.iter().any(|key| test(key));
    let whole = [
        "model.diffusion_model.",
        "first_stage_model.",
        "cond_stage_model.",
        "diffusion_model.",
    ];
    let what = match () {
        () if keys.is_empty() => "it has no tensors".into(),
        () if any(&|key| key.contains("string_to_param") || key == "emb_params") || is_word(keys) => {
            "it is a learnt word (textual inversion), not a LoRA".into()
        }
        () if any(&|key| whole.iter().any(|prefix| key.starts_with(prefix))) => {
            "it is a whole checkpoint, not a LoRA".into()
        }
        () if any(&|key| key.contains("motion_modules.")) => "it is a motion module, not a LoRA of one".into(),
        () => format!("it is no LoRA; its first keys are {}", first(keys)),
    };
    format!("{what}: {WANTED}")
}

/// diffusers' own textual inversions are one tensor, called what the word is called.
fn is_word(keys: &[&str]) -> bool {
    matches!(keys, [key] if key.starts_with('<') && key.ends_with('>'))
}

/// The first three, in quotes.
pub(super) fn first(keys: &[&str]) -> String {
    let quoted: Vec<String> = keys.iter().take(3).map(|key| format!("`{key}`")).collect();
    let rest = if keys.len() > 3 { ", …" } else { "" };
    quoted.join(", ") + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_kinds_are_refused_by_name() {
        const GOOD: &str = "lora_unet_conv_in.lora_down.weight";
        for (key, part) in [
            ("lora_unet_conv_in.dora_scale", "DoRA"),
            ("unet.mid_block.to_q.lora_magnitude_vector.weight", "DoRA"),
            ("lora_unet_mid_block_conv.hada_w1_a", "LoHa"),
            ("lora_unet_mid_block_conv.lokr_w1", "LoKr"),
            ("lora_unet_mid_block_conv.lora_mid.weight", "Tucker"),
            ("lora_unet_mid_block_conv.oft_blocks", "OFT"),
            ("lora_unet_mid_block_conv.on_input", "(IA)³"),
            ("lora_controlnet", "control LoRA"),
            ("text_encoder.embeddings.lora_embedding_A", "token embeddings"),
            ("lora_unet_mid_block_norm.diff", "differences"),
            ("lora_unet_mid_block_norm.diff_b", "biases or normalisations"),
            ("lora_unet_mid_block_norm.w_norm", "biases or normalisations"),
            ("unet.mid_block.to_q.lora_B.bias", "biases"),
            ("lora_te2_text_model_encoder_layers_0_mlp_fc1.alpha", "SDXL"),
            (
                "text_encoder_2.text_model.encoder.layers.0.mlp.fc1.lora_A.weight",
                "SDXL",
            ),
            ("lora_unet_input_blocks_4_1_proj_in.alpha", "SDXL"),
            ("lora_unet_middle_block_1_proj_in.alpha", "SDXL"),
            ("lora_unet_output_blocks_4_1_proj_in.alpha", "SDXL"),
        ] {
            let reason = refused(&[GOOD, key]).unwrap();
            assert!(reason.contains(part) && reason.contains(key), "{reason}");
            assert!(!reason.contains(GOOD), "{reason}");
        }
        assert_eq!(
            refused(&[GOOD, "lora_unet_conv_in.alpha", "unet.difference.lora_A.weight"]),
            None
        );
        assert_eq!(refused(&[GOOD, "diffusion_model.blocks.0.ffn.0.diff_b"]), None);
    }

    #[test]
    fn files_of_other_things_are_named() {
        for (keys, part) in [
            (vec![], "no tensors"),
            (vec!["string_to_param.*"], "learnt word"),
            (vec!["emb_params"], "learnt word"),
            (vec!["<cat-toy>"], "learnt word"),
            (vec!["model.diffusion_model.out.0.weight"], "whole checkpoint"),
            (vec!["down_blocks.0.motion_modules.0.norm.weight"], "motion module"),
            (vec!["a", "b", "c", "d"], "`a`, `b`, `c`, …"),
        ] {
            let reason = no_lora(&keys);
            assert!(reason.contains(part) && reason.contains("lora_A"), "{reason}");
        }
    }
}
