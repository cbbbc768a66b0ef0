//! Keys that a module has no parameter for.

#![allow(clippy::unwrap_used)]

use std::sync::Mutex;

use burn::{
    nn::{Linear, LinearConfig, LinearLayout},
    tensor::{DType, Device},
};
use safetensors::{Dtype, tensor::TensorView};
use t2v_weights::{Component, KeyMap, LoadReport, ModelFolder, WeightsError};
use tempfile::TempDir;

/// Keeps what is logged.
struct Log(Mutex<Vec<String>>);

static LOG: Log = Log(Mutex::new(Vec::new()));

impl log::Log for Log {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let line = format!("{}: {}", record.level(), record.args());
        self.0.lock().unwrap().push(line);
    }

    fn flush(&self) {}
}

/// A model folder whose `unet` is a linear layer with `extra` tensors beside it.
fn folder(extra: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("model_index.json"),
        r#"{"unet": ["diffusers", "Linear"]}"#,
    )
    .unwrap();
    std::fs::create_dir(folder.path().join("unet")).unwrap();
    let data = [0; 24];
    let tensor = |shape: &[usize]| {
        let bytes = shape.iter().product::<usize>() * 4;
        TensorView::new(Dtype::F32, shape.to_vec(), &data[..bytes]).unwrap()
    };
    let mut tensors = vec![("weight", tensor(&[2, 3])), ("bias", tensor(&[2]))];
    tensors.extend(extra.iter().map(|name| (*name, tensor(&[1]))));
    let path = folder.path().join("unet/diffusion_pytorch_model.safetensors");
    safetensors::serialize_to_file(tensors, None, &path).unwrap();
    folder
}

fn load(component: &Component) -> Result<LoadReport, WeightsError> {
    let mut linear: Linear = LinearConfig::new(3, 2)
        .with_layout(LinearLayout::Col)
        .init(&Device::flex());
    component
        .weights()?
        .load(&mut linear, &KeyMap::new().ignore("^known$"), DType::F32)
}

#[test]
fn unused_keys_are_a_warning_unless_strict() {
    log::set_logger(&LOG).unwrap();
    log::set_max_level(log::LevelFilter::Warn);
    let good = folder(&["known"]);
    let model = ModelFolder::open(good.path()).unwrap().with_strict(true);
    let report = load(&model.component("unet").unwrap()).unwrap();
    assert!(report.unused_keys.is_empty());
    assert!(LOG.0.lock().unwrap().is_empty());

    let more = folder(&["known", "ema_step", "attn.lora_layer.up.weight"]);
    let model = ModelFolder::open(more.path()).unwrap();
    let report = load(&model.component("unet").unwrap()).unwrap();
    assert_eq!(report.unused_keys, ["attn.lora_layer.up.weight", "ema_step"]);
    let lines = LOG.0.lock().unwrap().clone();
    assert_eq!(lines.len(), 1, "{lines:?}");
    for part in [
        "WARN",
        "unet/diffusion_pytorch_model.safetensors",
        "2 keys: attn.lora_layer.up.weight, ema_step",
    ] {
        assert!(lines[0].contains(part), "`{part}` is not in: {}", lines[0]);
    }

    let strict = model.clone().with_strict(true).component("unet").unwrap();
    let alone = Component::open(more.path().join("unet")).unwrap().with_strict(true);
    for component in [strict, alone] {
        let message = load(&component).unwrap_err().to_string();
        assert!(
            message.contains("2 unused keys: attn.lora_layer.up.weight, ema_step"),
            "{message}"
        );
    }
}
