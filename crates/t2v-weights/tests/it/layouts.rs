//! What is said where a model folder should be and something else is.

use std::{fs, path::Path};

use serde_json::{Value, json};
use t2v_weights::{IndexEntry, ModelFolder, WeightsError};
use tempfile::TempDir;

/// A folder with these files, each with a text.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (file, text) in files {
        let path = folder.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

fn message(path: &Path) -> String {
    match ModelFolder::open(path) {
        Ok(_) => panic!("`{}` was accepted", path.display()),
        Err(error) => error.to_string(),
    }
}

const UNET: &str = r#"{"_class_name": "UNet3DConditionModel"}"#;
const CLIP: &str = r#"{"architectures": ["CLIPTextModel"]}"#;
const PLAIN: (&str, &str) = ("model_index.json", "{}");

/// Files with their texts, what of the folder is opened, and parts of the message.
type Case<'a> = (&'a [(&'a str, &'a str)], &'a str, &'a [&'a str]);

#[test]
fn a_near_miss_is_explained() {
    let cases: [Case<'_>; 13] = [
        (&[], "nowhere", &["there is no model folder", "nowhere"]),
        (&[], "", &["is empty"]),
        (
            &[("configuration.json", "{}"), ("VQGAN.ckpt", "")],
            "",
            &["ModelScope", "convert_ms_text_to_video_to_diffusers.py"],
        ),
        (&[("text2video_pytorch_model.pth", "")], "", &["ModelScope", "convert"]),
        (
            &[("a.safetensors", "")],
            "a.safetensors",
            &["a.safetensors", "single file", "save_pretrained"],
        ),
        (&[("a.CKPT", "")], "a.CKPT", &["single file"]),
        (
            &[("zeroscope.ckpt", ""), ("README.md", "")],
            "",
            &["zeroscope.ckpt", "single file"],
        ),
        (&[PLAIN], "model_index.json", &["give the folder"]),
        (
            &[PLAIN, ("unet/config.json", UNET)],
            "unet",
            &["one component", "UNet3DConditionModel", "above it"],
        ),
        (
            &[("unet/config.json", UNET)],
            "unet",
            &["one component", "usually the one above"],
        ),
        (
            &[("gpt/config.json", CLIP)],
            "gpt",
            &["model of transformers", "CLIPTextModel"],
        ),
        (
            &[("zeroscope/model_index.json", "{}")],
            "",
            &["it holds a model folder", "zeroscope"],
        ),
        (
            &[("snapshots/abc/model_index.json", "{}"), ("refs/main", "abc")],
            "",
            &["it holds a model folder", "snapshots/abc"],
        ),
    ];
    for (files, path, parts) in cases {
        let folder = folder(files);
        let message = message(&folder.path().join(path));
        for part in parts {
            assert!(message.contains(part), "{files:?}: `{part}` is not in: {message}");
        }
        assert!(!message.contains('\n'), "{message}");
    }
}

#[test]
fn a_component_of_transformers_in_a_model_is_a_component() {
    let folder = folder(&[
        PLAIN,
        ("text_encoder/config.json", CLIP),
        ("tokenizer/tokenizer_config.json", "{}"),
    ]);
    for name in ["text_encoder", "tokenizer"] {
        let message = message(&folder.path().join(name));
        assert!(message.contains("one component of a model"), "{message}");
        assert!(message.contains(&folder.path().display().to_string()), "{message}");
    }
}

#[test]
fn anything_else_lacks_its_index() {
    let folder = folder(&[("README.md", "")]);
    let error = ModelFolder::open(folder.path()).unwrap_err();
    assert!(
        matches!(&error, WeightsError::MissingFile { file, .. } if file.ends_with("model_index.json")),
        "{error}"
    );
}

fn index(json: &Value) -> (TempDir, ModelFolder) {
    let folder = folder(&[("model_index.json", &json.to_string())]);
    let open = ModelFolder::open(folder.path()).unwrap();
    (folder, open)
}

#[test]
fn the_index_tells_classes() {
    let (_folder, open) = index(&json!({
        "_class_name": "TextToVideoSDPipeline",
        "requires_safety_checker": false,
        "unet": ["diffusers", "UNet3DConditionModel"],
        "safety_checker": [null, null],
        "feature_extractor": null,
    }));
    assert_eq!(open.pipeline_class().unwrap(), Some("TextToVideoSDPipeline"));
    assert_eq!(open.component_names().collect::<Vec<_>>(), ["unet"]);
    let entry = IndexEntry {
        library: "diffusers".into(),
        class: "UNet3DConditionModel".into(),
    };
    assert_eq!(open.entry("unet").unwrap(), Some(entry.clone()));
    assert_eq!(open.component("unet").unwrap().entry(), Some(&entry));
    for absent in ["safety_checker", "feature_extractor", "vae"] {
        assert_eq!(open.entry(absent).unwrap(), None);
    }
    let (_folder, open) = index(&json!({}));
    assert_eq!(open.pipeline_class().unwrap(), None);
}

#[test]
fn entries_of_a_wrong_type_are_named() {
    for entry in [
        json!("UNet3DConditionModel"),
        json!(["diffusers"]),
        json!([1, 2]),
        json!(["a", null]),
        json!(7),
        json!([]),
    ] {
        let (_folder, open) = index(&json!({"_class_name": entry, "unet": entry}));
        for message in [
            open.entry("unet").unwrap_err().to_string(),
            open.component("unet").unwrap_err().to_string(),
        ] {
            for part in ["model_index.json", "`unet`", "[\"library\", \"ClassName\"]"] {
                assert!(message.contains(part), "`{part}` is not in: {message}");
            }
        }
        if !entry.is_string() {
            let message = open.pipeline_class().unwrap_err().to_string();
            assert!(
                message.contains("`_class_name`") && message.contains("model_index.json"),
                "{message}"
            );
        }
    }
}

/// The outcome of reading `unet/config.json` as a `UNet3DConditionModel`.
fn config(class: &str, config: &Value) -> Result<Value, String> {
    let index = json!({"unet": ["diffusers", class]}).to_string();
    let folder = folder(&[("model_index.json", &index), ("unet/config.json", &config.to_string())]);
    let unet = ModelFolder::open(folder.path()).unwrap().component("unet").unwrap();
    unet.config(&["UNet3DConditionModel"]).map_err(|e| e.to_string())
}

#[test]
fn both_files_must_name_a_known_class() {
    let known = "UNet3DConditionModel";
    config(known, &json!({"_class_name": known})).unwrap();
    config(known, &json!({"architectures": [known]})).unwrap();
    config(known, &json!({})).unwrap();
    for (index, json, parts) in [
        (
            "UNet2DConditionModel",
            json!({"_class_name": known}),
            ["model_index.json", "`unet`", "UNet2DConditionModel"],
        ),
        (
            known,
            json!({"_class_name": "UNetUnheardOf"}),
            ["unet/config.json", "UNetUnheardOf", known],
        ),
        (
            known,
            json!({"architectures": ["Other"]}),
            ["unet/config.json", "Other", known],
        ),
        (
            known,
            json!({"_class_name": 3}),
            ["unet/config.json", "`_class_name`", "3"],
        ),
        (known, json!({"architectures": "x"}), ["unet/config.json", "x", known]),
        (
            known,
            json!({"quantization_config": {"bits": 4}}),
            ["unet/config.json", "`quantization_config`", "not supported"],
        ),
    ] {
        let message = config(index, &json).unwrap_err();
        for part in parts {
            assert!(message.contains(part), "`{part}` is not in: {message}");
        }
    }
}

#[test]
fn keys_that_had_defaults_have_them_again() {
    let json =
        json!({"_use_default_values": ["norm_eps"], "norm_eps": 1, "in_channels": 4, "quantization_config": null});
    let config = config("UNet3DConditionModel", &json).unwrap();
    assert_eq!(config, json!({"in_channels": 4, "quantization_config": null}));
}
