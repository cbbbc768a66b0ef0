//! The layouts that weights come in, and what is said of damaged ones.

use std::{collections::HashMap, fs, path::Path};

use burn::{
    module::Module,
    nn::{LayerNorm, LayerNormConfig, Linear, LinearConfig, LinearLayout},
    tensor::{DType, Device, Tensor, TensorData},
};
use half::{bf16, f16};
use safetensors::{Dtype, tensor::TensorView};
use t2v_weights::{KeyMap, ModelFolder, WeightsError};
use tempfile::TempDir;

/// Two outputs from three inputs, then a norm: what `scripts/make_t2v_weights_fixtures.py` saves.
#[derive(Module, Debug)]
struct Probe {
    proj: Linear,
    norm: LayerNorm,
}

const TENSORS: [(&str, &[usize], &[f32]); 4] = [
    ("proj.weight", &[2, 3], &[0.0, 0.25, 0.5, 0.75, 1.0, 1.25]),
    ("proj.bias", &[2], &[0.5, -0.5]),
    ("norm.weight", &[2], &[1.5, 2.0]),
    ("norm.bias", &[2], &[-1.0, 0.25]),
];

fn probe() -> Probe {
    let device = Device::flex();
    Probe {
        proj: LinearConfig::new(3, 2).with_layout(LinearLayout::Col).init(&device),
        norm: LayerNormConfig::new(2).init(&device),
    }
}

fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("model_index.json"),
        r#"{"unet": ["diffusers", "Probe"], "none": [null, null]}"#,
    )
    .unwrap();
    fs::create_dir(folder.path().join("unet")).unwrap();
    folder
}

fn bytes(values: &[f32], dtype: Dtype) -> Vec<u8> {
    let one = |v: &f32| match dtype {
        Dtype::F16 => f16::from_f32(*v).to_le_bytes().to_vec(),
        Dtype::BF16 => bf16::from_f32(*v).to_le_bytes().to_vec(),
        Dtype::F64 => f64::from(*v).to_le_bytes().to_vec(),
        _ => v.to_le_bytes().to_vec(),
    };
    values.iter().flat_map(one).collect()
}

fn write(folder: &Path, file: &str, names: &[&str], dtype: Dtype) {
    let data: Vec<_> = TENSORS
        .iter()
        .filter(|(name, ..)| names.contains(name))
        .map(|(name, shape, values)| (*name, shape.to_vec(), bytes(values, dtype)))
        .collect();
    let views: HashMap<_, _> = data
        .iter()
        .map(|(name, shape, data)| (*name, TensorView::new(dtype, shape.clone(), data).unwrap()))
        .collect();
    fs::write(
        folder.join("unet").join(file),
        safetensors::serialize(views, None).unwrap(),
    )
    .unwrap();
}

fn all() -> Vec<&'static str> {
    TENSORS.iter().map(|(name, ..)| *name).collect()
}

fn load(folder: &Path, float: DType) -> Result<Probe, WeightsError> {
    let mut probe = probe();
    let component = ModelFolder::open(folder)?.component("unet")?;
    component.weights()?.load(&mut probe, &KeyMap::new(), float)?;
    Ok(probe)
}

fn assert_loaded(probe: &Probe) {
    let x = Tensor::<2>::from_floats([[1.0, 2.0, 4.0]], &Device::flex());
    // [0, .25, .5] . x + .5 = 3, [.75, 1, 1.25] . x - .5 = 7.25
    let projected = probe.proj.forward(x);
    projected
        .clone()
        .into_data()
        .assert_eq(&TensorData::from([[3.0f32, 7.25]]), true);
    let expected = TensorData::from([[-2.5f32, 2.25]]);
    let tolerance = burn::tensor::Tolerance::absolute(1e-4);
    probe
        .norm
        .forward(projected)
        .into_data()
        .assert_approx_eq::<f32>(&expected, tolerance);
}

#[test]
fn every_float_type_loads_as_single_precision() {
    for dtype in [Dtype::F32, Dtype::F16, Dtype::BF16, Dtype::F64] {
        let folder = folder();
        write(folder.path(), "diffusion_pytorch_model.safetensors", &all(), dtype);
        assert_loaded(&load(folder.path(), DType::F32).unwrap());
    }
}

#[test]
fn half_precision_can_be_kept() {
    let folder = folder();
    write(folder.path(), "diffusion_pytorch_model.safetensors", &all(), Dtype::F16);
    let probe = load(folder.path(), DType::F16).unwrap();
    assert_eq!(probe.proj.weight.val().dtype(), DType::F16);
}

#[test]
fn a_variant_is_found_and_full_precision_preferred() {
    let folder = folder();
    write(
        folder.path(),
        "diffusion_pytorch_model.fp16.safetensors",
        &all(),
        Dtype::F16,
    );
    assert_loaded(&load(folder.path(), DType::F32).unwrap());
    fs::write(
        folder.path().join("unet/diffusion_pytorch_model.safetensors"),
        b"damaged",
    )
    .unwrap();
    assert!(load(folder.path(), DType::F32).is_err());
}

#[test]
fn a_variant_that_is_asked_for_comes_first() {
    let folder = folder();
    let unet = folder.path().join("unet");
    write(folder.path(), "model.fp16.safetensors", &all(), Dtype::F16);
    fs::write(unet.join("diffusion_pytorch_model.safetensors"), b"damaged").unwrap();
    let open = || ModelFolder::open(folder.path()).unwrap();
    let mut probe = probe();
    let component = open().with_variant("fp16").unwrap().component("unet").unwrap();
    let weights = component.weights().unwrap();
    weights.load(&mut probe, &KeyMap::new(), DType::F32).unwrap();
    assert_loaded(&probe);
    // Twelve numbers.
    assert_eq!(weights.byte_len(DType::F32).unwrap(), 48);
    assert_eq!(weights.byte_len(DType::F16).unwrap(), 24);
    for absent in ["bf16", "", "../fp16", "fp16.safetensors"] {
        let message = open().with_variant(absent).unwrap_err().to_string();
        assert!(message.contains(&format!("variant `{absent}`")), "{message}");
    }
}

#[test]
fn a_component_without_the_variant_keeps_its_weights() {
    let folder = folder();
    write(folder.path(), "model.safetensors", &all(), Dtype::F32);
    fs::create_dir(folder.path().join("vae")).unwrap();
    fs::write(folder.path().join("vae/model.fp16.safetensors"), b"").unwrap();
    let index = r#"{"unet": ["diffusers", "Probe"], "vae": ["diffusers", "Probe"]}"#;
    fs::write(folder.path().join("model_index.json"), index).unwrap();
    let open = ModelFolder::open(folder.path()).unwrap().with_variant("fp16").unwrap();
    let mut probe = probe();
    let weights = open.component("unet").unwrap().weights().unwrap();
    weights.load(&mut probe, &KeyMap::new(), DType::F32).unwrap();
    assert_loaded(&probe);
}

#[test]
fn shards_are_joined() {
    for index in [
        "diffusion_pytorch_model.safetensors.index.json",
        "model.safetensors.index.fp16.json",
        "model.fp16.safetensors.index.json",
    ] {
        let folder = folder();
        write(
            folder.path(),
            "one.safetensors",
            &["proj.weight", "norm.bias"],
            Dtype::F32,
        );
        write(
            folder.path(),
            "two.safetensors",
            &["proj.bias", "norm.weight"],
            Dtype::F16,
        );
        let map = r#"{"weight_map": {"proj.weight": "one.safetensors", "norm.bias": "one.safetensors",
            "proj.bias": "two.safetensors", "norm.weight": "two.safetensors"}}"#;
        fs::write(folder.path().join("unet").join(index), map).unwrap();
        assert_loaded(&load(folder.path(), DType::F32).unwrap());
        fs::remove_file(folder.path().join("unet/two.safetensors")).unwrap();
        let message = load(folder.path(), DType::F32).unwrap_err().to_string();
        assert!(
            message.contains("two.safetensors") && message.contains(index),
            "{message}"
        );
    }
}

#[test]
fn an_index_cannot_point_outside() {
    let folder = folder();
    let map = r#"{"weight_map": {"proj.weight": "../../secret.safetensors"}}"#;
    fs::write(folder.path().join("unet/model.safetensors.index.json"), map).unwrap();
    let message = load(folder.path(), DType::F32).unwrap_err().to_string();
    assert!(message.contains("outside"), "{message}");
}

#[test]
fn pickles_load() {
    for (fixture, name) in [
        ("single.bin", "diffusion_pytorch_model.bin"),
        ("half.bin", "pytorch_model.fp16.bin"),
    ] {
        let folder = folder();
        let from = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fixtures")
            .join(fixture);
        fs::copy(from, folder.path().join("unet").join(name)).unwrap();
        assert_loaded(&load(folder.path(), DType::F32).unwrap());
    }
}

#[test]
fn a_damaged_pickle_is_named() {
    let folder = folder();
    fs::write(folder.path().join("unet/pytorch_model.bin"), b"PK\x03\x04 nothing").unwrap();
    let message = load(folder.path(), DType::F32).unwrap_err().to_string();
    assert!(message.contains("pytorch_model.bin"), "{message}");
}

#[test]
fn missing_unused_and_misshapen_keys_are_listed() {
    let folder = folder();
    write(
        folder.path(),
        "model.safetensors",
        &["proj.weight", "proj.bias", "norm.bias"],
        Dtype::F32,
    );
    let message = load(folder.path(), DType::F32).unwrap_err().to_string();
    assert!(message.contains("1 missing keys: norm.weight"), "{message}");

    write(folder.path(), "model.safetensors", &all(), Dtype::F32);
    let mut probe = probe();
    let weights = ModelFolder::open(folder.path())
        .unwrap()
        .component("unet")
        .unwrap()
        .weights()
        .unwrap();
    let renamed = KeyMap::new().rename(r"^norm\.bias$", "extra");
    let message = weights.load(&mut probe, &renamed, DType::F32).unwrap_err().to_string();
    assert!(
        message.contains("1 missing keys: norm.bias") && message.contains("1 unused keys: norm.bias"),
        "{message}"
    );
    let ignored = renamed.ignore("^extra$");
    let message = weights.load(&mut probe, &ignored, DType::F32).unwrap_err().to_string();
    assert!(!message.contains("unused"), "{message}");

    let device = Device::flex();
    probe.proj = LinearConfig::new(4, 2).with_layout(LinearLayout::Col).init(&device);
    let message = weights
        .load(&mut probe, &KeyMap::new(), DType::F32)
        .unwrap_err()
        .to_string();
    assert!(message.contains("proj.weight has shape"), "{message}");
}

#[test]
fn absent_components_are_named() {
    let folder = folder();
    let open = ModelFolder::open(folder.path()).unwrap();
    for name in ["vae", "none"] {
        let message = open.component(name).unwrap_err().to_string();
        assert!(
            message.contains(name) && message.contains("model_index.json"),
            "{message}"
        );
    }
    let message = open.component("unet").unwrap().weights().unwrap_err().to_string();
    assert!(message.contains("diffusion_pytorch_model.safetensors"), "{message}");
}
