//! GGUF files as lists of tensors: only the header is read here.
//!
//! Format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>, versions 2 and 3. Shapes are stored from the last axis to
//! the first; they are turned round here.

mod cursor;
mod header;
mod metadata;

use burn::tensor::{DType, Shape};
use burn_store::burn_pack::{Error as PackError, Tensor as DeferredTensor};

use crate::{
    Floats, WeightsError,
    blocks::BlockSource,
    safetensors::{self, Stored},
    source::Blob,
};
pub(crate) use header::Header;
use header::{Entry, Values};

/// The tensors of a file in the order of their bytes, those in quantised blocks with where these are.
pub(crate) struct GgufTensors {
    pub(crate) tensors: Vec<DeferredTensor>,
    /// Of tensors of the same names.
    pub(crate) blocks: Vec<(String, BlockSource)>,
}

/// Reads the header. A tensor in quantised blocks is widened when it is read, unless its blocks are taken as they are.
pub(crate) fn tensors(file: &str, blob: &Blob, floats: Floats) -> Result<GgufTensors, WeightsError> {
    let header = header(file, blob)?;
    let mut read = GgufTensors {
        tensors: Vec::new(),
        blocks: Vec::new(),
    };
    for entry in header.entries {
        let Entry {
            name,
            shape,
            values,
            offset,
            len,
        } = entry;
        match values {
            Values::Numbers(dtype) => {
                let stored = Stored { dtype, offset, len };
                read.tensors
                    .push(safetensors::deferred(blob, name, shape.into(), stored, floats));
            }
            Values::Blocks(format) => {
                let source = BlockSource {
                    blob: blob.clone(),
                    offset,
                    len,
                    format,
                    shape,
                };
                read.tensors.push(widened(&name, &source, floats));
                read.blocks.push((name, source));
            }
        }
    }
    Ok(read)
}

/// The header of a file, checked to fit it.
pub(crate) fn header(file: &str, blob: &Blob) -> Result<Header, WeightsError> {
    Header::read(blob.unmetered()).map_err(|reason| WeightsError::Format {
        file: file.into(),
        reason,
    })
}

/// A tensor that is widened while it is read.
fn widened(name: &str, source: &BlockSource, floats: Floats) -> DeferredTensor {
    let shape = Shape::from(source.shape.clone());
    // What blocks stand for is f32.
    let wanted = floats.of(DType::F32, &shape);
    let byte_len = shape.num_elements() * wanted.size();
    let source = source.clone();
    let read = move || {
        let values = source.values().map_err(|e| PackError::IoError(e.to_string()))?;
        Ok(safetensors::narrowed(values, wanted))
    };
    DeferredTensor::deferred(name.into(), wanted, shape, None, byte_len, read)
}
