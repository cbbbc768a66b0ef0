//! Headers of safetensors files that lie about the bytes: refused, as by the format's own reader.

use burn::{
    nn::{Linear, LinearConfig, LinearLayout},
    tensor::{DType, Device},
};
use t2v_weights::{KeyMap, TensorFile, Weights};

/// A file of `header` and `len` bytes after it.
fn file(header: &str, len: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.resize(bytes.len() + len, 0);
    bytes
}

/// Two tensors, `weight` and `bias`, with the given offsets in bytes; 24 and 8 are right for their shapes.
fn two(weight: [u64; 2], bias: [u64; 2]) -> String {
    let tensor = |shape: &str, [start, end]: [u64; 2]| {
        format!(r#"{{"dtype": "F32", "shape": {shape}, "data_offsets": [{start}, {end}]}}"#)
    };
    format!(
        r#"{{"weight": {}, "bias": {}}}"#,
        tensor("[2, 3]", weight),
        tensor("[2]", bias)
    )
}

fn load(bytes: Vec<u8>) -> Result<(), String> {
    let mut linear: Linear = LinearConfig::new(3, 2)
        .with_layout(LinearLayout::Col)
        .init(&Device::flex());
    let weights = Weights::from_safetensors("model.safetensors", bytes);
    let loaded = weights.load(&mut linear, &KeyMap::new(), DType::F32);
    loaded.map(|_| ()).map_err(|e| e.to_string())
}

#[test]
fn a_true_header_is_accepted() {
    load(file(&two([0, 24], [24, 32]), 32)).unwrap();
    load(file(&two([8, 32], [0, 8]), 32)).unwrap();
}

#[test]
fn false_headers_are_refused() {
    let huge = u64::MAX;
    for (weight, bias, len, tensor) in [
        ([0, 24], [16, 24], 24, "bias"),           // overlap
        ([0, 24], [0, 8], 24, ""),                 // the same bytes
        ([0, 24], [28, 36], 36, "bias"),           // a gap
        ([4, 28], [28, 36], 36, "weight"),         // a gap before the first
        ([0, 20], [20, 28], 28, "weight"),         // too few for the shape
        ([0, 24], [24, 40], 40, "bias"),           // too many
        ([24, 0], [0, 8], 32, "weight"),           // backwards
        ([0, 24], [24, huge], 32, "bias"),         // past every end
        ([huge - 24, huge], [0, 8], 32, "weight"), // past every end, and a gap
    ] {
        let message = load(file(&two(weight, bias), len)).unwrap_err();
        for part in ["model.safetensors", "header", tensor] {
            assert!(
                message.contains(part),
                "{weight:?} {bias:?}: `{part}` is not in: {message}"
            );
        }
    }
}

#[test]
fn bytes_after_the_last_tensor_are_refused() {
    for len in [31, 33] {
        let message = load(file(&two([0, 24], [24, 32]), len)).unwrap_err();
        assert!(message.contains("describes"), "{message}");
    }
    // No sum of lengths overflows.
    let tensor = |start: u64, end: u64| {
        let shape = end - start;
        format!(r#"{{"dtype": "U8", "shape": [{shape}], "data_offsets": [{start}, {end}]}}"#)
    };
    let step = 1u64 << 60;
    let tensors: Vec<String> = (0..16)
        .map(|i| {
            let end = if i == 15 { u64::MAX } else { (i + 1) * step };
            format!(r#""t{i}": {}"#, tensor(i * step, end))
        })
        .collect();
    let message = load(file(&format!("{{{}}}", tensors.join(", ")), 32)).unwrap_err();
    assert!(message.contains("describes"), "{message}");
}

#[test]
fn files_that_stand_alone_are_checked_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("word.safetensors");
    std::fs::write(&path, file(&two([0, 24], [16, 24]), 24)).unwrap();
    let message = TensorFile::open(&path).unwrap_err().to_string();
    assert!(
        message.contains("word.safetensors") && message.contains("bias"),
        "{message}"
    );
}
