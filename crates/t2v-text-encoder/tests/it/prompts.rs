//! Learnt words against diffusers, weighted and long prompts against transformers (`scripts/make_prompt_fixtures.py`).

use std::fs;

use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use safetensors::tensor::{Dtype, TensorView};
use serde::Deserialize;
use t2v_test_support::Fixture;
use t2v_text_encoder::{ClipTextModel, ClipTokenizer, TextualInversion, WeightedText, parse_weights};
use t2v_weights::{LoadOptions, ModelFolder, Network};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");

#[derive(Deserialize)]
struct Inversion {
    file: String,
    word: Option<String>,
    prompts: Vec<String>,
}

fn fixture() -> Fixture {
    Fixture::open(&format!("{FIXTURES}/prompts.safetensors"))
}

fn tokenizer() -> ClipTokenizer {
    let folder = ModelFolder::open(FIXTURES).unwrap();
    ClipTokenizer::from_component(&folder.component("tokenizer").unwrap(), 77).unwrap()
}

fn model(fixture: &Fixture) -> ClipTextModel {
    ClipTextModel::from_weights(
        fixture.config(),
        &fixture.weights(),
        &LoadOptions::new(DType::F32, &Device::flex()),
    )
    .unwrap()
}

fn embed(tokenizer: &ClipTokenizer, model: &ClipTextModel, prompt: &str) -> Tensor<3> {
    let chunks = tokenizer.encode_chunks(&[WeightedText::plain(prompt)], 1).unwrap();
    model.embed(&chunks.chunks, 0).unwrap()
}

fn open(inversion: &Inversion) -> TextualInversion {
    let embedding = TextualInversion::open(format!("{FIXTURES}/{}", inversion.file)).unwrap();
    match &inversion.word {
        Some(word) => embedding.with_token(word),
        None => embedding,
    }
}

#[test]
fn learnt_words_are_those_of_diffusers() {
    let fixture = fixture();
    let (mut tokenizer, mut model) = (tokenizer(), model(&fixture));
    let inversions: Vec<Inversion> = fixture.metadata("inversions");
    assert_eq!(inversions.len(), 4);
    let mut index = 0;
    for inversion in inversions {
        open(&inversion).add_to(&mut tokenizer, &mut model).unwrap();
        for prompt in inversion.prompts {
            fixture.assert_close(&format!("output.inversion.{index}"), embed(&tokenizer, &model, &prompt));
            index += 1;
        }
    }
    assert_eq!(index, 8);
}

#[test]
fn a_word_of_several_vectors_may_be_capitalised() {
    let fixture = fixture();
    let (mut tokenizer, mut model) = (tokenizer(), model(&fixture));
    let painter = TextualInversion::open(format!("{FIXTURES}/embeddings/painter.bin")).unwrap();
    assert_eq!((painter.token(), painter.vectors()), ("<painter>", 3));
    painter
        .with_token("<Painter>")
        .add_to(&mut tokenizer, &mut model)
        .unwrap();
    let [upper, lower] = ["by <Painter>", "by <painter>"].map(|prompt| tokenizer.encode(prompt).unwrap());
    assert_eq!(upper, lower);
    assert_eq!(
        tokenizer.count("by <Painter>").unwrap(),
        tokenizer.count("by").unwrap() + 3
    );
}

#[test]
fn words_that_cannot_be_added_change_nothing() {
    let fixture = fixture();
    let (mut tokenizer, mut model) = (tokenizer(), model(&fixture));
    let cat = TextualInversion::open(format!("{FIXTURES}/embeddings/cat.safetensors")).unwrap();
    cat.add_to(&mut tokenizer, &mut model).unwrap();
    let painter = TextualInversion::open(format!("{FIXTURES}/embeddings/painter.bin")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let wide = write(&folder.path().join("wide.safetensors"), "<wide>", &[2, 24], 0.5);
    let size = model.config().vocab_size;
    for (embedding, word) in [
        (cat.clone(), "already"),
        (painter.clone().with_token("<cat-toy>"), "already"),
        (painter.clone().with_token("fox</w>"), "already"),
        (painter.with_token(" "), "empty"),
        (TextualInversion::open(wide).unwrap(), "another model"),
    ] {
        let message = embedding.add_to(&mut tokenizer, &mut model).unwrap_err().to_string();
        assert!(message.contains(word), "{message}");
        assert_eq!(model.config().vocab_size, size);
    }
    assert_eq!(tokenizer.count("<wide>").unwrap(), tokenizer.count("< wide >").unwrap());
}

/// A file with one tensor of `value`.
fn write(path: &std::path::Path, name: &str, shape: &[usize], value: f32) -> String {
    let bytes: Vec<u8> = vec![value; shape.iter().product()]
        .iter()
        .flat_map(|v| v.to_le_bytes())
        .collect();
    let view = TensorView::new(Dtype::F32, shape.to_vec(), &bytes).unwrap();
    safetensors::serialize_to_file([(name, view)], None, path).unwrap();
    path.display().to_string()
}

#[test]
fn files_that_are_no_embedding_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("text.safetensors"), "no tensors").unwrap();
    fs::write(path("text.pt"), "no pickle").unwrap();
    write(&path("deep.safetensors"), "<deep>", &[1, 2, 16], 0.5);
    write(&path("nan.safetensors"), "<nan>", &[16], f32::NAN);
    write(&path("none.safetensors"), "<none>", &[0, 16], 0.5);
    fs::copy(format!("{FIXTURES}/prompts.safetensors"), path("model.safetensors")).unwrap();
    for name in [
        "text.safetensors",
        "text.pt",
        "deep.safetensors",
        "nan.safetensors",
        "none.safetensors",
        "x.bin",
    ] {
        let message = TextualInversion::open(path(name)).unwrap_err().to_string();
        assert!(message.contains(name) && !message.contains('\n'), "{message}");
    }
    let message = TextualInversion::open(path("model.safetensors"))
        .unwrap_err()
        .to_string();
    assert!(message.contains("emb_params") && message.len() < 600, "{message}");
}

#[test]
fn weighted_and_long_prompts_are_as_computed_with_transformers() {
    let fixture = fixture();
    let (tokenizer, model) = (tokenizer(), model(&fixture));
    let prompts: Vec<String> = fixture.metadata("weighted");
    assert_eq!(prompts.len(), 4);
    for (i, prompt) in prompts.iter().enumerate() {
        let chunks = tokenizer.encode_chunks(&parse_weights(prompt), usize::MAX).unwrap();
        assert_eq!(chunks.truncated, 0);
        for clip_skip in [0, 1] {
            let embeddings = model.embed(&chunks.chunks, clip_skip).unwrap();
            fixture.assert_close(&format!("output.weighted.{i}.{clip_skip}"), embeddings);
        }
    }
}

#[test]
fn without_weights_one_chunk_is_what_upstream_encodes() {
    let fixture = fixture();
    let (tokenizer, model) = (tokenizer(), model(&fixture));
    for prompt in ["", "a small fox", &"the quiet forest ".repeat(50)] {
        let tokens = tokenizer.encode(prompt).unwrap();
        let chunks = tokenizer.encode_chunks(&parse_weights(prompt), 1).unwrap();
        assert_eq!((chunks.chunks.len(), chunks.truncated), (1, tokens.truncated));
        assert_eq!(chunks.chunks[0].ids, tokens.ids);
        let ids: Vec<i64> = tokens.ids.iter().map(|id| i64::from(*id)).collect();
        let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, [1, 77]), &Device::flex());
        let plain = model.forward(ids, 0).unwrap().into_data();
        plain.assert_eq(&model.embed(&chunks.chunks, 0).unwrap().into_data(), true);
    }
}

#[test]
fn chunks_hold_every_token_in_order() {
    let tokenizer = tokenizer();
    let text = "1 ".repeat(200);
    for (most, count, truncated) in [(1, 1, 125), (2, 2, 50), (3, 3, 0), (9, 3, 0), (0, 1, 125)] {
        let chunks = tokenizer.encode_chunks(&parse_weights(&text), most).unwrap();
        assert_eq!((chunks.chunks.len(), chunks.truncated), (count, truncated), "{most}");
        assert!(chunks.chunks.iter().all(|c| c.ids.len() == 77 && c.weights.len() == 77));
    }
    let parts = parse_weights("(1 2:0.5) 3");
    let chunk = &tokenizer.encode_chunks(&parts, 1).unwrap().chunks[0];
    assert_eq!(chunk.weights[..5], [1.0, 0.5, 0.5, 1.0, 1.0]);
    assert_eq!(chunk.ids, tokenizer.encode("1 2 3").unwrap().ids);
    assert_eq!(tokenizer.empty_chunk().ids, tokenizer.encode("").unwrap().ids);
}

#[test]
fn a_text_encoder_too_short_for_start_and_end_is_refused() {
    let folder = ModelFolder::open(FIXTURES).unwrap();
    let component = folder.component("tokenizer").unwrap();
    let message = ClipTokenizer::from_component(&component, 1).unwrap_err().to_string();
    assert!(message.contains("2 are the least"), "{message}");
    let shortest = ClipTokenizer::from_component(&component, 2).unwrap();
    let chunks = shortest.encode_chunks(&parse_weights("1 2"), 5).unwrap();
    assert_eq!((chunks.chunks.len(), chunks.truncated), (1, 2));
}
