//! Which weight files are read, against diffusers and transformers (`scripts/make_variant_fixtures.py`).

use std::{collections::BTreeMap, fs, path::Path};

use serde::Deserialize;
use serde_json::json;
use t2v_weights::{ModelFolder, WeightsError};
use tempfile::TempDir;

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/variants.json");

#[derive(Debug, Deserialize)]
struct Case {
    variant: Option<String>,
    files: BTreeMap<String, Vec<String>>,
    /// The file read of each component; none where diffusers refuses the folder.
    read: Option<BTreeMap<String, String>>,
}

/// Empty files: nothing but names is looked at.
fn folder(files: &BTreeMap<String, Vec<String>>) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let index: BTreeMap<_, _> = files.keys().map(|name| (name, ["library", "Class"])).collect();
    fs::write(folder.path().join("model_index.json"), json!(index).to_string()).unwrap();
    for (component, names) in files {
        let component = folder.path().join(component);
        fs::create_dir(&component).unwrap();
        for name in names {
            let content = match name.ends_with(".json") {
                true => json!({"weight_map": {"key": "shard.safetensors"}}).to_string(),
                false => String::new(),
            };
            fs::write(component.join(name), content).unwrap();
            fs::write(component.join("shard.safetensors"), "").unwrap();
        }
    }
    folder
}

fn read(folder: &Path, variant: Option<&str>) -> Result<BTreeMap<String, String>, WeightsError> {
    let mut model = ModelFolder::open(folder)?;
    if let Some(variant) = variant {
        model = model.with_variant(variant)?;
    }
    let mut read = BTreeMap::new();
    for name in model.component_names() {
        let weights = model.component(name)?.weights()?;
        let file = Path::new(weights.origin()).file_name().unwrap().to_str().unwrap();
        read.insert(name.to_string(), file.to_string());
    }
    Ok(read)
}

#[test]
fn the_files_are_those_that_diffusers_reads() {
    let cases: Vec<Case> = serde_json::from_slice(&fs::read(FIXTURE).unwrap()).unwrap();
    assert!(cases.len() > 20);
    for case in cases {
        let folder = folder(&case.files);
        let read = read(folder.path(), case.variant.as_deref());
        match (&case.read, &case.variant) {
            (Some(expected), _) => assert_eq!(read.unwrap(), *expected, "{case:?}"),
            (None, Some(_)) => assert!(read.is_err(), "{case:?}: {read:?}"),
            // Refused by diffusers for no reason of the files': half precision alone, shards of pickles.
            (None, None) => assert_eq!(read.unwrap()["vae"], case.files["vae"][0]),
        }
    }
}

#[test]
fn a_variant_that_is_not_there_lists_those_that_are() {
    let files = |vae: &[&str], text: &[&str]| {
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        BTreeMap::from([
            ("vae".to_string(), names(vae)),
            ("text_encoder".to_string(), names(text)),
        ])
    };
    let plain = ["diffusion_pytorch_model.safetensors", "model.safetensors"];
    let both = folder(&files(
        &[plain[0], "diffusion_pytorch_model.fp16.bin"],
        &[plain[1], "model.safetensors.index.non_ema.json"],
    ));
    let message = read(both.path(), Some("bf16")).unwrap_err().to_string();
    for part in ["variant `bf16`", "the variants fp16, non_ema"] {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
    let none = folder(&files(&plain[..1], &plain[1..]));
    let message = read(none.path(), Some("bf16")).unwrap_err().to_string();
    assert!(message.contains("it has no variant"), "{message}");
    // The component that lacks what the other has.
    let half = folder(&files(
        &["diffusion_pytorch_model.bf16.safetensors"],
        &["model.fp16.safetensors"],
    ));
    let message = read(half.path(), Some("fp16")).unwrap_err().to_string();
    for part in ["vae", "the variant bf16"] {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
}
