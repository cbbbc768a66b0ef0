//! A file that stands for a model folder, and folders of one component.

use std::{fs, path::Path};

use safetensors::{Dtype, tensor::TensorView};
use serde_json::{Map, Value, json};
use t2v_weights::{Component, FolderParts, ModelFolder, Selection, WeightsError};

/// A safetensors file with tensors of one element.
fn write(path: &Path, names: &[&str]) {
    let data = [0; 4];
    let tensors = names
        .iter()
        .map(|name| (*name, TensorView::new(Dtype::F32, vec![1], &data).unwrap()));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    safetensors::serialize_to_file(tensors, None, path).unwrap();
}

fn index() -> Value {
    json!({"_class_name": "Any", "unet": ["diffusers", "Net"], "vae": ["diffusers", "Vae"]})
}

fn names(component: &Component) -> Result<Vec<String>, WeightsError> {
    Ok(component
        .weights()?
        .shapes()?
        .into_iter()
        .map(|(name, _)| name)
        .collect())
}

fn config(component: &Component) -> Map<String, Value> {
    let config: Map<String, Value> = component.config(&["Net", "Vae"]).unwrap();
    config
}

#[test]
fn a_file_with_assumed_configurations_is_a_model_folder() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("all.safetensors");
    write(&file, &["net.a", "net.b", "vae.a"]);
    let parts = FolderParts::new(&file)
        .with_json("model_index.json", &index())
        .with_json("unet/config.json", &json!({"_class_name": "Net", "width": 4}))
        .with_weights("unet", &file, Selection::new().prefixes(&["net."]));
    let model = ModelFolder::from_parts(parts).unwrap();
    assert_eq!(model.name(), "all.safetensors");
    assert_eq!(model.pipeline_class().unwrap(), Some("Any"));
    let unet = model.component("unet").unwrap();
    assert_eq!(config(&unet)["width"], 4);
    assert_eq!(names(&unet).unwrap(), ["a", "b"]);
    assert_eq!(unet.weights().unwrap().origin(), file.display().to_string());
    // Nothing was said of the other component, or of variants.
    let vae = model.component("vae").unwrap();
    assert!(matches!(names(&vae), Err(WeightsError::MissingFile { .. })));
    let message = vae.config::<Map<String, Value>>(&["Vae"]).unwrap_err().to_string();
    assert!(message.contains("all.safetensors/vae/config.json"), "{message}");
    let message = unet.config::<Map<String, Value>>(&["Other"]).unwrap_err().to_string();
    assert!(
        message.contains("all.safetensors/model_index.json (assumed)"),
        "{message}"
    );
    let message = model.with_variant("fp16").unwrap_err().to_string();
    assert!(message.contains("it has no variant"), "{message}");
}

#[test]
fn a_folders_files_come_before_assumed_ones_and_its_weights_after_given_ones() {
    let folder = tempfile::tempdir().unwrap();
    let (file, root) = (folder.path().join("all.safetensors"), folder.path().join("folder"));
    write(&file, &["net.a"]);
    write(&root.join("unet/diffusion_pytorch_model.safetensors"), &["other"]);
    write(&root.join("vae/diffusion_pytorch_model.fp16.safetensors"), &["vae"]);
    fs::write(root.join("unet/config.json"), r#"{"_class_name": "Net", "width": 8}"#).unwrap();
    let parts = FolderParts::new(&file)
        .with_folder(&root)
        .with_json("model_index.json", &index())
        .with_json("unet/config.json", &json!({"_class_name": "Net", "width": 4}))
        .with_json("vae/config.json", &json!({"_class_name": "Vae"}))
        .with_weights("unet", &file, Selection::new().prefixes(&["net."]));
    let model = ModelFolder::from_parts(parts).unwrap().with_variant("fp16").unwrap();
    let (unet, vae) = (model.component("unet").unwrap(), model.component("vae").unwrap());
    assert_eq!(config(&unet)["width"], 8);
    assert_eq!(config(&vae)["_class_name"], "Vae");
    assert_eq!(names(&unet).unwrap(), ["a"]);
    assert_eq!(names(&vae).unwrap(), ["vae"]);
    assert!(vae.has("diffusion_pytorch_model.fp16.safetensors") && !vae.has("absent.json"));
}

#[test]
fn a_component_can_be_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("module.safetensors");
    write(&file, &["module.a"]);
    let parts = FolderParts::new(&file)
        .with_json("config.json", &json!({"_class_name": "Net"}))
        .with_weights("", &file, Selection::new().unwrap("module."));
    let component = Component::from_parts(parts);
    assert_eq!(config(&component)["_class_name"], "Net");
    assert_eq!(names(&component).unwrap(), ["a"]);
}

#[test]
fn a_folder_of_one_component_is_told_from_others() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let open = |name: &str| Component::open_class(root.join(name), &["Net"]).map_err(|e| e.to_string());
    write(&root.join("net/diffusion_pytorch_model.fp16.safetensors"), &["a"]);
    fs::write(root.join("net/config.json"), r#"{"_class_name": "Net"}"#).unwrap();
    assert_eq!(names(&open("net").unwrap()).unwrap(), ["a"]);
    for other in ["whole", "other", "empty", "bare"] {
        fs::create_dir(root.join(other)).unwrap();
    }
    fs::write(root.join("whole/model_index.json"), "{}").unwrap();
    fs::write(root.join("other/config.json"), r#"{"_class_name": "Vae"}"#).unwrap();
    fs::write(root.join("bare/a.txt"), "").unwrap();
    for (name, parts) in [
        ("absent", ["there is no model folder", "absent"]),
        ("net/config.json", ["it is a file", "of Net"]),
        ("whole", ["it is a whole model", "of Net"]),
        ("other", ["the class `Vae` is not supported", "Net is"]),
        ("empty", ["the folder is empty", "of Net"]),
        ("bare", ["it has no `config.json`", "of Net"]),
    ] {
        let message = open(name).unwrap_err();
        for part in parts {
            assert!(message.contains(part), "{name}: `{part}` is not in: {message}");
        }
    }
}
