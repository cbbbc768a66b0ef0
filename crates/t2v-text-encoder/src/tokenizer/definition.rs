//! What the `tokenizers` crate is given: the files of a checkpoint, in the pipeline of transformers' `CLIPTokenizer`.

use serde_json::{Map, Value, json};
use t2v_weights::Component;

use crate::TextEncoderError;

const START: &str = "<|startoftext|>";
const END: &str = "<|endoftext|>";
/// How words are cut, as in transformers' `CLIPTokenizer`.
const WORDS: &str = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";

/// The special tokens that `tokenizer_config.json` names, with CLIP's defaults.
pub(super) struct SpecialTokens {
    pub(super) start: String,
    pub(super) end: String,
    pub(super) pad: String,
    unknown: String,
    /// Tokens that are looked for in normalised text; a plain string is not.
    normalized: Vec<String>,
}

impl SpecialTokens {
    pub(super) fn new(config: &Map<String, Value>) -> Self {
        let mut normalized: Vec<String> = Vec::new();
        // The order matters where several roles share a token: the last one says how it is looked for.
        let mut token = |key, default: &str| {
            let value = config.get(key);
            let text = value.and_then(|v| v.as_str().or_else(|| v.get("content").and_then(Value::as_str)));
            let text = text.unwrap_or(default).to_string();
            normalized.retain(|other| *other != text);
            if value.and_then(|v| v.get("normalized")).and_then(Value::as_bool) == Some(true) {
                normalized.push(text.clone());
            }
            text
        };
        Self {
            start: token("bos_token", START),
            end: token("eos_token", END),
            unknown: token("unk_token", END),
            pad: token("pad_token", END),
            normalized,
        }
    }
}

/// What of a checkpoint's files goes into the tokenizer.
pub(crate) struct Files {
    pub(crate) vocabulary: Map<String, Value>,
    /// Pairs of tokens.
    pub(crate) merges: Vec<Value>,
    /// Entries of `added_tokens`.
    pub(crate) added: Vec<Value>,
}

impl Files {
    /// `vocab.json` and `merges.txt`; the inner error is about their content.
    pub(crate) fn from_vocabulary(component: &Component) -> Result<Result<Self, String>, TextEncoderError> {
        let merges = component.read("merges.txt")?;
        let vocabulary = component.json("vocab.json")?;
        Ok(merge_pairs(&String::from_utf8_lossy(&merges)).map(|merges| Self {
            vocabulary,
            merges,
            added: Vec::new(),
        }))
    }

    /// As transformers does, only vocabulary, merges and added tokens are taken from `tokenizer.json`.
    pub(crate) fn from_tokenizer_json(component: &Component) -> Result<Result<Self, String>, TextEncoderError> {
        let mut json = component.json("tokenizer.json")?;
        let array = |value: Option<Value>| match value {
            Some(Value::Array(items)) => Some(items),
            _ => None,
        };
        let added = array(json.remove("added_tokens")).unwrap_or_default();
        let mut model = json.remove("model").unwrap_or_default();
        let mut part = |key| model.get_mut(key).map(Value::take);
        let (vocabulary, merges) = (part("vocab"), array(part("merges")));
        let (Some(Value::Object(vocabulary)), Some(merges)) = (vocabulary, merges) else {
            return Ok(Err(
                "its `model` has no object `vocab` and array `merges`, as byte-pair encoding has".into(),
            ));
        };
        let pair = |merge: &Value| match merge.as_str().map(|text| text.split_once(' ')) {
            Some(Some((left, right))) => json!([left, right]),
            _ => merge.clone(),
        };
        let merges = merges.iter().map(pair).collect();
        Ok(Ok(Self {
            vocabulary,
            merges,
            added,
        }))
    }
}

/// The definition that transformers assembles for `CLIPTokenizer`.
pub(super) fn definition(files: Files, special: &SpecialTokens) -> Result<Value, String> {
    let Files {
        vocabulary,
        merges,
        mut added,
    } = files;
    let id = |token: &str| {
        let id = vocabulary.get(token).and_then(Value::as_u64);
        id.ok_or_else(|| format!("the special token `{token}` is not in the vocabulary"))
    };
    let (start, end) = (id(&special.start)?, id(&special.end)?);
    for token in [&special.start, &special.end, &special.unknown, &special.pad] {
        if added.iter().all(|entry: &Value| entry["content"] != token.as_str()) {
            added.push(json!({
                "id": id(token)?, "content": token, "special": true,
                "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": special.normalized.contains(token),
            }));
        }
    }
    Ok(json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "NFC"},
            {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "},
            {"type": "Lowercase"},
        ]},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": WORDS}, "behavior": "Removed", "invert": true},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        ]},
        "post_processor": {
            "type": "RobertaProcessing", "sep": [special.end, end], "cls": [special.start, start],
            "trim_offsets": false, "add_prefix_space": false,
        },
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {
            "type": "BPE", "dropout": null, "unk_token": special.unknown,
            "continuing_subword_prefix": "", "end_of_word_suffix": "</w>",
            "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
            "vocab": vocabulary, "merges": merges,
        },
    }))
}

/// The lines of `merges.txt`; the first may be a `#version` comment.
fn merge_pairs(merges: &str) -> Result<Vec<Value>, String> {
    merges
        .lines()
        .enumerate()
        .filter(|(i, line)| !(line.is_empty() || *i == 0 && line.starts_with("#version")))
        .map(|(i, line)| match line.split_once(' ') {
            Some((left, right)) => Ok(json!([left, right])),
            None => Err(format!("line {} of merges.txt is not two tokens and a space", i + 1)),
        })
        .collect()
}
