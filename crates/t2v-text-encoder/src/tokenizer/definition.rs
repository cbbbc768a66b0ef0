//! What the `tokenizers` crate is given: the files of a checkpoint, in the pipeline of transformers' `CLIPTokenizer`.

use serde_json::{Map, Value, json};
use t2v_weights::Component;

use crate::TextEncoderError;

/// CLIP's start and end of a text.
pub(super) const START: &str = "<|startoftext|>";
pub(super) const END: &str = "<|endoftext|>";
/// How words are cut, as in transformers' `CLIPTokenizer`.
const WORDS: &str = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";

/// What of a checkpoint's files goes into the tokenizer.
pub(crate) struct Files {
    pub(crate) vocabulary: Map<String, Value>,
    /// Pairs of tokens.
    pub(crate) merges: Vec<Value>,
    /// Entries of `added_tokens`.
    pub(crate) added: Vec<Value>,
    /// The settings of `tokenizer_config.json` that would be `left` by `tokenizer.json`, were they not set.
    pub(crate) left: Vec<&'static str>,
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
            left: Vec::new(),
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
        let left = sides_left(&json);
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
            left,
        }))
    }
}

/// The settings of `tokenizer_config.json` that would be `left` by this `tokenizer.json`, were they not set.
pub(crate) fn sides_left(json: &Map<String, Value>) -> Vec<&'static str> {
    let is_left = |part: &str| json.get(part).is_some_and(|part| part["direction"] == "Left");
    let sides = [("padding", "padding_side"), ("truncation", "truncation_side")];
    sides
        .into_iter()
        .filter(|(part, _)| is_left(part))
        .map(|(_, key)| key)
        .collect()
}

/// The definition that transformers assembles for `CLIPTokenizer`. Tokens beside the vocabulary are added to it later.
pub(super) fn definition(vocabulary: Map<String, Value>, merges: Vec<Value>, unknown: Option<&str>) -> Value {
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": [],
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "NFC"},
            {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "},
            {"type": "Lowercase"},
        ]},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": WORDS}, "behavior": "Removed", "invert": true},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        ]},
        "post_processor": null,
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {
            "type": "BPE", "dropout": null, "unk_token": unknown,
            "continuing_subword_prefix": "", "end_of_word_suffix": "</w>",
            "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
            "vocab": vocabulary, "merges": merges,
        },
    })
}

/// The lines of `merges.txt`; those that begin with `#version` are comments.
fn merge_pairs(merges: &str) -> Result<Vec<Value>, String> {
    merges
        .lines()
        .enumerate()
        .filter(|(_, line)| !(line.is_empty() || line.starts_with("#version")))
        .map(|(i, line)| match line.split_once(' ') {
            Some((left, right)) => Ok(json!([left, right])),
            None => Err(format!("line {} of merges.txt is not two tokens and a space", i + 1)),
        })
        .collect()
}
