//! What the integration tests share: reading fixtures, and the model that their trajectories were made with.

use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use safetensors::SafeTensors;
use serde_json::Value;

/// A fixture file in memory.
pub(crate) struct Fixture {
    bytes: Vec<u8>,
}

impl Fixture {
    pub(crate) fn open(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        Self::at(&folder.join(format!("{name}.safetensors")))
    }

    pub(crate) fn at(path: &Path) -> Self {
        Self {
            bytes: std::fs::read(path).unwrap(),
        }
    }

    /// A part of the metadata.
    pub(crate) fn json(&self, key: &str) -> Value {
        let (_, header) = SafeTensors::read_metadata(&self.bytes).unwrap();
        let info = &header.metadata().as_ref().unwrap()["info"];
        serde_json::from_str::<Value>(info).unwrap()[key].clone()
    }

    /// Whether there is a tensor of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        SafeTensors::deserialize(&self.bytes).unwrap().tensor(name).is_ok()
    }

    /// A tensor's shape and bytes.
    fn raw(&self, name: &str) -> (Vec<usize>, Vec<u8>) {
        let file = SafeTensors::deserialize(&self.bytes).unwrap();
        let view = file.tensor(name).unwrap();
        (view.shape().to_vec(), view.data().to_vec())
    }

    pub(crate) fn f32s(&self, name: &str) -> Vec<f32> {
        let bytes = self.raw(name).1;
        bytes
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
            .collect()
    }

    pub(crate) fn f64s(&self, name: &str) -> Vec<f64> {
        let bytes = self.raw(name).1;
        bytes
            .chunks_exact(8)
            .map(|b| f64::from_le_bytes(b.try_into().unwrap()))
            .collect()
    }

    /// A stack of samples, one value list each.
    pub(crate) fn samples(&self, name: &str) -> Vec<Vec<f32>> {
        let count = self.raw(name).0[0];
        let values = self.f32s(name);
        values.chunks_exact(values.len() / count).map(<[f32]>::to_vec).collect()
    }
}

pub(crate) fn tensor(values: &[f32], shape: [usize; 5], device: &Device) -> Tensor<5> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), device)
}

pub(crate) fn values(tensor: &Tensor<5>) -> Vec<f32> {
    tensor.to_data().try_into_vec().unwrap()
}

/// The same function as in `scripts/make_fixtures.py`.
pub(crate) fn fake_model(x: Tensor<5>, t: f64) -> Tensor<5> {
    x.clone() * 0.4 * (t / 500.0).cos() + x.sin() * 0.1
}

/// The greatest absolute value.
pub(crate) fn peak(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |peak, value| peak.max(value.abs()))
}

/// Compares within 1e-5 of the value, or of a tenth of `scale` where that is greater, if the device computes in f32.
///
/// `scale` is the size of the terms that a value is the sum of: where these cancel, single precision leaves an error of
/// that size.
#[track_caller]
pub(crate) fn assert_close(found: &[f32], expected: &[f32], scale: f32, what: &str) {
    let name = what.split('"').nth(3).unwrap_or(what);
    t2v_test_support::difference(&format!("scheduler {name}"), found, expected);
    let tolerance = 0.1 * t2v_test_support::tolerance();
    for (i, (&a, &b)) in found.iter().zip(expected).enumerate() {
        let allowed = tolerance * b.abs().max(0.1 * scale);
        assert!(
            (a - b).abs() <= allowed,
            "{what}: value {i} is {a}, expected {b}, scale {scale}"
        );
    }
}
