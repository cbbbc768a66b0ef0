//! The keys before the tensors. Of most only the length matters: tokenizers and the like are passed over.

use std::collections::BTreeMap;

use super::cursor::Cursor;

/// Arrays in arrays, at most.
const MOST_NESTED: usize = 4;
/// The axes of a tensor, at most.
const MOST_AXES: u64 = 8;
/// Before the name of a tensor that is stored in another shape: the shape that it has.
const ORIGINAL_SHAPE: &str = "comfy.gguf.orig_shape.";

/// What is kept of a file's keys.
#[derive(Debug, Default)]
pub(super) struct Metadata {
    /// `general.architecture`.
    pub(super) architecture: Option<String>,
    /// `general.alignment`.
    pub(super) alignment: Option<u64>,
    /// Shapes of tensors that were stored in another one, by name.
    pub(super) shapes: BTreeMap<String, Vec<u64>>,
}

/// The kinds of values.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Of so many bytes.
    Number {
        bytes: u64,
        is_integer: bool,
    },
    Text,
    Array,
}

impl Kind {
    fn read(cursor: &mut Cursor, key: &str) -> Result<Self, String> {
        let number = |bytes, is_integer| Ok(Self::Number { bytes, is_integer });
        match cursor.u32()? {
            0 | 1 => number(1, true),
            7 => number(1, false),
            2 | 3 => number(2, true),
            4 | 5 => number(4, true),
            6 => number(4, false),
            8 => Ok(Self::Text),
            9 => Ok(Self::Array),
            10 | 11 => number(8, true),
            12 => number(8, false),
            other => Err(format!(
                "the value of `{key}` is of the kind {other}; there are those from 0 to 12"
            )),
        }
    }

    /// Bytes that a value takes at least.
    fn least(self) -> u64 {
        match self {
            Self::Number { bytes, .. } => bytes,
            Self::Text => 8,
            Self::Array => 12,
        }
    }
}

impl Metadata {
    /// So many keys.
    pub(super) fn read(cursor: &mut Cursor, count: u64) -> Result<Self, String> {
        let mut metadata = Self::default();
        for index in 0..count {
            let key = cursor.text(&format!("the name of key {index}"))?;
            let kind = Kind::read(cursor, &key)?;
            match (key.as_str(), kind) {
                ("general.architecture", Kind::Text) => {
                    metadata.architecture = Some(cursor.text("`general.architecture`")?);
                }
                (
                    "general.alignment",
                    Kind::Number {
                        bytes,
                        is_integer: true,
                    },
                ) => {
                    metadata.alignment = Some(cursor.unsigned(bytes)?);
                }
                (key, Kind::Array) => match key.strip_prefix(ORIGINAL_SHAPE) {
                    Some(name) => {
                        let shape = shape(cursor, key)?;
                        metadata.shapes.insert(name.into(), shape);
                    }
                    None => skip(cursor, key, kind, 0)?,
                },
                (key, kind) => skip(cursor, key, kind, 0)?,
            }
        }
        Ok(metadata)
    }
}

/// An array of few integers.
fn shape(cursor: &mut Cursor, key: &str) -> Result<Vec<u64>, String> {
    let kind = Kind::read(cursor, key)?;
    let count = cursor.count("axes", kind.least())?;
    match kind {
        Kind::Number {
            bytes,
            is_integer: true,
        } if count <= MOST_AXES => (0..count).map(|_| cursor.unsigned(bytes)).collect(),
        _ => Err(format!(
            "`{key}` is no shape: it should be at most {MOST_AXES} integers"
        )),
    }
}

fn skip(cursor: &mut Cursor, key: &str, kind: Kind, depth: usize) -> Result<(), String> {
    match kind {
        Kind::Number { bytes, .. } => cursor.skip(bytes),
        Kind::Text => cursor.skip_text(),
        Kind::Array if depth == MOST_NESTED => {
            Err(format!("`{key}` has arrays in arrays, more than {MOST_NESTED} deep"))
        }
        Kind::Array => {
            let kind = Kind::read(cursor, key)?;
            let count = cursor.count(&format!("values of `{key}`"), kind.least())?;
            match kind {
                // The product is within the file, as was counted.
                Kind::Number { bytes, .. } => cursor.skip(count * bytes),
                kind => (0..count).try_for_each(|_| skip(cursor, key, kind, depth + 1)),
            }
        }
    }
}
