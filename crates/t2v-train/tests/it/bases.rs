//! Which models are trained on, and what is said of the others.

use std::{fs, path::Path};

use crate::common::{denoiser, write_folder};
use burn::{
    module::{Module, ModuleVisitor, Param},
    tensor::{DType, Device, Tensor},
};
use serde_json::{Value, json};
use t2v_train::{Base, Denoisers};
use t2v_weights::ModelFolder;

fn open(folder: &Path) -> Result<Base, String> {
    Base::new(ModelFolder::open(folder).unwrap(), "model", &Device::flex()).map_err(|e| e.to_string())
}

/// Changes an entry of a folder's file.
fn set(folder: &Path, name: &str, key: &str, value: Value) {
    let file = folder.join(name);
    let mut json: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    json[key] = value;
    fs::write(file, json.to_string()).unwrap();
}

#[derive(Default)]
struct Types(Vec<DType>);

impl ModuleVisitor for Types {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.push(param.val().dtype());
    }
}

/// The folders have weights in half precision.
#[test]
fn weights_in_half_precision_are_widened() {
    for name in ["lora_epsilon", "lora_motion", "lora_flow"] {
        let mut types = Types::default();
        match denoiser(name) {
            Denoisers::UNet3d(network) => network.visit(&mut types),
            Denoisers::UNet2d(network) => network.visit(&mut types),
            Denoisers::Wan(network) => network.visit(&mut types),
            other => panic!("{other:?}"),
        }
        assert!(
            types.0.len() > 20 && types.0.iter().all(|dtype| *dtype == DType::F32),
            "{types:?}",
            types = types.0
        );
    }
}

#[test]
fn what_is_not_trained_on_is_named() {
    let folder = tempfile::tempdir().unwrap();
    write_folder(folder.path(), "lora_flow");
    assert!(open(folder.path()).is_ok());
    let base = open(folder.path()).unwrap();
    let message = base.trained_text_encoder().err().unwrap().to_string();
    assert!(message.contains("text encoder is not CLIP's"), "{message}");

    set(
        folder.path(),
        "model_index.json",
        "transformer_2",
        json!(["diffusers", "WanTransformer3DModel"]),
    );
    let message = open(folder.path()).unwrap_err();
    assert!(message.contains("two transformers"), "{message}");

    set(
        folder.path(),
        "model_index.json",
        "_class_name",
        json!("StableVideoDiffusionPipeline"),
    );
    let message = open(folder.path()).unwrap_err();
    assert!(
        message.contains("StableVideoDiffusionPipeline") && message.contains("AnimateDiffPipeline"),
        "{message}"
    );

    set(
        folder.path(),
        "model_index.json",
        "_class_name",
        json!("WanImageToVideoPipeline"),
    );
    assert!(open(folder.path()).unwrap_err().contains("WanImageToVideoPipeline"));
}

#[test]
fn models_that_are_shown_more_than_latents_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    write_folder(folder.path(), "lora_epsilon");
    set(folder.path(), "unet/config.json", "in_channels", json!(9));
    let message = open(folder.path()).unwrap().denoiser().unwrap_err().to_string();
    assert!(
        message.contains("9 channels") && message.contains("4 of the latents"),
        "{message}"
    );
}

#[test]
fn motion_modules_go_into_networks_of_pictures_alone() {
    let folder = tempfile::tempdir().unwrap();
    write_folder(folder.path(), "lora_epsilon");
    let adapter = ModelFolder::open(folder.path()).unwrap().component("unet").unwrap();
    let base = open(folder.path()).unwrap().with_motion_adapter(adapter);
    let message = base.denoiser().unwrap_err().to_string();
    assert!(
        message.contains("UNet3DConditionModel") && message.contains("UNet2DConditionModel"),
        "{message}"
    );
}
