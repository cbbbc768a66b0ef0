//! GPT-2 against transformers (`scripts/make_gpt2_fixtures.py`).

use std::{fs, path::Path};

use burn::tensor::{Device, Int, Tensor, TensorData};
use serde::Deserialize;
use serde_json::{Value, json};
use t2v_test_support::Fixture;
use t2v_text_encoder::{Gpt2, Sampling};
use tempfile::TempDir;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/gpt2");

#[derive(Deserialize)]
struct Case {
    text: String,
    ids: Vec<u32>,
}

fn golden() -> Fixture {
    Fixture::open(&format!("{FOLDER}.safetensors"))
}

fn model(folder: impl AsRef<Path>) -> Gpt2 {
    Gpt2::open(folder, &t2v_test_support::device()).unwrap()
}

fn copy() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(FOLDER).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    folder
}

fn json_of(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// `tokenizer.json` taken apart into the files of older folders.
fn with_vocabulary_files() -> TempDir {
    let folder = copy();
    let path = folder.path().join("tokenizer.json");
    let definition = json_of(&path);
    fs::remove_file(path).unwrap();
    let vocabulary = definition["model"]["vocab"].to_string();
    fs::write(folder.path().join("vocab.json"), vocabulary).unwrap();
    let merges = definition["model"]["merges"].as_array().unwrap().iter();
    let lines = merges.map(|m| format!("{} {}\n", m[0].as_str().unwrap(), m[1].as_str().unwrap()));
    let merges = "#version: 0.2\n".to_string() + &lines.collect::<String>();
    fs::write(folder.path().join("merges.txt"), merges).unwrap();
    folder
}

#[test]
fn tokens_and_logits_are_those_of_transformers() {
    let golden = golden();
    let cases: Vec<Case> = golden.metadata("cases");
    assert_eq!(cases.len(), 4);
    let older = with_vocabulary_files();
    for model in [model(FOLDER), model(older.path())] {
        for (i, case) in cases.iter().enumerate() {
            assert_eq!(model.encode(&case.text).unwrap(), case.ids, "{:?}", case.text);
            let ids: Vec<i64> = case.ids.iter().map(|id| i64::from(*id)).collect();
            let ids = TensorData::new(ids, [1, case.ids.len()]);
            let logits = model.logits(Tensor::<2, Int>::from_data(ids, &t2v_test_support::device()));
            golden.assert_close(&format!("output.logits.{i}"), logits);
        }
    }
}

fn sampling(top_k: usize, max_new_tokens: usize, seed: u64) -> Sampling {
    Sampling {
        temperature: 4.0,
        top_k,
        max_new_tokens,
        seed,
    }
}

#[test]
fn the_likeliest_continuation_is_that_of_transformers() {
    let greedy: String = golden().metadata("greedy");
    let prompt = "a red ball";
    assert_eq!(model(FOLDER).complete(prompt, &sampling(1, 12, 0)).unwrap(), greedy);
}

#[test]
fn one_seed_gives_one_continuation() {
    let model = model(FOLDER);
    let complete = |seed| model.complete("a red ball", &sampling(50, 16, seed)).unwrap();
    assert_eq!(complete(1), complete(1));
    let all: std::collections::BTreeSet<String> = (0..6).map(complete).collect();
    assert!(all.len() > 3, "{all:?}");
    assert!(all.iter().all(|text| !text.contains('\n')), "{all:?}");
}

#[test]
fn continuations_end_at_the_longest_sequence() {
    let model = model(FOLDER);
    let text = " a".repeat(model.config().n_positions);
    assert_eq!(model.complete(&text, &sampling(9, 5, 0)).unwrap(), "");
    assert_eq!(model.complete("", &sampling(9, 5, 0)).unwrap(), "");
    assert_eq!(model.complete("a", &sampling(9, 0, 0)).unwrap(), "");
    model.complete("a", &sampling(9, usize::MAX, 0)).unwrap();
}

#[test]
fn unsupported_folders_are_refused_by_name() {
    for (key, value, part) in [
        ("architectures", json!(["LlamaForCausalLM"]), "LlamaForCausalLM"),
        ("activation_function", json!("tanh"), "config.json"),
        ("n_head", json!(3), "n_embd"),
        ("n_head", json!(0), "n_head"),
        ("tie_word_embeddings", json!(false), "tie_word_embeddings"),
        ("add_cross_attention", json!(true), "add_cross_attention"),
        ("n_layer", json!(3), "h.2."),
        ("vocab_size", json!(376), "wte.weight"),
    ] {
        let folder = copy();
        let path = folder.path().join("config.json");
        let mut config = json_of(&path);
        config[key] = value;
        fs::write(&path, config.to_string()).unwrap();
        let message = Gpt2::open(folder.path(), &Device::flex()).unwrap_err().to_string();
        assert!(message.contains(part) && !message.contains('\n'), "{message}");
    }
    let message = Gpt2::open("/nonexistent/gpt2", &Device::flex())
        .unwrap_err()
        .to_string();
    assert!(message.contains("/nonexistent/gpt2"), "{message}");
}

#[test]
fn a_tokenizer_of_another_model_is_refused() {
    let folder = copy();
    let path = folder.path().join("tokenizer.json");
    let mut definition = json_of(&path);
    definition["model"]["vocab"]["zzz"] = json!(377);
    fs::write(&path, definition.to_string()).unwrap();
    let message = Gpt2::open(folder.path(), &Device::flex()).unwrap_err().to_string();
    assert!(
        message.contains("tokenizer.json") && message.contains("377"),
        "{message}"
    );
}
