//! safetensors files as lists of deferred tensors: only the header is read here.
//!
//! Format: <https://github.com/huggingface/safetensors#format>.

use std::{collections::HashMap, io};

use burn::tensor::{Bytes, DType, Shape};
use burn_store::burn_pack::{Error as PackError, Tensor as DeferredTensor};
use bytemuck::Pod;
use half::{bf16, f16, slice::HalfFloatSliceExt};
use safetensors::tensor::{Dtype, Metadata, TensorInfo};
use serde_json::{Map, Value};

use crate::{Floats, WeightsError, source::Blob};

const HEADER_CAP: u64 = 100_000_000;

/// The tensors of a file in the order of their bytes; floating-point ones become what `floats` asks for.
pub(crate) fn tensors(file: &str, blob: &Blob, floats: Floats) -> Result<Vec<DeferredTensor>, WeightsError> {
    let (data_start, metadata) = header(file, blob.unmetered())?;
    let mut infos: Vec<_> = metadata.tensors().into_iter().collect();
    infos.sort_by(|a, b| (a.1.data_offsets, &a.0).cmp(&(b.1.data_offsets, &b.0)));
    infos
        .into_iter()
        .map(|(name, info)| entry(file, blob, data_start, name, info, floats))
        .collect()
}

/// The texts of a file's metadata.
pub(crate) fn strings(file: &str, blob: &Blob) -> Result<HashMap<String, String>, WeightsError> {
    let (_, metadata) = header(file, blob)?;
    Ok(metadata.metadata().clone().unwrap_or_default())
}

fn header(file: &str, blob: &Blob) -> Result<(u64, Metadata), WeightsError> {
    let bad = |reason: String| WeightsError::Format {
        file: file.into(),
        reason,
    };
    let cut = |_| bad("it ends inside its header (truncated?)".into());
    let length = blob.read_at(0, 8).map_err(cut)?;
    let length = u64::from_le_bytes(length.try_into().unwrap_or_default());
    if length.to_le_bytes() == *b"version " {
        return Err(bad(
            "it is a pointer of Git LFS: the weights themselves were not downloaded".into(),
        ));
    }
    if length > HEADER_CAP {
        return Err(bad(
            "its first 8 bytes are not the length of a safetensors header".into()
        ));
    }
    let json = blob.read_at(8, length as usize).map_err(cut)?;
    // Metadata checks itself as it is read: tensors follow one another from 0 without overlaps and gaps, each as long as
    // its shape.
    let metadata: Metadata = serde_json::from_slice(&json).map_err(|e| {
        let tensor = misshapen(&json).map_or_else(String::new, |name| format!(" (see `{name}`)"));
        bad(format!("its header is not one of the format: {e}{tensor}"))
    })?;
    let end = (8 + length).saturating_add(metadata.data_len() as u64);
    if end != blob.len() {
        return Err(bad(format!(
            "its header describes {end} bytes but the file has {} (truncated?)",
            blob.len()
        )));
    }
    Ok((8 + length, metadata))
}

/// The first tensor of a header that is none by itself, such as one whose bytes are not as many as its shape takes.
fn misshapen(header: &[u8]) -> Option<String> {
    let tensors: Map<String, Value> = serde_json::from_slice(header).ok()?;
    let alone = |info: Value| {
        let mut info: TensorInfo = serde_json::from_value(info).ok()?;
        let (start, end) = info.data_offsets;
        info.data_offsets = (0, end.checked_sub(start)?);
        Metadata::new(None, vec![(String::new(), info)]).ok()
    };
    let mut tensors = tensors.into_iter().filter(|(name, _)| name != "__metadata__");
    tensors.find_map(|(name, info)| alone(info).is_none().then_some(name))
}

fn entry(
    file: &str,
    blob: &Blob,
    data_start: u64,
    name: String,
    info: &TensorInfo,
    floats: Floats,
) -> Result<DeferredTensor, WeightsError> {
    let dtype = dtype(info.dtype).ok_or_else(|| WeightsError::Format {
        file: file.into(),
        reason: format!("the type {:?} of `{name}` is not supported", info.dtype),
    })?;
    let (start, end) = info.data_offsets;
    let stored = Stored {
        dtype,
        offset: data_start + start as u64,
        len: end - start,
    };
    Ok(deferred(blob, name, info.shape.clone().into(), stored, floats))
}

/// Where in a file numbers are, and of which type.
#[derive(Clone, Copy)]
pub(crate) struct Stored {
    pub(crate) dtype: DType,
    pub(crate) offset: u64,
    pub(crate) len: usize,
}

/// A tensor of numbers; those in floating point become what `floats` asks for.
pub(crate) fn deferred(blob: &Blob, name: String, shape: Shape, stored: Stored, floats: Floats) -> DeferredTensor {
    let Stored { dtype, offset, len } = stored;
    let wanted = floats.of(dtype, &shape);
    let byte_len = shape.num_elements() * wanted.size();
    let blob = blob.clone();
    let read = move || {
        let read = if dtype == wanted {
            elements(&blob, offset, len, dtype)
        } else {
            blob.read_at(offset, len).map(|bytes| convert(bytes, dtype, wanted))
        };
        read.map_err(|e| PackError::IoError(e.to_string()))
    };
    DeferredTensor::deferred(name, wanted, shape, None, byte_len, read)
}

fn dtype(dtype: Dtype) -> Option<DType> {
    Some(match dtype {
        Dtype::F64 => DType::F64,
        Dtype::F32 => DType::F32,
        Dtype::F16 => DType::F16,
        Dtype::BF16 => DType::BF16,
        Dtype::I64 => DType::I64,
        Dtype::I32 => DType::I32,
        Dtype::I16 => DType::I16,
        Dtype::I8 => DType::I8,
        Dtype::U8 => DType::U8,
        _ => return None,
    })
}

/// Elements that stay of the type that they are stored in, read into the buffer where they stay.
fn elements(blob: &Blob, offset: u64, len: usize, dtype: DType) -> io::Result<Bytes> {
    fn read<E: Pod + Send + Sync>(blob: &Blob, offset: u64, len: usize) -> io::Result<Bytes> {
        let mut elements = vec![E::zeroed(); len / size_of::<E>()];
        blob.read_into(offset, bytemuck::cast_slice_mut(&mut elements))?;
        Ok(Bytes::from_elems(elements))
    }
    match dtype.size() {
        2 => read::<u16>(blob, offset, len),
        4 => read::<u32>(blob, offset, len),
        8 => read::<u64>(blob, offset, len),
        _ => read::<u8>(blob, offset, len),
    }
}

/// Little-endian bytes of one float type as the elements of another. Through f32, which holds every half precision value.
pub(crate) fn convert(bytes: Vec<u8>, from: DType, to: DType) -> Bytes {
    if from == to {
        return Bytes::from_bytes_vec(bytes);
    }
    let mut wide = vec![0f32; bytes.len() / from.size()];
    match from {
        DType::F16 => halves(&bytes, f16::from_bits).convert_to_f32_slice(&mut wide),
        DType::BF16 => halves(&bytes, bf16::from_bits).convert_to_f32_slice(&mut wide),
        DType::F64 => {
            for (w, b) in wide.iter_mut().zip(bytes.as_chunks::<8>().0) {
                *w = f64::from_le_bytes(*b) as f32;
            }
        }
        _ => {
            for (w, b) in wide.iter_mut().zip(bytes.as_chunks::<4>().0) {
                *w = f32::from_le_bytes(*b);
            }
        }
    }
    drop(bytes);
    narrowed(wide, to)
}

/// Values in f32 as the elements of another float type.
pub(crate) fn narrowed(wide: Vec<f32>, to: DType) -> Bytes {
    match to {
        DType::F16 => Bytes::from_elems(wide.iter().map(|w| f16::from_f32(*w).to_bits()).collect()),
        DType::BF16 => Bytes::from_elems(wide.iter().map(|w| bf16::from_f32(*w).to_bits()).collect()),
        DType::F64 => Bytes::from_elems(wide.iter().map(|w| f64::from(*w)).collect()),
        _ => Bytes::from_elems(wide),
    }
}

fn halves<T>(bytes: &[u8], from_bits: impl Fn(u16) -> T) -> Vec<T> {
    let (pairs, _) = bytes.as_chunks::<2>();
    pairs.iter().map(|b| from_bits(u16::from_le_bytes(*b))).collect()
}
