//! CLIP's tower of pictures against transformers (`scripts/make_t2v_text_encoder_vision_fixtures.py`).

use burn::tensor::DType;
use t2v_test_support::Fixture;
use t2v_text_encoder::ClipVisionModel;
use t2v_weights::{LoadOptions, Network};

#[test]
fn sees_as_transformers() {
    let device = t2v_test_support::device();
    for name in ["clip_vision_a", "clip_vision_b"] {
        let path = format!("{}/tests/fixtures/{name}.safetensors", env!("CARGO_MANIFEST_DIR"));
        let fixture = Fixture::open(&path);
        let options = LoadOptions::new(DType::F32, &device);
        let model = ClipVisionModel::from_weights(fixture.config(), &fixture.weights(), &options).unwrap();
        let pixels = fixture.tensor("input.pixels", &device);
        fixture.assert_close("output.penultimate", model.penultimate(pixels));
    }
}
