//! Wan's tokenizer, prompts and text encoder against transformers and diffusers
//! (`scripts/make_t2v_text_encoder_wan_fixtures.py`).

use std::{fs, path::Path};

use burn::tensor::{DType, Device, Tensor};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use t2v_test_support::{Fixture, copy_folder};
use t2v_text_encoder::{T5Tokenizer, TextEncoderError, Umt5Encoder, clean_prompt};
use t2v_weights::{Component, LoadOptions, Network};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");

fn read<T: DeserializeOwned>(name: &str) -> T {
    serde_json::from_slice(&fs::read(format!("{FIXTURES}/{name}")).unwrap()).unwrap()
}

fn tokenizer(folder: impl AsRef<Path>) -> Result<T5Tokenizer, TextEncoderError> {
    T5Tokenizer::from_component(&Component::open(folder).unwrap())
}

fn load(fixture: &Fixture, device: &Device) -> Umt5Encoder {
    let options = LoadOptions::new(DType::F32, device);
    Umt5Encoder::from_weights(fixture.config(), &fixture.weights(), &options).unwrap()
}

/// Embeddings of the texts of a fixture.
fn embed(model: &Umt5Encoder, texts: &Fixture, device: &Device) -> Tensor<3> {
    let ids: Vec<i64> = texts
        .int_tensor::<2>("input.input_ids", device)
        .into_data()
        .iter()
        .collect();
    let lengths: Vec<i64> = texts
        .int_tensor::<1>("input.lengths", device)
        .into_data()
        .iter()
        .collect();
    let padded = ids.len() / lengths.len();
    let rows = lengths.iter().zip(ids.chunks(padded)).map(|(length, ids)| {
        let ids: Vec<u32> = ids[..*length as usize].iter().map(|id| *id as u32).collect();
        model.embed(&ids, padded).unwrap()
    });
    Tensor::cat(rows.collect(), 0)
}

#[test]
fn encodes_as_transformers() {
    let device = t2v_test_support::device();
    for name in ["umt5_a", "umt5_b", "umt5_c"] {
        let fixture = Fixture::open(&format!("{FIXTURES}/{name}.safetensors"));
        let model = load(&fixture, &device);
        fixture.assert_close("output.prompt_embeds", embed(&model, &fixture, &device));
    }
}

#[test]
fn half_precision_is_near() {
    let device = t2v_test_support::device();
    let fixture = Fixture::open(&format!("{FIXTURES}/umt5_a.safetensors"));
    let expected: Tensor<3> = fixture.tensor("output.prompt_embeds", &device);
    for (dtype, most) in [(DType::F16, 0.01), (DType::BF16, 0.05)] {
        let options = LoadOptions::new(dtype, &device);
        let model = Umt5Encoder::from_weights(fixture.config(), &fixture.weights(), &options).unwrap();
        let output = embed(&model, &fixture, &device);
        assert_eq!(output.dtype(), dtype);
        let largest = |x: Tensor<3>| x.abs().max().into_scalar::<f32>();
        let far = largest(output.cast(DType::F32) - expected.clone()) / largest(expected.clone());
        assert!(far < most, "{dtype:?}: {far}");
    }
}

#[test]
fn keys_of_wans_own_code_are_the_same() {
    let device = t2v_test_support::device();
    let [fixture, original] =
        ["umt5_a", "umt5_original"].map(|name| Fixture::open(&format!("{FIXTURES}/{name}.safetensors")));
    let model = load(&original, &device);
    fixture.assert_close("output.prompt_embeds", embed(&model, &fixture, &device));
}

#[test]
fn tokens_that_the_table_lacks_are_named() {
    let device = t2v_test_support::device();
    let model = load(&Fixture::open(&format!("{FIXTURES}/umt5_c.safetensors")), &device);
    assert!(model.embed(&[29], 3).is_ok());
    let error = model.embed(&[3, 30], 3).unwrap_err();
    assert!(matches!(error, TextEncoderError::UnknownToken { id: 30, rows: 30 }));
}

#[derive(Deserialize)]
struct Case {
    text: String,
    max_length: usize,
    spiece: Vec<u32>,
    json: Vec<u32>,
}

#[test]
fn tokenizes_as_transformers() {
    let cases: Vec<Case> = read("t5_ids.json");
    assert!(cases.len() > 80);
    let [spiece, json] = ["t5_spiece", "t5_json"].map(|name| tokenizer(format!("{FIXTURES}/{name}")).unwrap());
    for case in cases {
        for (tokenizer, expected) in [(&spiece, &case.spiece), (&json, &case.json)] {
            let tokens = tokenizer.encode(&case.text, case.max_length).unwrap();
            assert_eq!(tokens.ids, *expected, "{:?}", case.text);
            let all = tokenizer.encode(&case.text, usize::MAX).unwrap();
            assert_eq!(tokens.truncated, all.ids.len() - tokens.ids.len());
        }
    }
}

#[derive(Deserialize)]
struct Prompt {
    prompt: String,
    cleaned: String,
}

#[test]
fn prompts_are_cleaned_as_diffusers_cleans_them() {
    let prompts: Vec<Prompt> = read("clean_prompts.json");
    assert!(prompts.len() > 80);
    for Prompt { prompt, cleaned } in prompts {
        let found = clean_prompt(&prompt);
        let differs = found.char_indices().zip(cleaned.chars()).find(|((_, a), b)| a != b);
        let place = differs.map_or("the end", |((place, _), _)| &found[place..]);
        assert!(found == cleaned, "{:.80?} differs at {:.80?}", prompt, place);
    }
}

/// What is said of a copy of the fixture `name` with a changed file.
fn said_of(name: &str, file: &str, change: impl Fn(Vec<u8>) -> Vec<u8>) -> String {
    let folder = tempfile::tempdir().unwrap();
    copy_folder(Path::new(&format!("{FIXTURES}/{name}")), folder.path());
    let path = folder.path().join(file);
    fs::write(&path, change(fs::read(&path).unwrap_or_default())).unwrap();
    tokenizer(folder.path()).unwrap_err().to_string()
}

#[test]
fn files_that_make_no_tokenizer_are_named() {
    let json = |change: fn(&mut Value)| {
        move |bytes: Vec<u8>| {
            let mut value = serde_json::from_slice(&bytes).unwrap();
            change(&mut value);
            value.to_string().into_bytes()
        }
    };
    let table = |value: &mut Value| value["normalizer"]["precompiled_charsmap"] = json!("////fw==");
    let vocabulary = |value: &mut Value| value["model"]["vocab"] = json!({"a": 1});
    let few = |value: &mut Value| value["model"]["vocab"] = json!([["a", 0.0]]);
    let left = |value: &mut Value| value["padding_side"] = json!("left");
    let end = |value: &mut Value| value["eos_token"] = Value::Null;
    let tokenizer_json = "tokenizer.json";
    let settings = "tokenizer_config.json";
    for (message, part) in [
        (
            said_of("t5_json", tokenizer_json, json(table)),
            "`precompiled_charsmap`",
        ),
        (said_of("t5_json", tokenizer_json, json(vocabulary)), "array `vocab`"),
        (said_of("t5_json", tokenizer_json, json(few)), "tokenizer.json"),
        (said_of("t5_json", settings, json(left)), "`padding_side`"),
        (said_of("t5_json", settings, json(end)), "`eos_token`"),
        (
            said_of("t5_spiece", settings, |_| br#"{"extra_ids": -1}"#.into()),
            "`extra_ids`",
        ),
        (
            said_of("t5_spiece", "spiece.model", |_| b"no model".into()),
            "no SentencePiece model",
        ),
        (
            said_of("t5_spiece", "spiece.model", |_| Vec::new()),
            "no SentencePiece model",
        ),
    ] {
        assert!(message.contains(part), "{message}");
    }
    let empty = tempfile::tempdir().unwrap();
    let message = tokenizer(empty.path()).unwrap_err().to_string();
    assert!(message.contains("spiece.model"), "{message}");
}

#[test]
fn damaged_models_of_pieces_never_panic() {
    let whole = fs::read(format!("{FIXTURES}/t5_spiece/spiece.model")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    copy_folder(Path::new(&format!("{FIXTURES}/t5_spiece")), folder.path());
    for place in (0..whole.len()).step_by(7) {
        let mut damaged = whole.clone();
        damaged[place] ^= 0x55;
        fs::write(folder.path().join("spiece.model"), damaged).unwrap();
        if let Ok(tokenizer) = tokenizer(folder.path()) {
            let _ = tokenizer.encode("a réd ﬁnx Ｆ… 日本 <extra_id_0>", 64);
        }
    }
}
