//! A file of named tensors that stands alone: what is added to a model, such as learnt embeddings.

use std::path::Path;

use burn::tensor::DType;
use burn_store::{
    bridge,
    burn_pack::Tensor as DeferredTensor,
    pytorch_reader::{PickleValue, PytorchReader},
};

use crate::{WeightsError, gguf, tensors::WeightFile};

/// The text of a GGUF file that says of what kind its model is.
const ARCHITECTURE: &str = "general.architecture";

/// A safetensors or GGUF file, or else a PyTorch pickle; a tensor is read when it is asked for.
#[derive(Debug)]
pub struct TensorFile {
    file: String,
    tensors: Vec<DeferredTensor>,
    strings: Vec<(String, String)>,
}

impl TensorFile {
    /// Opens `path`: safetensors and GGUF by their extensions, anything else (`.bin`, `.pt`) as a pickle.
    ///
    /// # Errors
    /// The file is missing, damaged or of another kind.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, WeightsError> {
        let path = path.as_ref();
        let file = path.display().to_string();
        let weights = WeightFile::open(path)?;
        let mut tensors = weights.tensors(DType::F32.into())?;
        tensors.sort_by(|a, b| a.name.cmp(&b.name));
        let strings = match &weights {
            WeightFile::Safetensors { .. } => Vec::new(),
            WeightFile::Gguf { file, blob } => {
                let architecture = gguf::header(file, blob)?.architecture;
                architecture
                    .map(|name| (ARCHITECTURE.into(), name))
                    .into_iter()
                    .collect()
            }
            WeightFile::Pickle { .. } => pickled_strings(path),
        };
        Ok(Self { file, tensors, strings })
    }

    /// The file's name for messages.
    #[must_use]
    pub fn display(&self) -> &str {
        &self.file
    }

    /// Names of all tensors in order; inside nested dictionaries of a pickle the keys are joined by dots.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.iter().map(|tensor| tensor.name.as_str())
    }

    /// The shape of a tensor.
    #[must_use]
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        let found = self.tensors.iter().find(|tensor| tensor.name == name);
        found.map(|tensor| tensor.shape.as_slice())
    }

    /// Names and shapes of all tensors in the order of their names.
    pub fn shapes(&self) -> impl Iterator<Item = (&str, &[usize])> {
        let tensors = self.tensors.iter();
        tensors.map(|tensor| (tensor.name.as_str(), tensor.shape.as_slice()))
    }

    /// A text beside the tensors of a pickle; of a GGUF file `general.architecture`.
    #[must_use]
    pub fn string(&self, key: &str) -> Option<&str> {
        let found = self.strings.iter().find(|(name, _)| name == key);
        found.map(|(_, text)| text.as_str())
    }

    /// Shape and values of a floating-point tensor.
    ///
    /// # Errors
    /// There is no such tensor, it holds no floating-point numbers, or its bytes can't be read.
    pub fn read(&self, name: &str) -> Result<(Vec<usize>, Vec<f32>), WeightsError> {
        let fault = |reason: String| WeightsError::Format {
            file: self.file.clone(),
            reason,
        };
        let tensor = self.tensors.iter().find(|tensor| tensor.name == name);
        let tensor = tensor.ok_or_else(|| fault(format!("it has no tensor `{name}`")))?;
        if tensor.dtype != DType::F32 {
            return Err(fault(format!("`{name}` holds {:?} instead of floats", tensor.dtype)));
        }
        let data = bridge::to_data(tensor).map_err(|e| fault(format!("`{name}`: {e}")))?;
        Ok((tensor.shape.to_vec(), data.iter::<f32>().collect()))
    }
}

/// Texts of a pickle's outermost dictionary; a pickle of another form has none.
fn pickled_strings(path: &Path) -> Vec<(String, String)> {
    let Ok(PickleValue::Dict(entries)) = PytorchReader::read_pickle_data(path, None) else {
        return Vec::new();
    };
    let text = |(key, value)| match value {
        PickleValue::String(text) => Some((key, text)),
        _ => None,
    };
    entries.into_iter().filter_map(text).collect()
}
