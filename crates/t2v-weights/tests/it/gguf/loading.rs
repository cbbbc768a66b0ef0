//! What modules get of a file.

use burn::{
    module::Module,
    nn::{Embedding, EmbeddingConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig, LinearLayout},
    tensor::{DType, Device, Tensor},
};
use t2v_quant::{BlockFormat, Quantized};
use t2v_weights::{Floats, KeyMap, ReadMeter, Selection, TensorFile, Weights};

use super::file::{BF16, F16, F32, File, Q8_0, blocks, floats, values, written};

#[derive(Module, Debug)]
struct Model {
    table: Embedding,
    proj: Linear,
    norm: LayerNorm,
}

fn model() -> Model {
    let device = Device::flex();
    Model {
        table: EmbeddingConfig::new(3, 32).init(&device),
        proj: LinearConfig::new(32, 2).with_layout(LinearLayout::Col).init(&device),
        norm: LayerNormConfig::new(2).init(&device),
    }
}

/// As models have them: a tokenizer's texts before, numbers of every width, tensors of several kinds.
pub(super) fn file() -> File {
    let half = |values: [f32; 2]| {
        values
            .iter()
            .flat_map(|v| half::f16::from_f32(*v).to_le_bytes())
            .collect()
    };
    let brain = |values: [f32; 2]| {
        values
            .iter()
            .flat_map(|v| half::bf16::from_f32(*v).to_le_bytes())
            .collect()
    };
    File::new()
        .with_text("general.architecture", "test")
        .with_texts("tokenizer.ggml.tokens", &["a", "", "ccc"])
        .with_key("one.byte", 0, &[7])
        .with_key("truth", 7, &[1])
        .with_key("wide", 12, &1.5_f64.to_le_bytes())
        .with_tensor("table.weight", &[3, 32], Q8_0, blocks(3, -9))
        .with_tensor("proj.weight", &[2, 32], Q8_0, blocks(2, 5))
        .with_tensor("proj.bias", &[2], F16, half([0.25, -2.0]))
        .with_tensor("norm.weight", &[2], BF16, brain([1.5, 3.0]))
        .with_tensor("norm.bias", &[2], F32, floats(&[0.1, 0.2]))
}

fn load(bytes: &[u8], floats: Floats) -> Model {
    let (_folder, path) = written(bytes);
    let mut model = model();
    let weights = Weights::open(path).unwrap().with_strict(true);
    weights.load(&mut model, &KeyMap::new(), floats).unwrap();
    model
}

fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.cast(DType::F32).into_data().iter().collect()
}

fn assert_values(model: &Model) {
    assert_eq!(numbers(model.proj.weight.val().transpose()), values(2, 5));
    assert_eq!(numbers(model.table.weight.val()), values(3, -9));
    assert_eq!(numbers(model.proj.bias.as_ref().unwrap().val()), [0.25, -2.0]);
    assert_eq!(numbers(model.norm.gamma.val()), [1.5, 3.0]);
}

#[test]
fn tensors_are_widened_or_stay_in_blocks() {
    for version in [2, 3] {
        for alignment in [32, 8, 64] {
            let mut file = file().with_key("general.alignment", 4, &(alignment as u32).to_le_bytes());
            (file.version, file.alignment) = (version, alignment);
            let widened = load(&file.bytes(), DType::F32.into());
            assert!(Quantized::of(&widened.proj.weight).is_none());
            assert_values(&widened);
            let kept = load(&file.bytes(), Floats::from(DType::F32).keep_half(true));
            for held in [&kept.proj.weight, &kept.table.weight] {
                assert_eq!(Quantized::of(held).unwrap().format(), BlockFormat::Q8_0);
            }
            assert!(Quantized::of(&kept.proj.weight).unwrap().is_transposed());
            assert!(!Quantized::of(&kept.table.weight).unwrap().is_transposed());
            assert_values(&kept);
        }
    }
}

#[test]
fn in_half_precision_blocks_are_narrowed() {
    let model = load(&file().bytes(), DType::F16.into());
    assert_eq!(model.proj.weight.val().dtype(), DType::F16);
    assert_values(&model);
}

#[test]
fn bytes_are_counted_as_they_are_kept() {
    let (_folder, path) = written(&file().bytes());
    let weights = Weights::open(path).unwrap();
    let small = 6 * 4;
    assert_eq!(weights.byte_len(DType::F32).unwrap(), 5 * 32 * 4 + small);
    let kept = weights.byte_len(Floats::from(DType::F32).keep_half(true)).unwrap();
    assert_eq!(kept, 5 * 34 + small);
}

#[test]
fn selections_rename_blocks_and_widen_what_they_cut() {
    let file = File::new()
        .with_tensor("model.both.weight", &[4, 32], Q8_0, blocks(4, 0))
        .with_tensor("model.layer.weight", &[2, 32], Q8_0, blocks(2, 5));
    let (_folder, path) = written(&file.bytes());
    let selection = Selection::new()
        .prefixes(&["model."])
        .rename(r"^layer\.", "c.")
        .split(r"^both\.", &["a.", "b."]);
    #[derive(Module, Debug)]
    struct Three {
        a: Linear,
        b: Linear,
        c: Linear,
    }
    let layer = || {
        let config = LinearConfig::new(32, 2).with_bias(false);
        config.with_layout(LinearLayout::Col).init(&Device::flex())
    };
    let mut model = Three {
        a: layer(),
        b: layer(),
        c: layer(),
    };
    let weights = Weights::open(path).unwrap().with_selection(selection);
    let floats = Floats::from(DType::F32).keep_half(true);
    weights.load(&mut model, &KeyMap::new(), floats).unwrap();
    assert!(Quantized::of(&model.c.weight).is_some());
    assert!(Quantized::of(&model.a.weight).is_none());
    let both = [&model.a, &model.b].map(|layer| numbers(layer.weight.val().transpose()));
    assert_eq!(both.concat(), values(4, 0));
    assert_eq!(numbers(model.c.weight.val().transpose()), values(2, 5));
}

#[test]
fn other_shapes_and_missing_keys_are_named() {
    let loaded = |file: File| {
        let (_folder, path) = written(&file.bytes());
        let floats = Floats::from(DType::F32).keep_half(true);
        let loaded = Weights::open(path).unwrap().load(&mut model(), &KeyMap::new(), floats);
        loaded.unwrap_err().to_string()
    };
    let message = loaded(File::new().with_tensor("proj.weight", &[4, 32], Q8_0, blocks(4, 0)));
    assert!(
        message.contains("proj.weight: has shape [4, 32] instead of [2, 32]") && message.contains("missing keys"),
        "{message}"
    );
    assert!(
        message.contains("table.weight") && message.contains("model.gguf"),
        "{message}"
    );
}

#[test]
fn a_file_stands_alone() {
    let original = File::new()
        .with_text("general.architecture", "wan\0")
        .with_integers("comfy.gguf.orig_shape.conv", &[2, 1, 4, 4, 2])
        .with_tensor("conv", &[2, 32], Q8_0, blocks(2, 1));
    let (_folder, path) = written(&original.bytes());
    let file = TensorFile::open(path).unwrap();
    assert_eq!(file.string("general.architecture"), Some("wan"));
    assert_eq!(file.read("conv").unwrap(), (vec![2, 1, 4, 4, 2], values(2, 1)));
}

#[test]
fn a_meter_counts_the_bytes_of_the_file() {
    // Blocks of 34 bytes for 32 values, whether they are widened or stay; halves, and numbers of four bytes.
    let stored = (3 + 2) * 34 + 2 * 2 + 2 * 2 + 2 * 4;
    for keep_blocks in [false, true] {
        let (_folder, path) = written(&file().bytes());
        let meter = ReadMeter::new();
        let weights = Weights::open(path).unwrap().with_meter(&meter);
        let floats = Floats::from(DType::F32).keep_half(keep_blocks);
        weights.load(&mut model(), &KeyMap::new(), floats).unwrap();
        assert_eq!((meter.read(), meter.total()), (stored, stored), "{keep_blocks}");
    }
}
