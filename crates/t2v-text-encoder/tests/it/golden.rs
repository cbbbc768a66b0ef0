//! Tokenizer and encoder against transformers (`scripts/make_t2v_text_encoder_fixtures.py`).

use burn::tensor::DType;
use serde::Deserialize;
use t2v_test_support::Fixture;
use t2v_text_encoder::{ClipTextModel, ClipTokenizer, TextEncoderError};
use t2v_weights::{LoadOptions, ModelFolder, Network};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");

#[derive(Deserialize)]
struct Case {
    text: String,
    ids: Vec<u32>,
}

/// The fixture folders are components; a model index beside them makes them a model folder.
fn tokenizer(name: &str) -> ClipTokenizer {
    let folder = ModelFolder::open(FIXTURES).unwrap();
    ClipTokenizer::from_component(&folder.component(name).unwrap(), 77).unwrap()
}

#[test]
fn tokenizes_as_transformers() {
    for (name, ids) in [
        ("tokenizer", "tokenizer_ids"),
        ("tokenizer_json", "tokenizer_ids"),
        ("tokenizer_pad", "tokenizer_pad_ids"),
    ] {
        let tokenizer = tokenizer(name);
        let cases = std::fs::read_to_string(format!("{FIXTURES}/{ids}.json")).unwrap();
        let cases: Vec<Case> = serde_json::from_str(&cases).unwrap();
        assert!(cases.len() > 30);
        for case in cases {
            assert_eq!(
                tokenizer.encode(&case.text).unwrap().ids,
                case.ids,
                "{name}: {:?}",
                case.text
            );
        }
    }
}

#[test]
fn counts_what_does_not_fit() {
    let tokenizer = tokenizer("tokenizer");
    assert_eq!(tokenizer.encode(&"1 ".repeat(75)).unwrap().truncated, 0);
    assert_eq!(tokenizer.encode(&"1 ".repeat(78)).unwrap().truncated, 3);
}

#[test]
fn encodes_as_transformers() {
    let device = t2v_test_support::device();
    for name in ["clip_quick_gelu", "clip_gelu"] {
        let fixture = Fixture::open(&format!("{FIXTURES}/{name}.safetensors"));
        let model = ClipTextModel::from_weights(
            fixture.config(),
            &fixture.weights(),
            &LoadOptions::new(DType::F32, &device),
        )
        .unwrap();
        let ids = fixture.int_tensor("input.input_ids", &device);
        for (clip_skip, output) in [
            (0, "output.last_hidden_state"),
            (1, "output.clip_skip_1"),
            (2, "output.clip_skip_2"),
        ] {
            fixture.assert_close(output, model.forward(ids.clone(), clip_skip).unwrap());
        }
        let error = model.forward(ids, 9).unwrap_err();
        assert!(matches!(error, TextEncoderError::ClipSkip { clip_skip: 9, .. }));
    }
}
