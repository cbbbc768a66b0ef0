//! PEFT's configuration of a LoRA: in a safetensors file's metadata, or in a file beside it.

use std::{collections::HashMap, path::Path};

use burn_store::KeyRemapper;
use serde_json::{Map, Value};

use super::LoraTarget;
use crate::{WeightsError, parse_json};

/// The metadata's key; its value is JSON.
const KEY: &str = "lora_adapter_metadata";
const FILE: &str = "adapter_config.json";

/// What the configurations of a file's parts say of scales.
#[derive(Default)]
pub(super) struct AdapterMetadata {
    denoiser: Option<AdapterConfig>,
    text_encoder: Option<AdapterConfig>,
}

struct AdapterConfig {
    alpha: Option<f64>,
    /// For some modules an alpha of their own, the first that matches.
    patterns: Vec<(Pattern, f64)>,
    rslora: bool,
}

/// Whether a module is meant.
type Pattern = Box<dyn Fn(&str) -> bool>;

impl AdapterMetadata {
    /// Alpha over rank (over its square root for rsLoRA); none without a configuration or where it is silent.
    pub(super) fn scale(&self, target: LoraTarget, module: &str, rank: usize) -> Option<f64> {
        let config = match target {
            LoraTarget::Denoiser => self.denoiser.as_ref()?,
            LoraTarget::TextEncoder => self.text_encoder.as_ref()?,
        };
        let own = config.patterns.iter().find(|(pattern, _)| pattern(module));
        let alpha = own.map(|(_, alpha)| *alpha).or(config.alpha)?;
        let rank = rank as f64;
        Some(alpha / if config.rslora { rank.sqrt() } else { rank })
    }
}

/// PEFT takes a pattern for a regular expression that a module's whole name matches, or what follows one of its dots. The error
/// says that it is none.
fn compiled(pattern: &str) -> Result<Pattern, String> {
    // `KeyRemapper` compiles it: this crate needs no regex dependency of its own.
    let whole = format!(r"^(?:.*\.)?(?:{pattern})$");
    let remapper = KeyRemapper::from_patterns(vec![(whole, "")])
        .map_err(|_| format!("has `alpha_pattern` with `{pattern}`, which is no regular expression"))?;
    let pairs = remapper.to_regex_pairs();
    Ok(Box::new(move |module| {
        pairs.iter().any(|(regex, _)| regex.is_match(module))
    }))
}

/// The configurations in a safetensors file's metadata.
pub(super) fn of_file(file: &str, metadata: &HashMap<String, String>) -> Result<Option<AdapterMetadata>, WeightsError> {
    let Some(text) = metadata.get(KEY).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let fault = |reason: String| WeightsError::Lora {
        file: file.into(),
        reason: format!("its metadata `{KEY}` {reason}"),
    };
    let all: Map<String, Value> =
        serde_json::from_str(text).map_err(|e| fault(format!("is not a JSON object: {e}")))?;
    let part = |prefixes: &[&str]| {
        let stripped = |key: &String| {
            prefixes
                .iter()
                .find_map(|prefix| key.strip_prefix(prefix))
                .map(String::from)
        };
        let own: Map<String, Value> = all
            .iter()
            .filter_map(|(key, value)| Some((stripped(key)?, value.clone())))
            .collect();
        match own.is_empty() {
            true => Ok(None),
            false => AdapterConfig::read(&own).map(Some).map_err(fault),
        }
    };
    Ok(Some(AdapterMetadata {
        denoiser: part(&["unet.", "transformer."])?,
        text_encoder: part(&["text_encoder."])?,
    }))
}

/// The `adapter_config.json` beside PEFT's `adapter_model.safetensors` or `.bin`.
pub(super) fn beside(path: &Path) -> Result<Option<AdapterMetadata>, WeightsError> {
    let config = path.with_file_name(FILE);
    if path.file_stem().is_none_or(|stem| stem != "adapter_model") || !config.is_file() {
        return Ok(None);
    }
    let file = config.display().to_string();
    let bytes = std::fs::read(&config).map_err(|source| WeightsError::Io {
        file: file.clone(),
        source,
    })?;
    let json: Map<String, Value> = parse_json(&file, &bytes)?;
    let read = || {
        AdapterConfig::read(&json).map_err(|reason| WeightsError::Config {
            file: file.clone(),
            reason,
        })
    };
    Ok(Some(AdapterMetadata {
        denoiser: Some(read()?),
        text_encoder: Some(read()?),
    }))
}

impl AdapterConfig {
    /// The error says what is wrong.
    fn read(config: &Map<String, Value>) -> Result<Self, String> {
        let flag = |key: &str| config.get(key).and_then(Value::as_bool).unwrap_or(false);
        if flag("use_dora") {
            return Err("says `use_dora`: DoRA is not supported".into());
        }
        let number = |key: &str, value: &Value| match value.as_f64() {
            Some(number) => Ok(number),
            None => Err(format!("has `{key}`: {value}, which must be a number")),
        };
        let alpha = config.get("lora_alpha").filter(|value| !value.is_null());
        let mut patterns = Vec::new();
        match config.get("alpha_pattern") {
            None | Some(Value::Null) => {}
            Some(Value::Object(object)) => {
                for (pattern, value) in object {
                    patterns.push((compiled(pattern)?, number(pattern, value)?));
                }
            }
            Some(other) => return Err(format!("has `alpha_pattern`: {other}, which must be an object")),
        }
        Ok(Self {
            alpha: alpha.map(|value| number("lora_alpha", value)).transpose()?,
            patterns,
            rslora: flag("use_rslora"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(json: &str) -> Result<AdapterMetadata, String> {
        let metadata = HashMap::from([(KEY.to_string(), json.to_string())]);
        of_file("x.safetensors", &metadata)
            .map(Option::unwrap)
            .map_err(|e| e.to_string())
    }

    #[test]
    fn patterns_match_whole_names_or_their_ends() {
        let json =
            r#"{"unet.lora_alpha": 8, "unet.alpha_pattern": {"attn1.to_q": 2, "^conv_in": 1, "ff.*": 4}, "unet.r": 4}"#;
        let metadata = of(json).unwrap();
        let scale = |module| metadata.scale(LoraTarget::Denoiser, module, 4);
        assert_eq!(scale("mid_block.attn1.to_q"), Some(0.5));
        assert_eq!(scale("attn1.to_q"), Some(0.5));
        assert_eq!(scale("xattn1.to_q"), Some(2.0));
        assert_eq!(scale("conv_in"), Some(0.25));
        assert_eq!(scale("mid_block.ff.net.2"), Some(1.0));
        assert_eq!(scale("mid_block.attn1.to_k"), Some(2.0));
        assert_eq!(metadata.scale(LoraTarget::TextEncoder, "attn1.to_q", 4), None);
    }

    #[test]
    fn rslora_divides_by_the_root_of_the_rank() {
        let metadata = of(r#"{"text_encoder.lora_alpha": 8, "text_encoder.use_rslora": true}"#).unwrap();
        assert_eq!(metadata.scale(LoraTarget::TextEncoder, "q_proj", 16), Some(2.0));
    }

    #[test]
    fn what_can_not_be_read_is_named() {
        for (json, part) in [
            ("[]", "not a JSON object"),
            (r#"{"unet.use_dora": true}"#, "DoRA"),
            (r#"{"unet.lora_alpha": "8"}"#, "lora_alpha"),
            (r#"{"unet.alpha_pattern": {"to_q": "8"}}"#, "to_q"),
            (r#"{"unet.alpha_pattern": 3}"#, "alpha_pattern"),
            (r#"{"unet.alpha_pattern": {"(": 3}}"#, "no regular expression"),
        ] {
            let message = of(json).err().unwrap();
            assert!(message.contains(part) && message.contains("x.safetensors"), "{message}");
        }
    }
}
