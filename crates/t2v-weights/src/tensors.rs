//! Weight files as lists of deferred tensors, under a component's names.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use burn::tensor::DType;
use burn_store::{
    bridge,
    burn_pack::{Error as PackError, Tensor as DeferredTensor},
    pytorch_reader::PytorchReader,
};

use sha2::Sha256;

use crate::{
    Floats, ReadMeter, Selection, WeightsError,
    blocks::BlockSource,
    gguf::{self, GgufTensors},
    pickle_globals,
    safetensors::{self, convert},
    source::Blob,
};

/// Tensors that are not read yet.
#[derive(Default)]
pub(crate) struct Tensors {
    pub(crate) tensors: Vec<DeferredTensor>,
    /// Their names, and what the files call them, where a selection renamed them.
    pub(crate) sources: Vec<(String, String)>,
    /// Where the quantised blocks of those are that are stored so, by name.
    pub(crate) blocks: BTreeMap<String, BlockSource>,
}

impl Tensors {
    pub(crate) fn append(&mut self, others: Self) {
        self.tensors.extend(others.tensors);
        self.sources.extend(others.sources);
        self.blocks.extend(others.blocks);
    }
}

/// Files that lie together, and what is taken of them.
#[derive(Debug, Clone)]
pub(crate) struct WeightFiles {
    origin: String,
    files: Vec<WeightFile>,
    selection: Option<Selection>,
}

impl WeightFiles {
    /// `origin` names them in messages.
    pub(crate) fn new(origin: String, files: Vec<WeightFile>) -> Self {
        Self {
            origin,
            files,
            selection: None,
        }
    }

    /// Adds all files to a hash.
    pub(crate) fn hash(&self, hash: &mut Sha256) -> Result<(), WeightsError> {
        for file in &self.files {
            match file {
                WeightFile::Safetensors { file, blob } | WeightFile::Gguf { file, blob } => blob.hash(file, hash)?,
                WeightFile::Pickle { file, .. } => Blob::open(file)?.hash(&file.display().to_string(), hash)?,
            }
        }
        Ok(())
    }

    /// Has a meter count what is read of them.
    pub(crate) fn watch(&mut self, meter: &ReadMeter) {
        for file in &mut self.files {
            file.watch(meter);
        }
    }

    pub(crate) fn select(&mut self, selection: Selection) {
        self.selection = Some(selection);
    }

    /// All tensors, or those that the selection takes; only headers are read.
    pub(crate) fn tensors(&self, floats: Floats) -> Result<Tensors, WeightsError> {
        let mut all = Tensors::default();
        for file in &self.files {
            let GgufTensors { tensors, blocks } = file.tensors_and_blocks(floats)?;
            all.tensors.extend(tensors);
            all.blocks.extend(blocks);
        }
        let Some(selection) = &self.selection else {
            return Ok(all);
        };
        let taken = selection.apply(&self.origin, &all.tensors, floats)?;
        let source = |(tensor, source): &(DeferredTensor, String)| (tensor.name.clone(), source.clone());
        // What a selection cuts or gives another shape has no blocks of its own.
        let of = |(tensor, source): &(DeferredTensor, String)| {
            let blocks = all.blocks.get(source)?;
            (blocks.shape == tensor.shape.as_slice()).then(|| (tensor.name.clone(), blocks.clone()))
        };
        Ok(Tensors {
            sources: taken.iter().map(source).collect(),
            blocks: taken.iter().filter_map(of).collect(),
            tensors: taken.into_iter().map(|(tensor, _)| tensor).collect(),
        })
    }
}

/// One file.
#[derive(Debug, Clone)]
pub(crate) enum WeightFile {
    Safetensors { file: String, blob: Blob },
    Gguf { file: String, blob: Blob },
    Pickle { file: PathBuf, meter: Option<ReadMeter> },
}

impl WeightFile {
    /// Safetensors and GGUF by their extensions, anything else (`.bin`, `.ckpt`, `.pt`) as a pickle.
    pub(crate) fn open(path: &Path) -> Result<Self, WeightsError> {
        let file = path.display().to_string();
        if !path.is_file() {
            return Err(WeightsError::MissingFile {
                file,
                hint: "a safetensors file, a GGUF file or a PyTorch pickle should be there".into(),
            });
        }
        let is = |kind: &str| path.extension().is_some_and(|e| e.eq_ignore_ascii_case(kind));
        Ok(match () {
            () if is("safetensors") => WeightFile::Safetensors {
                file,
                blob: Blob::open(path)?,
            },
            () if is("gguf") => WeightFile::Gguf {
                file,
                blob: Blob::open(path)?,
            },
            () => WeightFile::pickle(path),
        })
    }

    pub(crate) fn pickle(path: impl Into<PathBuf>) -> Self {
        WeightFile::Pickle {
            file: path.into(),
            meter: None,
        }
    }

    fn watch(&mut self, watching: &ReadMeter) {
        match self {
            WeightFile::Safetensors { blob, .. } | WeightFile::Gguf { blob, .. } => {
                *blob = blob.clone().metered(watching);
            }
            WeightFile::Pickle { meter, .. } => *meter = Some(watching.clone()),
        }
    }

    /// The tensors, with the quantised blocks of those that have some.
    fn tensors_and_blocks(&self, floats: Floats) -> Result<GgufTensors, WeightsError> {
        match self {
            WeightFile::Gguf { file, blob } => gguf::tensors(file, blob, floats),
            _ => Ok(GgufTensors {
                tensors: self.tensors(floats)?,
                blocks: Vec::new(),
            }),
        }
    }

    /// The tensors; those in quantised blocks are widened when they are read.
    pub(crate) fn tensors(&self, floats: Floats) -> Result<Vec<DeferredTensor>, WeightsError> {
        match self {
            WeightFile::Safetensors { file, blob } => safetensors::tensors(file, blob, floats),
            WeightFile::Gguf { file, blob } => Ok(gguf::tensors(file, blob, floats)?.tensors),
            WeightFile::Pickle { file, meter } => {
                pickle_globals::check(file)?;
                let reader = PytorchReader::new(file).map_err(|e| WeightsError::Format {
                    file: file.display().to_string(),
                    reason: e.to_string(),
                })?;
                let mut tensors: Vec<_> = reader.into_tensors().into_iter().collect();
                tensors.sort_by(|a, b| a.0.cmp(&b.0));
                let tensor = |(name, tensor)| {
                    let tensor = named(bridge::from_pytorch(tensor), name);
                    cast(metered(tensor, meter.as_ref()), floats)
                };
                Ok(tensors.into_iter().map(tensor).collect())
            }
        }
    }
}

fn named(mut tensor: DeferredTensor, name: String) -> DeferredTensor {
    tensor.name = name;
    tensor
}

/// Counts once it is read; how much of it was is not known before.
fn metered(tensor: DeferredTensor, meter: Option<&ReadMeter>) -> DeferredTensor {
    let Some(meter) = meter.cloned() else { return tensor };
    let (name, dtype, shape) = (tensor.name.clone(), tensor.dtype, tensor.shape.clone());
    let byte_len = tensor.byte_len();
    let read = move || {
        meter.check().map_err(|e| PackError::IoError(e.to_string()))?;
        let bytes = tensor.to_bytes()?;
        meter.count(byte_len as u64);
        Ok(bytes)
    };
    DeferredTensor::deferred(name, dtype, shape, None, byte_len, read)
}

pub(crate) fn cast(tensor: DeferredTensor, floats: Floats) -> DeferredTensor {
    let wanted = floats.of(tensor.dtype, &tensor.shape);
    cast_to(tensor, wanted)
}

pub(crate) fn cast_to(tensor: DeferredTensor, wanted: DType) -> DeferredTensor {
    if tensor.dtype == wanted {
        return tensor;
    }
    let (name, stored, shape) = (tensor.name.clone(), tensor.dtype, tensor.shape.clone());
    let byte_len = shape.num_elements() * wanted.size();
    let read = move || Ok(convert(tensor.to_bytes()?.to_vec(), stored, wanted));
    DeferredTensor::deferred(name, wanted, shape, None, byte_len, read)
}
