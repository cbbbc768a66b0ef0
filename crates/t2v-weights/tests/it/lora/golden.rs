//! The same weights as diffusers' `load_lora_weights`, `set_adapters` and `fuse_lora`.

use std::collections::BTreeMap;

use burn::{module::Module, tensor::DType};
use safetensors::SafeTensors;
use t2v_weights::{KeyMap, Lora, LoraSet, LoraTarget};

use crate::lora::model::{FIXTURES, Values, base, load, text_keys, text_model, unet, unet_keys, values};

/// Differences from diffusers, beside the largest value of a weight.
const TOLERANCE: f32 = 2e-6;

/// The files of each case with their scales, in order.
type Cases = BTreeMap<String, Vec<(String, f64)>>;

fn cases() -> Cases {
    serde_json::from_slice(&std::fs::read(format!("{FIXTURES}/cases.json")).unwrap()).unwrap()
}

fn set_of(files: &[(String, f64)]) -> LoraSet {
    files.iter().fold(LoraSet::new(), |set, (file, scale)| {
        set.with(Lora::open(format!("{FIXTURES}/{file}")).unwrap(), *scale)
    })
}

/// What diffusers makes of a part in a case, by path.
fn expected(case: &str, part: &str) -> BTreeMap<String, Vec<f32>> {
    let bytes = std::fs::read(format!("{FIXTURES}/expected.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let prefix = format!("{case}.{part}.");
    let path = |key: &str| {
        key.replace(".ff.net.0.proj.", ".ff.proj.")
            .replace(".ff.net.2.", ".ff.out.")
    };
    file.iter()
        .filter_map(|(key, view)| Some((path(key.strip_prefix(&prefix)?), view.data())))
        .map(|(path, data)| {
            (
                path,
                data.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
            )
        })
        .collect()
}

fn check(case: &str, path: &str, found: &[f32], wanted: &[f32]) {
    let largest = wanted.iter().fold(0f32, |most, value| most.max(value.abs()));
    let worst = found
        .iter()
        .zip(wanted)
        .fold(0f32, |most, (a, b)| most.max((a - b).abs()));
    assert_eq!(found.len(), wanted.len(), "{case}: {path}");
    assert!(
        worst <= TOLERANCE * largest,
        "{case}: {path} differs by {worst} of {largest}"
    );
}

/// Applies a case to a module, compares each weight, takes the LoRAs off again.
fn run<M: Module>(case: &str, files: &[(String, f64)], module: M, part: (&str, LoraTarget, KeyMap)) {
    let (part, target, keys) = part;
    let before: Values = values(&module);
    let wanted = expected(case, part);
    let (merged, applied) = set_of(files).apply(&module, &keys, target, DType::F32).unwrap();
    for (path, (dtype, found)) in values(&merged) {
        assert_eq!(dtype, DType::F32);
        match wanted.get(&path) {
            Some(wanted) => check(case, &path, &found, wanted),
            None => assert_eq!(found, before[&path].1, "{case}: {path}"),
        }
    }
    let bytes = wanted.values().map(|values| values.len() as u64 * 4).sum::<u64>();
    assert_eq!((applied.layers(), applied.bytes()), (wanted.len(), bytes), "{case}");
    assert!(applied.left_out().is_empty(), "{case}: {:?}", applied.left_out());
    assert_eq!(values(&module), before, "{case}");
    assert_eq!(values(&applied.remove(merged)), before, "{case}");
}

#[test]
fn weights_are_those_of_diffusers() {
    let cases = cases();
    assert_eq!(cases.len(), 6);
    for (case, files) in &cases {
        let denoiser = load(unet(), &unet_keys(), base("unet"), DType::F32);
        assert!(!expected(case, "unet").is_empty(), "{case}");
        run(case, files, denoiser, ("unet", LoraTarget::Denoiser, unet_keys()));
        let text = load(text_model(), &text_keys(), base("text_encoder"), DType::F32);
        run(
            case,
            files,
            text,
            ("text_encoder", LoraTarget::TextEncoder, text_keys()),
        );
    }
}
