//! Matrices in safetensors files, which are written whole or not at all.

use std::{collections::HashMap, path::Path};

use burn::tensor::{DType, Device, Tensor, TensorData};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use crate::{TrainError, error::file};

/// A matrix and its key in a file.
pub(crate) struct Entry {
    key: String,
    values: Tensor<2>,
    /// The shape that the file gives it.
    shape: Vec<usize>,
}

impl Entry {
    pub(crate) fn new(key: String, values: Tensor<2>) -> Self {
        let shape = values.dims().to_vec();
        Self { key, values, shape }
    }

    /// With another shape of as many values.
    pub(crate) fn shaped(self, shape: Vec<usize>) -> Self {
        Self { shape, ..self }
    }
}

/// Writes named matrices in f32 and texts under a temporary name, which is then renamed.
pub(crate) fn write(path: &Path, entries: &[Entry], metadata: HashMap<String, String>) -> Result<(), TrainError> {
    let bytes = serialise(path, entries, metadata)?;
    t2v_mp4::write_file(path, &bytes).map_err(|e| file(path, e))
}

/// Named matrices in f32 and texts as a file, which messages call `path`.
pub(crate) fn serialise(
    path: &Path,
    entries: &[Entry],
    metadata: HashMap<String, String>,
) -> Result<Vec<u8>, TrainError> {
    let mut bytes = Vec::with_capacity(entries.len());
    for Entry { key, values, shape } in entries {
        let data = values.clone().cast(DType::F32).into_data();
        let values = data
            .try_to_vec::<f32>()
            .map_err(|e| file(path, format!("{key}: {e:?}")))?;
        let little: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        bytes.push((key, shape, little));
    }
    let views = bytes.iter().map(|(key, shape, bytes)| {
        let view = TensorView::new(Dtype::F32, (*shape).clone(), bytes).map_err(|e| file(path, e))?;
        Ok((key.as_str(), view))
    });
    let views = views.collect::<Result<Vec<_>, TrainError>>()?;
    safetensors::serialize(views, Some(metadata)).map_err(|e| file(path, e))
}

/// A file of matrices and texts in memory.
pub(crate) struct MatrixFile<'a> {
    path: &'a Path,
    bytes: Vec<u8>,
    texts: HashMap<String, String>,
}

impl<'a> MatrixFile<'a> {
    pub(crate) fn open(path: &'a Path) -> Result<Self, TrainError> {
        let bytes = std::fs::read(path).map_err(|e| file(path, e))?;
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|e| file(path, e))?;
        Ok(Self {
            texts: header.metadata().clone().unwrap_or_default(),
            path,
            bytes,
        })
    }

    /// A text of the metadata.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        self.texts.get(key).map(String::as_str)
    }

    /// Reads matrices.
    pub(crate) fn matrices(&self, keys: &[String], device: &Device) -> Result<Vec<Tensor<2>>, TrainError> {
        let fault = |key: &str, reason: String| file(self.path, format!("`{key}` {reason}"));
        let tensors = SafeTensors::deserialize(&self.bytes).map_err(|e| file(self.path, e))?;
        let read = |key: &String| {
            let view = tensors.tensor(key).map_err(|_| fault(key, "is missing".into()))?;
            let shape = match (view.dtype(), <[usize; 2]>::try_from(view.shape())) {
                (Dtype::F32, Ok(shape)) => shape,
                (dtype, _) => return Err(fault(key, format!("is no f32 matrix but {dtype:?} {:?}", view.shape()))),
            };
            let values = view.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
            let data = TensorData::new(values.collect::<Vec<f32>>(), shape);
            Ok(Tensor::from_data(data, (device, DType::F32)))
        };
        keys.iter().map(read).collect()
    }
}
