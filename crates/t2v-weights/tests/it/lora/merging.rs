//! Sums that no fixture has: half precision, kernels of one pixel and of frames, PEFT's folder.

use std::collections::HashMap;

use burn::tensor::DType;
use t2v_weights::{Floats, KeyMap, Lora, LoraSet, LoraTarget};

use crate::lora::model::{Entry, Large, entry, file, large, load, values};

const TARGET: LoraTarget = LoraTarget::Denoiser;

fn base() -> Vec<Entry> {
    vec![
        entry("to_q.weight", &[520, 512]),
        entry("to_k.weight", &[520, 512]),
        entry("temporal.weight", &[4, 6, 3, 1, 1]),
        entry("pointwise.weight", &[4, 6, 1, 1]),
    ]
}

/// A file in f16, as models are published.
fn in_half(tensors: &[Entry]) -> Vec<u8> {
    use half::f16;
    let bytes: Vec<Vec<u8>> = tensors
        .iter()
        .map(|(_, _, values)| values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect())
        .collect();
    let view = |shape: &[usize], bytes| {
        safetensors::tensor::TensorView::new(safetensors::Dtype::F16, shape.to_vec(), bytes).unwrap()
    };
    let views = tensors
        .iter()
        .zip(&bytes)
        .map(|((name, shape, _), bytes)| (name, view(shape, bytes)));
    safetensors::serialize(views, None).unwrap()
}

fn lora(layer: &str, down: &[usize], up: &[usize], alpha: Option<f32>) -> (Vec<Entry>, Lora) {
    let mut tensors = vec![
        entry(&format!("unet.{layer}.lora_A.weight"), down),
        entry(&format!("unet.{layer}.lora_B.weight"), up),
    ];
    tensors.extend(alpha.map(|alpha| (format!("unet.{layer}.alpha"), vec![], vec![alpha])));
    let lora = Lora::from_safetensors("memory", file(&tensors, None)).unwrap();
    (tensors, lora)
}

/// `weight + scale * up * down`, in f64.
fn sum(weight: &[f32], [down, up]: [&Entry; 2], scale: f64) -> Vec<f64> {
    let (rank, rows) = (down.1[0], up.1[0]);
    let columns = weight.len() / rows;
    let mut sum: Vec<f64> = weight.iter().map(|w| f64::from(*w)).collect();
    for (i, value) in sum.iter_mut().enumerate() {
        let (row, column) = (i / columns, i % columns);
        let product = (0..rank).map(|r| f64::from(up.2[row * rank + r]) * f64::from(down.2[r * columns + column]));
        *value += scale * product.sum::<f64>();
    }
    sum
}

fn difference(found: &[f32], wanted: &[f64]) -> f64 {
    assert_eq!(found.len(), wanted.len());
    let largest = wanted.iter().fold(0f64, |most, value| most.max(value.abs()));
    let worst = found
        .iter()
        .zip(wanted)
        .fold(0f64, |most, (a, b)| most.max((f64::from(*a) - b).abs()));
    worst / largest
}

#[test]
fn sums_are_in_single_precision_though_the_weights_are_kept_as_halves() {
    let floats = Floats::from(DType::F32).keep_half(true);
    let module: Large = load(large(), &KeyMap::new(), in_half(&base()), floats);
    let before = values(&module);
    assert_eq!(before["to_q.weight"].0, DType::F16);
    let (tensors, lora) = lora("to_q", &[16, 512], &[520, 16], Some(4.0));
    let set = LoraSet::new().with(lora, -1.5);
    let (merged, applied) = set.apply(&module, &KeyMap::new(), TARGET, floats).unwrap();
    let after = values(&merged);
    let wanted = sum(&before["to_q.weight"].1, [&tensors[0], &tensors[1]], -1.5 * 4.0 / 16.0);
    assert_eq!(after["to_q.weight"].0, DType::F32);
    let found = difference(&after["to_q.weight"].1, &wanted);
    assert!(found < 1e-6, "{found}");
    assert_eq!(after["to_k.weight"], before["to_k.weight"]);
    assert_eq!((applied.layers(), applied.bytes()), (1, 520 * 512 * 4));
    assert_eq!(values(&applied.remove(merged)), before);
}

#[test]
fn sums_are_halves_where_the_model_computes_in_them() {
    let module: Large = load(large(), &KeyMap::new(), in_half(&base()), DType::F16);
    let before = values(&module);
    let (tensors, lora) = lora("to_q", &[4, 512], &[520, 4], None);
    let set = LoraSet::new().with(lora, 0.5);
    let (merged, applied) = set.apply(&module, &KeyMap::new(), TARGET, DType::F16).unwrap();
    let after = values(&merged);
    assert_eq!(after["to_q.weight"].0, DType::F16);
    let found = difference(
        &after["to_q.weight"].1,
        &sum(&before["to_q.weight"].1, [&tensors[0], &tensors[1]], 0.5),
    );
    assert!(found < 5e-4, "{found}");
    assert_eq!(values(&applied.remove(merged)), before);
}

#[test]
fn kernels_of_one_pixel_and_of_frames() {
    let module: Large = load(large(), &KeyMap::new(), file(&base(), None), DType::F32);
    let before = values(&module);
    for (layer, down, up) in [
        ("temporal", vec![2, 6, 3, 1, 1], vec![4, 2, 1, 1, 1]),
        ("pointwise", vec![2, 6, 1, 1], vec![4, 2, 1, 1]),
        ("pointwise", vec![2, 6], vec![4, 2]),
        ("to_k", vec![2, 512, 1, 1], vec![520, 2, 1, 1]),
    ] {
        let (tensors, lora) = lora(layer, &down, &up, None);
        let set = LoraSet::new().with(lora, 2.0);
        let (merged, applied) = set.apply(&module, &KeyMap::new(), TARGET, DType::F32).unwrap();
        let path = format!("{layer}.weight");
        let wanted = sum(&before[&path].1, [&tensors[0], &tensors[1]], 2.0);
        let found = difference(&values(&merged)[&path].1, &wanted);
        assert!(found < 1e-6, "{layer} {down:?}: {found}");
        assert_eq!(values(&applied.remove(merged)), before);
    }
}

#[test]
fn linear_layers_stay_as_they_lie_in_memory() {
    use burn::tensor::Tensor;
    let module: Large = load(large(), &KeyMap::new(), file(&base(), None), DType::F32);
    let (_, lora) = lora("to_q", &[2, 512], &[520, 2], None);
    let set = LoraSet::new().with(lora, 1.0);
    let (merged, _) = set.apply(&module, &KeyMap::new(), TARGET, DType::F32).unwrap();
    assert_eq!(merged.to_q.weight.dims(), [512, 520]);
    let x = Tensor::<2>::ones([1, 512], &burn::tensor::Device::flex());
    let weight = values(&merged)["to_q.weight"].1.clone();
    let wanted: Vec<f64> = weight
        .chunks(512)
        .map(|row| row.iter().map(|w| f64::from(*w)).sum())
        .collect();
    let out: Vec<f32> = merged.to_q.forward(x).into_data().iter().collect();
    assert!(difference(&out, &wanted) < 1e-5);
}

#[test]
fn nothing_is_touched_by_a_scale_of_zero_or_an_empty_set() {
    let module: Large = load(large(), &KeyMap::new(), file(&base(), None), DType::F32);
    let (_, lora) = lora("to_q", &[2, 512], &[520, 2], None);
    for set in [LoraSet::new(), LoraSet::new().with(lora, 0.0)] {
        let (merged, applied) = set.apply(&module, &KeyMap::new(), TARGET, DType::F32).unwrap();
        assert_eq!((applied.layers(), applied.bytes()), (0, 0));
        assert_eq!(values(&merged), values(&module));
        assert_eq!(values(&applied.remove(merged)), values(&module));
    }
}

#[test]
fn a_set_may_be_added_to_a_set() {
    let module: Large = load(large(), &KeyMap::new(), file(&base(), None), DType::F32);
    let first = LoraSet::new().with(lora("to_q", &[2, 512], &[520, 2], None).1, 1.0);
    let second = LoraSet::new().with(lora("to_q", &[3, 512], &[520, 3], None).1, 1.0);
    let (once, a) = first.apply(&module, &KeyMap::new(), TARGET, DType::F32).unwrap();
    let (twice, b) = second.apply(&once, &KeyMap::new(), TARGET, DType::F32).unwrap();
    let back = b.remove(twice);
    assert_eq!(values(&back), values(&once));
    assert_eq!(values(&a.remove(back)), values(&module));
}

#[test]
fn alphas_of_pefts_folder_count() {
    let module: Large = load(large(), &KeyMap::new(), file(&base(), None), DType::F32);
    let tensors = [
        entry("base_model.model.to_q.lora_A.weight", &[4, 512]),
        entry("base_model.model.to_q.lora_B.weight", &[520, 4]),
    ];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("adapter_model.safetensors");
    std::fs::write(&path, file(&tensors, None)).unwrap();
    let config = folder.path().join("adapter_config.json");
    std::fs::write(
        &config,
        r#"{"r": 4, "lora_alpha": 12, "alpha_pattern": {}, "use_dora": false}"#,
    )
    .unwrap();
    let set = LoraSet::new().with(Lora::open(&path).unwrap(), 1.0);
    let (merged, _) = set.apply(&module, &KeyMap::new(), TARGET, DType::F32).unwrap();
    let wanted = sum(&base()[0].2, [&tensors[0], &tensors[1]], 3.0);
    assert!(difference(&values(&merged)["to_q.weight"].1, &wanted) < 1e-6);

    std::fs::write(&config, r#"{"r": 4, "lora_alpha": 12, "use_dora": true}"#).unwrap();
    let message = Lora::open(&path).unwrap_err().to_string();
    assert!(
        message.contains("adapter_config.json") && message.contains("DoRA"),
        "{message}"
    );
}

#[test]
fn alphas_of_a_files_metadata_count_unless_it_has_its_own() {
    let module: Large = load(large(), &KeyMap::new(), file(&base(), None), DType::F32);
    let json = r#"{"unet.r": 4, "unet.lora_alpha": 2, "unet.alpha_pattern": {"to_k": 6}}"#;
    let metadata = HashMap::from([("lora_adapter_metadata".to_string(), json.to_string())]);
    let mut tensors = Vec::new();
    for layer in ["to_q", "to_k"] {
        tensors.push(entry(&format!("unet.{layer}.lora_A.weight"), &[4, 512]));
        tensors.push(entry(&format!("unet.{layer}.lora_B.weight"), &[520, 4]));
    }
    let check = |tensors: &[Entry], scales: [f64; 2]| {
        let lora = Lora::from_safetensors("memory", file(tensors, Some(metadata.clone()))).unwrap();
        let set = LoraSet::new().with(lora, 1.0);
        let (merged, _) = set.apply(&module, &KeyMap::new(), TARGET, DType::F32).unwrap();
        for (index, (layer, scale)) in ["to_q", "to_k"].into_iter().zip(scales).enumerate() {
            let pair = [&tensors[2 * index], &tensors[2 * index + 1]];
            let wanted = sum(&base()[index].2, pair, scale);
            assert!(
                difference(&values(&merged)[&format!("{layer}.weight")].1, &wanted) < 1e-6,
                "{layer}"
            );
        }
    };
    check(&tensors, [0.5, 1.5]);
    tensors.push(("unet.to_k.alpha".into(), vec![1], vec![1.0]));
    check(&tensors, [0.5, 0.25]);
}
