//! Tokenizer folders against transformers (`scripts/make_tokenizer_folder_fixtures.py`).

use std::{fs, path::Path};

use serde::Deserialize;
use serde_json::{Map, Value, json};
use t2v_text_encoder::{ClipTokenizer, TextEncoderError};
use t2v_weights::Component;
use tempfile::TempDir;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");

#[derive(Deserialize)]
struct Golden {
    texts: Vec<String>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    /// Names and contents; that of `tokenizer.json` is the list of its added tokens.
    files: Map<String, Value>,
    /// Of each text; none where transformers refuses the folder.
    ids: Option<Vec<Vec<u32>>>,
}

/// The files beside the vocabulary of the fixture `tokenizer`.
fn folder(files: &Map<String, Value>) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let fixtures = Path::new(FIXTURES);
    for name in ["vocab.json", "merges.txt"] {
        fs::copy(fixtures.join("tokenizer").join(name), folder.path().join(name)).unwrap();
    }
    for (name, content) in files {
        let mut content = content.clone();
        if name == "tokenizer.json" && content.is_array() {
            let whole = fs::read(fixtures.join("tokenizer_json").join(name)).unwrap();
            let mut whole: Value = serde_json::from_slice(&whole).unwrap();
            whole["added_tokens"] = content;
            content = whole;
        }
        fs::write(folder.path().join(name), content.to_string()).unwrap();
    }
    folder
}

fn read(files: &Map<String, Value>) -> Result<ClipTokenizer, TextEncoderError> {
    let folder = folder(files);
    ClipTokenizer::from_component(&Component::open(folder.path()).unwrap(), 77)
}

#[test]
fn folders_are_read_as_by_transformers() {
    let golden = fs::read(Path::new(FIXTURES).join("tokenizer_folders.json")).unwrap();
    let golden: Golden = serde_json::from_slice(&golden).unwrap();
    let mut wrong = Vec::new();
    let mut read_ones = 0;
    for case in &golden.cases {
        let description = Value::Object(case.files.clone()).to_string();
        let (Some(expected), read) = (&case.ids, read(&case.files)) else {
            continue;
        };
        if description.contains("_side\":\"left\"") {
            // The one thing that transformers can and this crate can't.
            let message = read.unwrap_err().to_string();
            assert!(message.contains("_side` is \"left\""), "{message}");
            continue;
        }
        read_ones += 1;
        let ids = read.map(|tokenizer| {
            let encode = |text: &String| tokenizer.encode(text).unwrap().ids;
            golden.texts.iter().map(encode).collect::<Vec<_>>()
        });
        match ids {
            Ok(ids) if ids == *expected => {}
            other => wrong.push(format!("{description}\n  {other:?}\n  {expected:?}")),
        }
    }
    assert!(read_ones > 150, "{read_ones}");
    assert!(
        wrong.is_empty(),
        "{} of {read_ones}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// What is said of a folder that has `settings` in its tokenizer_config.json.
fn message(settings: Value) -> String {
    let mut files = Map::new();
    files.insert("tokenizer_config.json".into(), settings);
    read(&files).unwrap_err().to_string()
}

#[test]
fn a_setting_that_cannot_be_followed_is_named() {
    for (settings, key) in [
        (json!({"pad_token": null}), "`pad_token` is null"),
        (json!({"bos_token": 5}), "`bos_token` is 5"),
        (json!({"eos_token": {"text": "x"}}), "`eos_token` is {"),
        (json!({"unk_token": {"content": "!", "lstrip": 1}}), "`unk_token` is {"),
        (json!({"added_tokens_decoder": {"0": "<x>"}}), "the added token 0"),
        (
            json!({"added_tokens_decoder": {"x": {"content": "!"}}}),
            "`added_tokens_decoder`",
        ),
        (json!({"extra_special_tokens": [7]}), "`extra_special_tokens` is 7"),
        (json!({"model_max_length": 0}), "`model_max_length` is 0"),
        (json!({"model_max_length": 1}), "`model_max_length` is 1"),
        (json!({"model_max_length": -4}), "`model_max_length` is -4"),
        (json!({"model_max_length": "77"}), "`model_max_length` is \"77\""),
        (json!({"padding_side": "left"}), "`padding_side` is \"left\""),
        (json!({"truncation_side": 1}), "`truncation_side` is 1"),
        (
            json!({"fast_tokenizer_files": ["tokenizer.4.0.0.json"]}),
            "`fast_tokenizer_files`",
        ),
    ] {
        let message = message(settings);
        assert!(message.contains(key), "`{key}` is not in: {message}");
        assert!(message.contains("tokenizer_config.json"), "{message}");
    }
}

#[test]
fn sides_of_tokenizer_json_are_followed_where_the_settings_are_silent() {
    let whole = fs::read(Path::new(FIXTURES).join("tokenizer_json/tokenizer.json")).unwrap();
    let mut whole: Value = serde_json::from_slice(&whole).unwrap();
    whole["padding"] = json!({"direction": "Left"});
    let mut files = Map::new();
    files.insert("tokenizer.json".into(), whole);
    let message = read(&files).unwrap_err().to_string();
    assert!(
        message.contains("`padding_side` is \"left\" by tokenizer.json"),
        "{message}"
    );
    files.insert("tokenizer_config.json".into(), json!({"padding_side": "right"}));
    read(&files).unwrap();
}

#[test]
fn a_damaged_file_is_named() {
    for (file, content, part) in [
        ("added_tokens.json", json!({"<x>": "y"}), "`<x>` is \"y\""),
        ("special_tokens_map.json", json!({"pad_token": 3}), "`pad_token` is 3"),
        ("tokenizer.json", json!([{"content": "x"}]), "`added_tokens`"),
        ("special_tokens_map.json", json!([]), "special_tokens_map.json"),
    ] {
        let mut files = Map::new();
        files.insert(file.into(), content);
        let message = read(&files).unwrap_err().to_string();
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
}

#[test]
fn a_tokenizer_of_another_class_is_refused() {
    let model = tempfile::tempdir().unwrap();
    fs::write(
        model.path().join("model_index.json"),
        r#"{"tokenizer": ["transformers", "T5Tokenizer"]}"#,
    )
    .unwrap();
    let component = t2v_weights::ModelFolder::open(model.path())
        .unwrap()
        .component("tokenizer")
        .unwrap();
    let message = ClipTokenizer::from_component(&component, 77).unwrap_err().to_string();
    for part in ["model_index.json", "`tokenizer`", "T5Tokenizer", "CLIPTokenizer"] {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
}
