//! Golden fixtures for tests: weights, inputs and outputs of a module, written by the scripts in `scripts/`.
//!
//! A fixture is one safetensors file with tensors `weights.<key>`, `input.<name>` and `output.<name>`, and JSON texts
//! in its metadata: `config` holds the parameters of the module, `call` the arguments that are no tensors. Everything
//! here panics where a fixture is not as a test expects it.

mod device;
mod keys;

use std::{collections::HashMap, fs, path::Path};

use burn::tensor::{Device, Int, Tensor, TensorData, Tolerance};
pub use device::{device, difference, tolerance};
pub use keys::LayoutKeys;
use safetensors::{SafeTensors, tensor::TensorView};
use serde::de::DeserializeOwned;
use t2v_weights::Weights;

/// A fixture file in memory.
pub struct Fixture {
    name: String,
    bytes: Vec<u8>,
    metadata: HashMap<String, String>,
}

impl Fixture {
    /// Reads `path`.
    pub fn open(path: &str) -> Self {
        let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{path}: {e}"));
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let metadata = header.metadata().clone().unwrap_or_default();
        Self {
            name: path.into(),
            bytes,
            metadata,
        }
    }

    fn tensors(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.bytes).unwrap()
    }

    /// A JSON text of the metadata.
    pub fn metadata<T: DeserializeOwned>(&self, key: &str) -> T {
        let text = self
            .metadata
            .get(key)
            .unwrap_or_else(|| panic!("{}: no `{key}`", self.name));
        serde_json::from_str(text).unwrap_or_else(|e| panic!("{}: `{key}`: {e}", self.name))
    }

    /// The module's parameters.
    pub fn config<T: DeserializeOwned>(&self) -> T {
        self.metadata("config")
    }

    /// Names of all tensors.
    pub fn names(&self) -> Vec<String> {
        self.tensors().names().iter().map(|name| name.to_string()).collect()
    }

    /// The module's weights, under their own keys; the module must have all of them.
    pub fn weights(&self) -> Weights {
        let tensors = self.tensors();
        let weights = tensors.iter().filter_map(|(name, view)| {
            let key = name.strip_prefix("weights.")?.to_string();
            let view = TensorView::new(view.dtype(), view.shape().to_vec(), view.data()).unwrap();
            Some((key, view))
        });
        Weights::from_safetensors(&self.name, safetensors::serialize(weights, None).unwrap()).with_strict(true)
    }

    /// An f32 tensor's shape and values.
    pub fn values(&self, name: &str) -> (Vec<usize>, Vec<f32>) {
        let tensors = self.tensors();
        let view = tensors
            .tensor(name)
            .unwrap_or_else(|e| panic!("{}: {name}: {e}", self.name));
        assert_eq!(view.dtype(), safetensors::Dtype::F32, "{}: {name}", self.name);
        let values = view
            .data()
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes(b.try_into().unwrap()));
        (view.shape().to_vec(), values.collect())
    }

    /// An f32 tensor.
    pub fn tensor<const D: usize>(&self, name: &str, device: &Device) -> Tensor<D> {
        let (shape, values) = self.values(name);
        Tensor::from_data(TensorData::new(values, shape), device)
    }

    /// An i64 tensor.
    pub fn int_tensor<const D: usize>(&self, name: &str, device: &Device) -> Tensor<D, Int> {
        let tensors = self.tensors();
        let view = tensors
            .tensor(name)
            .unwrap_or_else(|e| panic!("{}: {name}: {e}", self.name));
        assert_eq!(view.dtype(), safetensors::Dtype::I64, "{}: {name}", self.name);
        let values = view
            .data()
            .chunks_exact(8)
            .map(|b| i64::from_le_bytes(b.try_into().unwrap()));
        let values: Vec<i64> = values.collect();
        Tensor::from_data(TensorData::new(values, view.shape().to_vec()), device)
    }

    /// Compares with the tensor `name`: each value within [`tolerance`], relative above 1.
    pub fn assert_close<const D: usize>(&self, name: &str, actual: Tensor<D>) {
        let (shape, expected) = self.values(name);
        assert_eq!(
            actual.dims().as_slice(),
            shape.as_slice(),
            "{}: shape of {name}",
            self.name
        );
        let actual = actual.into_data();
        let values: Vec<f32> = actual.iter::<f32>().collect();
        let stem = Path::new(&self.name).file_stem().unwrap_or_default().to_string_lossy();
        difference(&format!("{stem} {name}"), &values, &expected);
        let tolerance = tolerance();
        actual.assert_approx_eq::<f32>(
            &TensorData::new(expected, shape),
            Tolerance::rel_abs(tolerance, tolerance),
        );
    }
}

/// Copies a folder and all that is in it, to be changed by a test.
///
/// # Panics
/// It can't be copied.
pub fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_folder(&path, &target);
        } else {
            fs::copy(&path, &target).map(drop).unwrap();
        }
    }
}
