//! Weights into modules: renamed, converted one tensor at a time, and checked to be exactly those that the module has.

use burn_store::{
    ApplyError, ApplyResult, KeyRemapper, ModuleAdapter, ModuleContext, ModuleSnapshot, PyTorchToBurnAdapter, bridge,
    burn_pack::Tensor as DeferredTensor, pytorch_reader::PytorchReader,
};

use crate::{
    Floats, KeyMap, WeightsError,
    safetensors::{self, convert},
    source::Blob,
};

const LISTED_KEYS: usize = 20;

/// A component's weight files, not read yet.
#[derive(Debug)]
pub struct Weights {
    origin: String,
    files: Vec<WeightFile>,
}

#[derive(Debug)]
pub(crate) enum WeightFile {
    Safetensors { file: String, blob: Blob },
    Pickle { file: std::path::PathBuf },
}

impl Weights {
    pub(crate) fn new(origin: String, files: Vec<WeightFile>) -> Self {
        Self { origin, files }
    }

    /// Weights of a safetensors file held in memory; `origin` names it in errors.
    #[must_use]
    pub fn from_safetensors(origin: &str, bytes: Vec<u8>) -> Self {
        let blob = Blob::Memory(bytes.into());
        let file = origin.to_string();
        Self::new(origin.into(), vec![WeightFile::Safetensors { file, blob }])
    }

    /// Bytes of all tensors once they are loaded, floating-point ones as `floats`; only headers are read.
    ///
    /// # Errors
    /// A file that can't be read.
    pub fn byte_len(&self, floats: impl Into<Floats>) -> Result<u64, WeightsError> {
        let floats = floats.into();
        let mut bytes = 0;
        for file in &self.files {
            let tensors = file.tensors(floats)?;
            bytes += tensors
                .iter()
                .map(|t| (t.shape.num_elements() * t.dtype.size()) as u64)
                .sum::<u64>();
        }
        Ok(bytes)
    }

    /// Fills `module`, its floating-point parameters as `floats`.
    ///
    /// # Errors
    /// A file that can't be read; keys that the module lacks, lack in the file, or have another shape: all are listed.
    pub fn load<M: ModuleSnapshot>(
        &self,
        module: &mut M,
        keys: &KeyMap,
        floats: impl Into<Floats>,
    ) -> Result<(), WeightsError> {
        let floats = floats.into();
        let mut tensors = Vec::new();
        for file in &self.files {
            tensors.extend(file.tensors(floats)?);
        }
        let remapper = KeyRemapper::from_patterns(keys.renames.clone()).map_err(|e| self.mismatch(e.to_string()))?;
        let (tensors, renamed) = remapper.remap(tensors);
        let result = module.apply(tensors, None, Some(Box::new(TorchNames)), false);
        self.check(&result, keys, &renamed)
    }

    fn check(&self, result: &ApplyResult, keys: &KeyMap, renamed: &[(String, String)]) -> Result<(), WeightsError> {
        let mut ignored = Vec::new();
        for pattern in &keys.ignored {
            // `KeyRemapper` compiles the pattern: this crate needs no regex dependency of its own.
            let pair = KeyRemapper::from_patterns(vec![(pattern, "")]).map_err(|e| self.mismatch(e.to_string()))?;
            ignored.extend(pair.to_regex_pairs().into_iter().map(|(regex, _)| regex));
        }
        let original = |key: &String| {
            let found = renamed.iter().find(|(new, _)| new == key);
            found.map_or_else(|| key.clone(), |(_, old)| old.clone())
        };
        let unused: Vec<String> = result
            .unused
            .iter()
            .filter(|key| !ignored.iter().any(|regex| regex.is_match(key)))
            .map(original)
            .collect();
        let missing: Vec<String> = result.missing.iter().map(|(path, _)| torch_name(path)).collect();
        let errors: Vec<String> = result.errors.iter().map(describe).collect();
        let parts = [
            ("missing keys", missing),
            ("unused keys", unused),
            ("unusable tensors", errors),
        ];
        let report: Vec<String> = parts
            .into_iter()
            .filter(|(_, keys)| !keys.is_empty())
            .map(|(title, keys)| format!("{} {title}: {}", keys.len(), list(keys)))
            .collect();
        if report.is_empty() {
            return Ok(());
        }
        Err(self.mismatch(report.join("; ")))
    }

    fn mismatch(&self, report: String) -> WeightsError {
        WeightsError::Mismatch {
            origin: self.origin.clone(),
            report,
        }
    }
}

impl WeightFile {
    pub(crate) fn tensors(&self, floats: Floats) -> Result<Vec<DeferredTensor>, WeightsError> {
        match self {
            WeightFile::Safetensors { file, blob } => safetensors::tensors(file, blob, floats),
            WeightFile::Pickle { file } => {
                let reader = PytorchReader::new(file).map_err(|e| WeightsError::Format {
                    file: file.display().to_string(),
                    reason: e.to_string(),
                })?;
                let mut tensors: Vec<_> = reader.into_tensors().into_iter().collect();
                tensors.sort_by(|a, b| a.0.cmp(&b.0));
                Ok(tensors
                    .into_iter()
                    .map(|(name, tensor)| cast(named(bridge::from_pytorch(tensor), name), floats))
                    .collect())
            }
        }
    }
}

fn named(mut tensor: DeferredTensor, name: String) -> DeferredTensor {
    tensor.name = name;
    tensor
}

fn cast(tensor: DeferredTensor, floats: Floats) -> DeferredTensor {
    let wanted = floats.of(tensor.dtype, &tensor.shape);
    if tensor.dtype == wanted {
        return tensor;
    }
    let (name, stored, shape) = (tensor.name.clone(), tensor.dtype, tensor.shape.clone());
    let byte_len = shape.num_elements() * wanted.size();
    let read = move || Ok(convert(tensor.to_bytes()?.to_vec(), stored, wanted));
    DeferredTensor::deferred(name, wanted, shape, None, byte_len, read)
}

/// Burn's normalisation layers name their parameters `gamma` and `beta`, torch's `weight` and `bias`.
///
/// Unlike burn-store's own adapter this one leaves linear weights as torch stores them, `[out, in]`: the models' linear
/// layers are column-major, so a view does what a transposing copy would.
#[derive(Clone)]
struct TorchNames;

impl ModuleAdapter for TorchNames {
    fn adapt(&self, tensor: DeferredTensor, _: ModuleContext<'_>) -> DeferredTensor {
        tensor
    }

    fn get_alternative_param_name(&self, name: &str, module: &str) -> Option<String> {
        PyTorchToBurnAdapter.get_alternative_param_name(name, module)
    }

    fn clone_box(&self) -> Box<dyn ModuleAdapter> {
        Box::new(self.clone())
    }
}

fn torch_name(path: &str) -> String {
    let replace = |from, to| path.strip_suffix(from).map(|stem| format!("{stem}{to}"));
    replace(".gamma", ".weight")
        .or_else(|| replace(".beta", ".bias"))
        .unwrap_or_else(|| path.to_string())
}

fn describe(error: &ApplyError) -> String {
    match error {
        ApplyError::ShapeMismatch { path, expected, found } => {
            format!("{} has shape {found:?} instead of {expected:?}", torch_name(path))
        }
        ApplyError::DTypeMismatch { path, expected, found } => {
            format!("{} is {found:?} instead of {expected:?}", torch_name(path))
        }
        ApplyError::AdapterError { path, message } | ApplyError::LoadError { path, message } => {
            format!("{}: {message}", torch_name(path))
        }
    }
}

fn list(mut keys: Vec<String>) -> String {
    keys.sort();
    let more = keys.len().saturating_sub(LISTED_KEYS);
    keys.truncate(LISTED_KEYS);
    let mut text = keys.join(", ");
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}
