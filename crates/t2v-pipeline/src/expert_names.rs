//! Which of the two transformers of Wan 2.2's large models a file is for: its name says so.

use std::path::Path;

/// The transformer that a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExpertName {
    /// For noisy latents: diffusers' `transformer`.
    HighNoise,
    /// For those with less noise: diffusers' `transformer_2`.
    LowNoise,
}

impl ExpertName {
    /// By `high_noise` or `low_noise` in the name of the file, in upper or lower case, with or without a sign between, or by the word
    /// `HIGH` or `LOW`; else by the name of the folder that it lies in.
    pub(crate) fn of(file: &Path) -> Option<Self> {
        let names = [file.file_name(), file.parent().and_then(Path::file_name)];
        names
            .into_iter()
            .flatten()
            .find_map(|name| named(&name.to_string_lossy()))
    }
}

fn named(name: &str) -> Option<ExpertName> {
    let is_letter = |c: &char| c.is_alphanumeric();
    let letters: String = name.to_lowercase().chars().filter(is_letter).collect();
    let has = |noise: &str, word: &str| {
        letters.contains(noise) || name.split(|c: char| !c.is_alphanumeric()).any(|part| part == word)
    };
    match (has("highnoise", "HIGH"), has("lownoise", "LOW")) {
        (true, false) => Some(ExpertName::HighNoise),
        (false, true) => Some(ExpertName::LowNoise),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_it_in_many_ways() {
        use ExpertName::{HighNoise, LowNoise};
        for (file, expected) in [
            ("wan2.2_t2v_low_noise_14B_fp16.safetensors", Some(LowNoise)),
            ("Wan2.2-T2V-A14B-LowNoise-Q4_K_M.gguf", Some(LowNoise)),
            ("Wan2.2-T2V-A14B-HIGH-NOISE.safetensors", Some(HighNoise)),
            ("Wan22_A14B_T2V_LOW_Lightning.safetensors", Some(LowNoise)),
            ("high_noise_model/pytorch_lora_weights.safetensors", Some(HighNoise)),
            ("low_noise/wan_high_noise.safetensors", Some(HighNoise)),
            ("models/low_poly.safetensors", None),
            ("high_and_low_noise_of_highnoise.safetensors", None),
            ("BELOW.safetensors", None),
            ("", None),
        ] {
            assert_eq!(ExpertName::of(Path::new(file)), expected, "{file}");
        }
    }
}
