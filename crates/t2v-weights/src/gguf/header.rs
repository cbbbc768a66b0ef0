//! The header: how many keys and tensors, the keys, and for each tensor its name, shape, kind and place.

use std::collections::HashSet;

use burn::tensor::DType;
use t2v_quant::BlockFormat;

use super::{cursor::Cursor, metadata::Metadata};
use crate::source::Blob;

const MAGIC: u32 = u32::from_le_bytes(*b"GGUF");
const VERSIONS: std::ops::RangeInclusive<u32> = 2..=3;
/// Bytes that keys and tensors take in the header, at least: a name's length, a kind and a value; a name's length, the
/// number of axes, an axis, a kind and an offset.
const LEAST_KEY: u64 = 13;
const LEAST_TENSOR: u64 = 32;
const MOST_AXES: u32 = 8;
const ALIGNMENT: u64 = 32;
const MOST_ALIGNMENT: u64 = 1 << 20;

/// What the values of a tensor are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Values {
    Numbers(DType),
    Blocks(BlockFormat),
}

impl Values {
    /// By GGML's number; the error names the kind.
    fn of(kind: u32) -> Result<Self, String> {
        Ok(match kind {
            0 => Self::Numbers(DType::F32),
            1 => Self::Numbers(DType::F16),
            2 => Self::Blocks(BlockFormat::Q4_0),
            3 => Self::Blocks(BlockFormat::Q4_1),
            6 => Self::Blocks(BlockFormat::Q5_0),
            7 => Self::Blocks(BlockFormat::Q5_1),
            8 => Self::Blocks(BlockFormat::Q8_0),
            10 => Self::Blocks(BlockFormat::Q2_K),
            11 => Self::Blocks(BlockFormat::Q3_K),
            12 => Self::Blocks(BlockFormat::Q4_K),
            13 => Self::Blocks(BlockFormat::Q5_K),
            14 => Self::Blocks(BlockFormat::Q6_K),
            24 => Self::Numbers(DType::I8),
            25 => Self::Numbers(DType::I16),
            26 => Self::Numbers(DType::I32),
            27 => Self::Numbers(DType::I64),
            28 => Self::Numbers(DType::F64),
            30 => Self::Numbers(DType::BF16),
            16..=23 | 29 => return Err(format!("of the kind IQ (GGML's number {kind})")),
            other => return Err(format!("of GGML's kind {other}")),
        })
    }

    /// Bytes of a tensor.
    fn byte_len(self, shape: &[usize]) -> Result<usize, String> {
        let too_large = || format!("has the shape {shape:?}, more values than can be counted");
        let count = |sizes: &[usize]| {
            sizes
                .iter()
                .try_fold(1_usize, |product, size| product.checked_mul(*size))
        };
        let values = count(shape).ok_or_else(too_large)?;
        match self {
            Self::Numbers(dtype) => values.checked_mul(dtype.size()).ok_or_else(too_large),
            Self::Blocks(format) => {
                let row = shape.last().copied().unwrap_or(1);
                if !row.is_multiple_of(format.block_values()) {
                    return Err(format!(
                        "has rows of {row} values, no whole blocks of {} in {}",
                        format.block_values(),
                        format.name()
                    ));
                }
                format.bytes(values).ok_or_else(too_large)
            }
        }
    }
}

/// A tensor, and where in the file it is.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    pub(super) values: Values,
    pub(super) offset: u64,
    pub(super) len: usize,
}

/// A file's header.
#[derive(Debug)]
pub(crate) struct Header {
    /// What kind of model the file says that it has.
    pub(crate) architecture: Option<String>,
    pub(super) entries: Vec<Entry>,
}

impl Header {
    /// Reads and checks it, so that all tensors lie within the file.
    pub(super) fn read(blob: &Blob) -> Result<Self, String> {
        let mut cursor = Cursor::new(blob);
        check_version(&mut cursor)?;
        let tensors = cursor.count("tensors", LEAST_TENSOR)?;
        let keys = cursor.count("keys", LEAST_KEY)?;
        let metadata = Metadata::read(&mut cursor, keys)?;
        let mut entries = (0..tensors)
            .map(|index| entry(&mut cursor, index, &metadata))
            .collect::<Result<Vec<_>, String>>()?;
        let alignment = metadata.alignment.unwrap_or(ALIGNMENT);
        if !(1..=MOST_ALIGNMENT).contains(&alignment) {
            return Err(format!(
                "`general.alignment` is {alignment}; it must be 1 to {MOST_ALIGNMENT}"
            ));
        }
        let data = cursor.position().next_multiple_of(alignment);
        check_names(&entries)?;
        place(&mut entries, data, blob.len())?;
        entries.sort_by_key(|entry| entry.offset);
        Ok(Self {
            architecture: metadata.architecture,
            entries,
        })
    }
}

fn check_version(cursor: &mut Cursor) -> Result<(), String> {
    if cursor.u32()? != MAGIC {
        return Err("it does not begin with `GGUF`".into());
    }
    let version = cursor.u32()?;
    match version {
        _ if VERSIONS.contains(&version) => Ok(()),
        _ if VERSIONS.contains(&version.swap_bytes()) => {
            Err("its numbers are big-endian; only little-endian files are supported".into())
        }
        _ => Err(format!("it is of GGUF's version {version}; 2 and 3 are supported")),
    }
}

/// A tensor with its offset from the beginning of the data.
fn entry(cursor: &mut Cursor, index: u64, metadata: &Metadata) -> Result<Entry, String> {
    let name = cursor.text(&format!("the name of tensor {index}"))?;
    let axes = cursor.u32()?;
    if !(1..=MOST_AXES).contains(&axes) {
        return Err(format!("`{name}` has {axes} axes; tensors have 1 to {MOST_AXES}"));
    }
    let mut sizes = (0..axes).map(|_| cursor.u64()).collect::<Result<Vec<_>, String>>()?;
    sizes.reverse();
    let kind = cursor.u32()?;
    let offset = cursor.u64()?;
    let values = Values::of(kind).map_err(|kind| {
        let known = BlockFormat::ALL.map(BlockFormat::name).join(", ");
        format!("`{name}` is {kind}, which is not supported; F32, F16, BF16, {known} are")
    })?;
    let sized = |sizes: &[u64]| {
        let sizes: Result<Vec<usize>, _> = sizes.iter().map(|size| usize::try_from(*size)).collect();
        sizes.map_err(|_| format!("`{name}` has a size that can't be counted"))
    };
    let stored = sized(&sizes)?;
    let len = values
        .byte_len(&stored)
        .map_err(|reason| format!("`{name}` {reason}"))?;
    let shape = match metadata.shapes.get(&name) {
        None => stored,
        Some(original) => {
            let original = sized(original)?;
            let product = |sizes: &[usize]| sizes.iter().try_fold(1_usize, |all, size| all.checked_mul(*size));
            if product(&original) != product(&stored) {
                return Err(format!(
                    "`{name}` is stored in the shape {stored:?}, which can't be its original one, {original:?}"
                ));
            }
            original
        }
    };
    Ok(Entry {
        name,
        shape,
        values,
        offset,
        len,
    })
}

fn check_names(entries: &[Entry]) -> Result<(), String> {
    let mut names = HashSet::new();
    match entries.iter().find(|entry| !names.insert(entry.name.as_str())) {
        Some(twice) => Err(format!("it has two tensors `{}`", twice.name)),
        None => Ok(()),
    }
}

/// Makes offsets those from the beginning of the file.
fn place(entries: &mut [Entry], data: u64, file: u64) -> Result<(), String> {
    for entry in entries {
        let name = &entry.name;
        let start = data.checked_add(entry.offset);
        let end = start.and_then(|start| start.checked_add(entry.len as u64));
        match (start, end) {
            (Some(start), Some(end)) if end <= file => entry.offset = start,
            _ => {
                return Err(format!(
                    "`{name}` should be {} bytes at {}, beyond the end of the file of {file} bytes (truncated?)",
                    entry.len,
                    data.saturating_add(entry.offset)
                ));
            }
        }
    }
    Ok(())
}
