//! Weights as they lie in memory. Those in half precision are widened a part at a time, when it is used.

use std::ops::Range;

use burn::tensor::{DType, Tensor};
use burn_flex::{Flex, FlexTensor};
use half::{bf16, f16, slice::HalfFloatSliceExt};
use rayon::prelude::*;
use rten_gemm::{BiasVector, GemmExecutor, GemmInputA, GemmInputB, GemmOptions, PackedBMatrix};
use rten_tensor::Matrix;

use super::{
    CHUNK,
    buffer::Scratch,
    elements,
    matrix::{fits, view},
};

/// Depth that is packed at a time, at most.
const SLICE: usize = 512;

/// A matrix of parameters whose rows follow each other in memory.
pub(super) struct Weight {
    stored: FlexTensor,
    rows: usize,
    columns: usize,
}

impl Weight {
    /// The rows are what the first dimension counts. None if the values are no real numbers of 16 or 32 bits.
    pub(super) fn of<const D: usize>(x: Tensor<D>) -> Option<Self> {
        Self::stored(x.try_into_primitive::<Flex>().ok()?)
    }

    /// A matrix, or its transpose if that is what lies in order in memory, and whether it is.
    pub(super) fn or_transposed(x: Tensor<2>) -> Option<(Self, bool)> {
        let x = x.try_into_primitive::<Flex>().ok()?;
        let transposed = !x.is_contiguous() && x.layout().strides()[0] == 1;
        let stored = if transposed { x.transpose(0, 1) } else { x };
        Some((Self::stored(stored)?, transposed))
    }

    fn stored(x: FlexTensor) -> Option<Self> {
        if !matches!(x.dtype(), DType::F32 | DType::F16 | DType::BF16) {
            return None;
        }
        let rows = x.layout().shape()[0];
        let columns = x.layout().num_elements() / rows.max(1);
        let stored = if x.is_contiguous() { x } else { x.to_contiguous() };
        Some(Self { stored, rows, columns })
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn columns(&self) -> usize {
        self.columns
    }

    /// The values, if they are in f32.
    fn single(&self) -> Option<&[f32]> {
        let single = self.stored.dtype() == DType::F32;
        single.then(|| elements(&self.stored))
    }

    /// Single precision holds all values of half precision.
    fn widen(&self, first: usize, wide: &mut [f32]) {
        let range = self.stored.layout().start_offset() + first..;
        match self.stored.dtype() {
            DType::F16 => self.stored.storage::<f16>()[range][..wide.len()].convert_to_f32_slice(wide),
            DType::BF16 => self.stored.storage::<bf16>()[range][..wide.len()].convert_to_f32_slice(wide),
            _ => wide.copy_from_slice(&self.stored.storage()[range][..wide.len()]),
        }
    }

    /// A part in f32, in `room` if it has to be widened.
    pub(super) fn part<'a>(&'a self, rows: Range<usize>, columns: Range<usize>, room: &'a mut Scratch) -> Matrix<'a> {
        let shape = [rows.len(), columns.len()];
        let first = rows.start * self.columns + columns.start;
        if let Some(values) = self.single() {
            return view(&values[first..], shape, [self.columns, 1]);
        }
        let wide = room.at_least(shape[0] * shape[1]);
        for (row, wide) in wide.chunks_mut(shape[1]).enumerate() {
            self.widen(first + row * self.columns, wide);
        }
        view(wide, shape, [shape[1], 1])
    }

    /// A row in f32, in `room` if it has to be widened.
    pub(super) fn row<'a>(&'a self, row: usize, room: &'a mut Scratch) -> &'a [f32] {
        let first = row * self.columns;
        if let Some(values) = self.single() {
            return &values[first..][..self.columns];
        }
        let wide = room.at_least(self.columns);
        self.widen(first, wide);
        wide
    }

    /// All of it in f32, in `room` if it has to be widened.
    pub(super) fn whole<'a>(&'a self, room: &'a mut Scratch) -> Matrix<'a> {
        let values = self.single().unwrap_or_else(|| {
            let wide = room.at_least(self.rows * self.columns);
            wide.par_chunks_mut(CHUNK)
                .enumerate()
                .for_each(|(chunk, wide)| self.widen(chunk * CHUNK, wide));
            wide
        });
        view(values, [self.rows, self.columns], [self.columns, 1])
    }
}

/// A matrix that is packed for products with many rows, in slices along its depth that can be packed at the same time.
pub(super) struct PackedWeight {
    slices: Vec<PackedBMatrix<f32>>,
}

impl PackedWeight {
    /// Packs a weight `[d_in, d_out]`, or the transpose of one `[d_out, d_in]`.
    pub(super) fn new(weight: &Weight, transposed: bool) -> Self {
        let (depth, wide) = match transposed {
            true => (weight.columns, weight.rows),
            false => (weight.rows, weight.columns),
        };
        let each = depth.div_ceil(depth.div_ceil(SLICE).max(1)).max(1);
        let starts: Vec<usize> = (0..depth).step_by(each).collect();
        let slices = starts.into_par_iter().map_init(Scratch::default, |room, start| {
            let slice = start..depth.min(start + each);
            let part = match transposed {
                true => weight.part(0..wide, slice, room).transposed(),
                false => weight.part(slice, 0..wide, room),
            };
            GemmExecutor::<f32>::default().prepack_b(part)
        });
        let slices = slices.collect();
        Self { slices }
    }

    /// `x weight`, plus `bias` and what is in `out` already if `add`.
    pub(super) fn multiply(&self, x: Matrix, bias: Option<&[f32]>, add: bool, out: &mut [f32]) {
        let gemm = GemmExecutor::<f32>::default();
        let mut first = 0;
        for slice in &self.slices {
            let depth = first..first + slice.rows();
            let options = GemmOptions {
                beta: if add || first > 0 { 1.0 } else { 0.0 },
                bias: bias.filter(|_| first == 0).map(BiasVector::Row),
                ..Default::default()
            };
            first = depth.end;
            let x = GemmInputA::Unpacked(x.slice((.., depth)));
            fits(gemm.gemm(out, x, GemmInputB::Packed(slice), options));
        }
    }
}
