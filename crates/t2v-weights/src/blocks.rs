//! Tensors in quantised blocks: read as they are, or widened.

use std::{
    io,
    thread::{self, available_parallelism},
};

use burn::tensor::Bytes;
use t2v_quant::BlockFormat;

use crate::source::Blob;

/// Threads that widen a tensor, at most.
const MOST_THREADS: usize = 4;

/// Where the blocks of a tensor are.
#[derive(Debug, Clone)]
pub(crate) struct BlockSource {
    pub(crate) blob: Blob,
    pub(crate) offset: u64,
    pub(crate) len: usize,
    pub(crate) format: BlockFormat,
    /// As checkpoints have it; whole blocks make up a row.
    pub(crate) shape: Vec<usize>,
}

impl BlockSource {
    /// The bytes as they are.
    pub(crate) fn bytes(&self) -> io::Result<Bytes> {
        Ok(Bytes::from_bytes_vec(self.blob.read_at(self.offset, self.len)?))
    }

    /// The values, widened by several threads.
    pub(crate) fn values(&self) -> io::Result<Vec<f32>> {
        let bytes = self.blob.read_at(self.offset, self.len)?;
        let (block_values, block_bytes) = (self.format.block_values(), self.format.block_bytes());
        let count = bytes.len() / block_bytes;
        let mut values = vec![0.0; count * block_values];
        let threads = available_parallelism().map_or(1, usize::from).min(MOST_THREADS);
        let each = count.div_ceil(threads).max(1);
        thread::scope(|scope| {
            let parts = values
                .chunks_mut(each * block_values)
                .zip(bytes.chunks(each * block_bytes));
            for (values, bytes) in parts {
                scope.spawn(move || self.format.widen(bytes, 0, values));
            }
        });
        Ok(values)
    }
}
