//! What a key of a LoRA file says: which layer of which part, and what of it.

use super::LoraTarget;

/// A layer's name as the file has it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum LayerName {
    /// The module's name in diffusers, such as `mid_block.attentions.0.proj_in`.
    Dotted(String),
    /// The same with underscores in place of the dots.
    Underscored(String),
}

impl LayerName {
    pub(super) fn as_str(&self) -> &str {
        match self {
            LayerName::Dotted(name) | LayerName::Underscored(name) => name,
        }
    }
}

/// What of a layer a tensor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Down,
    Up,
    Alpha,
    /// What is added to the layer's bias.
    Bias,
    /// What is added to the layer's weight, as it is.
    Whole,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LoraKey {
    pub(super) target: LoraTarget,
    pub(super) name: LayerName,
    pub(super) role: Role,
}

/// What files are wrapped in: checkpoints of training, `DataParallel`, PEFT.
const WRAPPERS: [&str; 3] = ["state_dict.", "module.", "base_model.model."];

/// Endings of keys, and whether they are those of an attention processor, which names projections in its own way.
const ENDINGS: [(&str, Role, bool); 15] = [
    (".lora_A.weight", Role::Down, false),
    (".lora_B.weight", Role::Up, false),
    (".lora_A.default.weight", Role::Down, false),
    (".lora_B.default.weight", Role::Up, false),
    (".lora_down.weight", Role::Down, false),
    (".lora_up.weight", Role::Up, false),
    (".lora.down.weight", Role::Down, false),
    (".lora.up.weight", Role::Up, false),
    (".lora_linear_layer.down.weight", Role::Down, false),
    (".lora_linear_layer.up.weight", Role::Up, false),
    ("_lora.down.weight", Role::Down, true),
    ("_lora.up.weight", Role::Up, true),
    (".alpha", Role::Alpha, false),
    (".diff_b", Role::Bias, false),
    (".diff", Role::Whole, false),
];

/// Beginnings of keys; `_` at the end: underscores follow.
const BEGINNINGS: [(&str, LoraTarget); 12] = [
    ("lora_unet_", LoraTarget::Denoiser),
    ("lora_transformer_", LoraTarget::Denoiser),
    ("lora_te_", LoraTarget::TextEncoder),
    ("lora_te1_", LoraTarget::TextEncoder),
    ("lora_unet.", LoraTarget::Denoiser),
    ("lora_transformer.", LoraTarget::Denoiser),
    ("lora_te.", LoraTarget::TextEncoder),
    ("lora_te1.", LoraTarget::TextEncoder),
    ("unet.", LoraTarget::Denoiser),
    ("transformer.", LoraTarget::Denoiser),
    ("diffusion_model.", LoraTarget::Denoiser),
    ("text_encoder.", LoraTarget::TextEncoder),
];

/// None for a key that is no part of a LoRA.
pub(super) fn classify(key: &str) -> Option<LoraKey> {
    let key = unwrapped(key);
    let (stem, role, processor) = ENDINGS
        .iter()
        .find_map(|(ending, role, processor)| Some((key.strip_suffix(ending)?, *role, *processor)))?;
    let beginning = BEGINNINGS
        .iter()
        .find_map(|(beginning, target)| Some((stem.strip_prefix(beginning)?, *target, beginning.ends_with('_'))));
    let (name, target, underscored) = beginning.unwrap_or_else(|| (stem, unprefixed(stem), false));
    let name = match underscored {
        true => LayerName::Underscored(name.into()),
        false => LayerName::Dotted(module_name(unwrapped(name), target, processor)),
    };
    Some(LoraKey { target, name, role })
}

fn unwrapped(key: &str) -> &str {
    let mut key = key;
    while let Some(rest) = WRAPPERS.iter().find_map(|wrapper| key.strip_prefix(wrapper)) {
        key = rest;
    }
    key
}

fn unprefixed(stem: &str) -> LoraTarget {
    match stem.starts_with("text_model.") {
        true => LoraTarget::TextEncoder,
        false => LoraTarget::Denoiser,
    }
}

/// The module's name of today: without processors, and without what AnimateDiff's own code calls differently.
fn module_name(stem: &str, target: LoraTarget, processor: bool) -> String {
    let name = stem
        .replace(".processor.", ".")
        .replace(".temporal_transformer.", ".")
        .replace(".attention_blocks.0.", ".attn1.")
        .replace(".attention_blocks.1.", ".attn2.");
    let Some((parent, projection)) = name.rsplit_once('.').filter(|_| processor) else {
        return name;
    };
    let projection = match (target, projection) {
        (LoraTarget::Denoiser, "to_out") => "to_out.0",
        (LoraTarget::TextEncoder, "to_q") => "q_proj",
        (LoraTarget::TextEncoder, "to_k") => "k_proj",
        (LoraTarget::TextEncoder, "to_v") => "v_proj",
        (LoraTarget::TextEncoder, "to_out") => "out_proj",
        (_, other) => other,
    };
    format!("{parent}.{projection}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use LoraTarget::{Denoiser, TextEncoder};

    fn dotted(key: &str) -> (LoraTarget, String, Role) {
        match classify(key) {
            Some(LoraKey {
                target,
                name: LayerName::Dotted(name),
                role,
            }) => (target, name, role),
            other => panic!("{key}: {other:?}"),
        }
    }

    #[test]
    fn names_of_diffusers_and_peft() {
        let layer = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q";
        let to_q = |role| (Denoiser, layer.to_string(), role);
        for prefix in [
            "",
            "unet.",
            "base_model.model.",
            "unet.base_model.model.",
            "base_model.model.unet.",
        ] {
            assert_eq!(dotted(&format!("{prefix}{layer}.lora_A.weight")), to_q(Role::Down));
            assert_eq!(dotted(&format!("{prefix}{layer}.lora_B.weight")), to_q(Role::Up));
            assert_eq!(
                dotted(&format!("{prefix}{layer}.lora_B.default.weight")),
                to_q(Role::Up)
            );
            assert_eq!(dotted(&format!("{prefix}{layer}.lora.down.weight")), to_q(Role::Down));
            assert_eq!(dotted(&format!("{prefix}{layer}.lora.up.weight")), to_q(Role::Up));
            assert_eq!(dotted(&format!("{prefix}{layer}.alpha")), to_q(Role::Alpha));
        }
        assert_eq!(
            dotted("transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight"),
            (Denoiser, "single_transformer_blocks.0.attn.to_q".into(), Role::Down)
        );
    }

    #[test]
    fn names_of_attention_processors() {
        let block = "down_blocks.0.attentions.0.transformer_blocks.0";
        for prefix in ["", "unet.", "module.", "state_dict.module."] {
            let key = |rest: &str| format!("{prefix}{block}.attn2.processor.{rest}.weight");
            let layer = |name: &str| format!("{block}.attn2.{name}");
            assert_eq!(dotted(&key("to_k_lora.down")), (Denoiser, layer("to_k"), Role::Down));
            assert_eq!(dotted(&key("to_out_lora.up")), (Denoiser, layer("to_out.0"), Role::Up));
        }
    }

    #[test]
    fn names_of_text_encoders() {
        let layer = "text_model.encoder.layers.3.self_attn";
        for (key, name) in [
            (format!("text_encoder.{layer}.to_q_lora.down.weight"), "q_proj"),
            (format!("text_encoder.{layer}.to_k_lora.down.weight"), "k_proj"),
            (format!("text_encoder.{layer}.to_v_lora.down.weight"), "v_proj"),
            (format!("text_encoder.{layer}.to_out_lora.down.weight"), "out_proj"),
            (
                format!("text_encoder.{layer}.q_proj.lora_linear_layer.down.weight"),
                "q_proj",
            ),
            (format!("{layer}.out_proj.lora_A.weight"), "out_proj"),
            (format!("lora_te.{layer}.v_proj.lora_down.weight"), "v_proj"),
        ] {
            assert_eq!(
                dotted(&key),
                (TextEncoder, format!("{layer}.{name}"), Role::Down),
                "{key}"
            );
        }
    }

    #[test]
    fn names_of_motion_loras() {
        let original = "down_blocks.1.motion_modules.0.temporal_transformer.transformer_blocks.0.attention_blocks";
        let block = "down_blocks.1.motion_modules.0.transformer_blocks.0";
        for (key, name, role) in [
            (
                format!("{original}.0.processor.to_q_lora.down.weight"),
                "attn1.to_q",
                Role::Down,
            ),
            (
                format!("module.{original}.1.processor.to_out_lora.up.weight"),
                "attn2.to_out.0",
                Role::Up,
            ),
            (
                format!("unet.{block}.attn1.to_q.lora_A.weight"),
                "attn1.to_q",
                Role::Down,
            ),
        ] {
            assert_eq!(dotted(&key), (Denoiser, format!("{block}.{name}"), role), "{key}");
        }
    }

    #[test]
    fn names_of_kohya() {
        for (key, target, name, role) in [
            (
                "lora_unet_mid_block_attentions_0_proj_in.lora_down.weight",
                Denoiser,
                "mid_block_attentions_0_proj_in",
                Role::Down,
            ),
            (
                "lora_unet_mid_block_attentions_0_proj_in.alpha",
                Denoiser,
                "mid_block_attentions_0_proj_in",
                Role::Alpha,
            ),
            (
                "lora_te_text_model_encoder_layers_0_mlp_fc1.lora_up.weight",
                TextEncoder,
                "text_model_encoder_layers_0_mlp_fc1",
                Role::Up,
            ),
            (
                "lora_te1_text_model_encoder_layers_0_mlp_fc1.lora_up.weight",
                TextEncoder,
                "text_model_encoder_layers_0_mlp_fc1",
                Role::Up,
            ),
            (
                "lora_transformer_blocks_0_attn_to_q.lora_up.weight",
                Denoiser,
                "blocks_0_attn_to_q",
                Role::Up,
            ),
        ] {
            let name = LayerName::Underscored(name.into());
            assert_eq!(classify(key), Some(LoraKey { target, name, role }), "{key}");
        }
        assert_eq!(
            dotted("lora_unet.mid_block.attentions.0.proj_in.lora_down.weight"),
            (Denoiser, "mid_block.attentions.0.proj_in".into(), Role::Down)
        );
    }

    #[test]
    fn differences() {
        for (key, name, role) in [
            (
                "diffusion_model.blocks.0.self_attn.q.diff_b",
                "blocks.0.self_attn.q",
                Role::Bias,
            ),
            ("diffusion_model.head.head.diff", "head.head", Role::Whole),
        ] {
            assert_eq!(dotted(key), (Denoiser, name.into(), role), "{key}");
        }
    }

    #[test]
    fn other_keys_are_no_part_of_a_lora() {
        for key in [
            "model.diffusion_model.input_blocks.0.0.weight",
            "unet.conv_in.weight",
            "bundle_emb.word.string_to_param.*",
            "emb_params",
            "lora_unet_conv_in.weight",
        ] {
            assert_eq!(classify(key), None, "{key}");
        }
    }
}
