//! The two transformers of Wan 2.2's large models, and which of them a file is for: its name says so.

use std::path::Path;

/// One of two transformers. A model with a single one has the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expert {
    /// For noisy latents.
    Noisy,
    /// For those with less noise.
    Clear,
}

impl Expert {
    /// What diffusers calls it in a model folder.
    pub(crate) fn component(self) -> &'static str {
        match self {
            Self::Noisy => "transformer",
            Self::Clear => "transformer_2",
        }
    }

    /// The one that a file is for, by `high_noise` or `low_noise` in the name of the file, in upper or lower case, with or without a sign between, or by the word
    /// `HIGH` or `LOW`; else by the name of the folder that it lies in.
    pub(crate) fn named_by(file: &Path) -> Option<Self> {
        let names = [file.file_name(), file.parent().and_then(Path::file_name)];
        names
            .into_iter()
            .flatten()
            .find_map(|name| named(&name.to_string_lossy()))
    }
}

fn named(name: &str) -> Option<Expert> {
    let is_letter = |c: &char| c.is_alphanumeric();
    let letters: String = name.to_lowercase().chars().filter(is_letter).collect();
    let has = |noise: &str, word: &str| {
        letters.contains(noise) || name.split(|c: char| !c.is_alphanumeric()).any(|part| part == word)
    };
    match (has("highnoise", "HIGH"), has("lownoise", "LOW")) {
        (true, false) => Some(Expert::Noisy),
        (false, true) => Some(Expert::Clear),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_it_in_many_ways() {
        use Expert::{Clear, Noisy};
        for (file, expected) in [
            ("wan2.2_t2v_low_noise_14B_fp16.safetensors", Some(Clear)),
            ("Wan2.2-T2V-A14B-LowNoise-Q4_K_M.gguf", Some(Clear)),
            ("Wan2.2-T2V-A14B-HIGH-NOISE.safetensors", Some(Noisy)),
            ("Wan22_A14B_T2V_LOW_Lightning.safetensors", Some(Clear)),
            ("high_noise_model/pytorch_lora_weights.safetensors", Some(Noisy)),
            ("low_noise/wan_high_noise.safetensors", Some(Noisy)),
            ("models/low_poly.safetensors", None),
            ("high_and_low_noise_of_highnoise.safetensors", None),
            ("BELOW.safetensors", None),
            ("", None),
        ] {
            assert_eq!(Expert::named_by(Path::new(file)), expected, "{file}");
        }
    }
}
