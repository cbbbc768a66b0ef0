//! Small GGUF files, written byte by byte.

use std::path::PathBuf;

use tempfile::TempDir;

/// GGML's numbers of kinds of values.
pub(crate) const F32: u32 = 0;
pub(crate) const F16: u32 = 1;
pub(crate) const Q8_0: u32 = 8;
pub(crate) const BF16: u32 = 30;

/// A file that is put together.
#[derive(Clone)]
pub(crate) struct File {
    pub(crate) version: u32,
    pub(crate) alignment: u64,
    keys: Vec<Vec<u8>>,
    tensors: Vec<Tensor>,
}

#[derive(Clone)]
struct Tensor {
    name: String,
    /// From the last axis to the first, as files have them.
    sizes: Vec<u64>,
    kind: u32,
    bytes: Vec<u8>,
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

impl File {
    pub(crate) fn new() -> Self {
        Self {
            version: 3,
            alignment: 32,
            keys: Vec::new(),
            tensors: Vec::new(),
        }
    }

    /// A key with a value of a kind, as bytes.
    pub(crate) fn with_key(mut self, name: &str, kind: u32, value: &[u8]) -> Self {
        self.keys
            .push([text(name), kind.to_le_bytes().to_vec(), value.to_vec()].concat());
        self
    }

    pub(crate) fn with_text(self, name: &str, value: &str) -> Self {
        self.with_key(name, 8, &text(value))
    }

    /// A list of texts.
    pub(crate) fn with_texts(self, name: &str, values: &[&str]) -> Self {
        let mut bytes = [
            8_u32.to_le_bytes().to_vec(),
            (values.len() as u64).to_le_bytes().to_vec(),
        ]
        .concat();
        values.iter().for_each(|value| bytes.extend(text(value)));
        self.with_key(name, 9, &bytes)
    }

    /// A list of 32-bit integers.
    pub(crate) fn with_integers(self, name: &str, values: &[i32]) -> Self {
        let mut bytes = [
            5_u32.to_le_bytes().to_vec(),
            (values.len() as u64).to_le_bytes().to_vec(),
        ]
        .concat();
        values.iter().for_each(|value| bytes.extend(value.to_le_bytes()));
        self.with_key(name, 9, &bytes)
    }

    /// A tensor of `shape`, from the first axis to the last.
    pub(crate) fn with_tensor(mut self, name: &str, shape: &[u64], kind: u32, bytes: Vec<u8>) -> Self {
        self.tensors.push(Tensor {
            name: name.into(),
            sizes: shape.iter().rev().copied().collect(),
            kind,
            bytes,
        });
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut file = [&b"GGUF"[..], &self.version.to_le_bytes()].concat();
        file.extend((self.tensors.len() as u64).to_le_bytes());
        file.extend((self.keys.len() as u64).to_le_bytes());
        file.extend(self.keys.concat());
        let aligned = |len: usize| len.next_multiple_of(self.alignment as usize);
        let mut offset = 0;
        for tensor in &self.tensors {
            file.extend(text(&tensor.name));
            file.extend((tensor.sizes.len() as u32).to_le_bytes());
            tensor.sizes.iter().for_each(|size| file.extend(size.to_le_bytes()));
            file.extend(tensor.kind.to_le_bytes());
            file.extend((offset as u64).to_le_bytes());
            offset = aligned(offset + tensor.bytes.len());
        }
        for tensor in &self.tensors {
            file.resize(aligned(file.len()), 0);
            file.extend(&tensor.bytes);
        }
        file
    }
}

/// Writes bytes to a file of a folder of its own.
pub(crate) fn written(bytes: &[u8]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

/// Bytes of values in f32.
pub(crate) fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// Blocks of Q8_0 with a scale of 1/2 and integers that begin with `first`.
pub(crate) fn blocks(count: usize, first: i8) -> Vec<u8> {
    let block = |index: usize| {
        let scale = half::f16::from_f32(0.5).to_le_bytes().to_vec();
        let values = (0..32).map(|i| first.wrapping_add((32 * index + i) as i8) as u8);
        [scale, values.collect()].concat()
    };
    (0..count).flat_map(block).collect()
}

/// The values of [`blocks`].
pub(crate) fn values(count: usize, first: i8) -> Vec<f32> {
    (0..32 * count)
        .map(|i| 0.5 * f32::from(first.wrapping_add(i as i8)))
        .collect()
}
