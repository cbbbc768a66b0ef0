//! Text encoders in latent-diffusion's layout (`scripts/make_single_file_fixtures.py`).

use burn::tensor::DType;
use t2v_test_support::{Fixture, LayoutKeys};
use t2v_text_encoder::{ClipTextConfig, ClipTextModel, ldm};
use t2v_weights::{LoadOptions, Network, Selection};

const CRATE: &str = env!("CARGO_MANIFEST_DIR");

fn encoders() -> [(&'static str, Selection); 2] {
    [("clip", ldm::clip()), ("open_clip", ldm::open_clip())]
}

#[test]
fn all_tensors_are_taken_as_diffusers_takes_them() {
    for (name, selection) in encoders() {
        LayoutKeys::read(CRATE, name).assert_taken_by(&selection);
    }
}

/// Query, key and value of OpenCLIP are cut out of one matrix: in another order the result would be another.
#[test]
fn hidden_states_are_those_of_transformers() {
    let device = t2v_test_support::device();
    for (name, selection) in encoders() {
        let fixture = Fixture::open(&format!("{CRATE}/tests/fixtures/ldm_{name}.safetensors"));
        let config: ClipTextConfig = fixture.config();
        let weights = fixture.weights().with_selection(selection);
        let model = ClipTextModel::from_weights(config, &weights, &LoadOptions::new(DType::F32, &device)).unwrap();
        let hidden = model
            .forward(fixture.int_tensor("input.input_ids", &device), 0)
            .unwrap();
        fixture.assert_close("output.hidden", hidden);
    }
}

/// The shapes of a configuration are those of the tensors that the real checkpoints have.
#[test]
fn assumed_configurations_fit_the_checkpoints() {
    for (name, config) in [("clip", ldm::clip_config()), ("open_clip", ldm::open_clip_config())] {
        let keys = LayoutKeys::read(CRATE, name);
        let model = keys.model();
        let shape = |name: &str| {
            let found = model.iter().find(|(key, _)| key == name);
            found.map(|(_, shape)| shape.clone())
        };
        let config: ClipTextConfig = serde_json::from_value(config).unwrap();
        let (width, inner) = (config.hidden_size, config.intermediate_size);
        let last = format!("encoder.layers.{}.mlp.fc1.weight", config.num_hidden_layers - 1);
        assert_eq!(shape(&last), Some(vec![inner, width]));
        assert_eq!(
            shape(&format!("encoder.layers.{}.mlp.fc1.bias", config.num_hidden_layers)),
            None
        );
        let table = vec![config.vocab_size, width];
        assert_eq!(shape("embeddings.token_embedding.weight"), Some(table));
        let positions = vec![config.max_position_embeddings, width];
        assert_eq!(shape("embeddings.position_embedding.weight"), Some(positions));
        // CLIP's heads are 64 wide.
        assert_eq!(width / config.num_attention_heads, 64);
    }
}
