//! Weights as they lie in memory. Those in half precision or in quantised blocks are widened a part at a time, when it is used.

use std::ops::Range;

use burn::{
    module::Param,
    tensor::{DType, Tensor},
};
use burn_flex::{Flex, FlexTensor};
use half::{bf16, f16};
use rayon::prelude::*;
use rten_simd::{Isa, SimdOp};
use t2v_quant::{BlockFormat, Quantized};

use super::{
    CHUNK,
    buffer::Scratch,
    elements,
    product::{Bias, GAP, Matrix, Panel, RightSide, Target},
    simd::run,
    stored::widen,
    transpose::Lines,
};

/// Elements of the rows that are multiplied together with few columns, about: they stay in the cache, and threads end together.
const ROWS_LEN: usize = 1 << 16;

/// Columns of a weight that a thread packs for few rows: whole panels with vectors of any width.
const COLUMNS: usize = 48;

/// A matrix of parameters whose rows follow each other in memory.
pub(super) struct Weight {
    stored: FlexTensor,
    /// What the stored bytes are, if they are blocks.
    blocks: Option<BlockFormat>,
    rows: usize,
    columns: usize,
}

impl Weight {
    /// The rows are what the first dimension counts. None if the values are no real numbers of 16 or 32 bits.
    pub(super) fn of<const D: usize>(x: Tensor<D>) -> Option<Self> {
        Self::stored(x.try_into_primitive::<Flex>().ok()?)
    }

    /// The matrix of a parameter, or its transpose, as [`or_transposed`](Self::or_transposed): one in quantised blocks as these.
    pub(super) fn of_parameter(param: &Param<Tensor<2>>) -> Option<(Self, bool)> {
        let Some(quantized) = Quantized::of(param) else {
            return Self::or_transposed(param.val());
        };
        let [rows, columns] = quantized.shape();
        let stored = quantized.blocks().try_into_primitive::<Flex>().ok()?;
        let weight = Self {
            stored,
            blocks: Some(quantized.format()),
            rows,
            columns,
        };
        Some((weight, quantized.is_transposed()))
    }

    /// A matrix, or its transpose if that is what lies in order in memory, and whether it is.
    fn or_transposed(x: Tensor<2>) -> Option<(Self, bool)> {
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
        Some(Self {
            stored,
            blocks: None,
            rows,
            columns,
        })
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

    /// Single precision holds all values of half precision, and is what blocks stand for.
    fn widen(&self, first: usize, wide: &mut [f32]) {
        if let Some(format) = self.blocks {
            let blocks = self.stored.storage::<u8>();
            return run(WidenBlocks {
                format,
                blocks: &blocks[self.stored.layout().start_offset()..],
                first,
                wide,
            });
        }
        let range = self.stored.layout().start_offset() + first..;
        match self.stored.dtype() {
            DType::F16 => widen(&self.stored.storage::<f16>()[range][..wide.len()], wide),
            DType::BF16 => widen(&self.stored.storage::<bf16>()[range][..wide.len()], wide),
            _ => wide.copy_from_slice(&self.stored.storage()[range][..wide.len()]),
        }
    }

    /// A right side for its columns, or its rows as columns.
    fn right_side(&self, depth: usize, columns: usize) -> RightSide {
        match self.blocks.is_none() && self.stored.dtype() == DType::BF16 {
            true => RightSide::in_bf16(depth, columns),
            false => RightSide::new(depth, columns),
        }
    }

    /// Packs columns, or rows as columns if `transposed`: those of the panel, from `depth` and `column` on.
    fn pack(&self, panel: Panel, [depth, column]: [usize; 2], transposed: bool, room: &mut Scratch) {
        let [depths, columns] = [depth..depth + panel.depth.len(), column..column + panel.columns.len()];
        match (transposed, self.blocks) {
            (false, _) => return panel.pack(self.part(depths, columns, room)),
            (true, Some(_)) => return panel.pack(self.part(columns, depths, room).transposed()),
            (true, None) => {}
        }
        let first = [column, depth];
        match self.stored.dtype() {
            DType::F16 => panel.pack_lines(self.lines(self.stored.storage::<f16>(), first)),
            DType::BF16 => panel.pack_lines(self.lines(self.stored.storage::<bf16>(), first)),
            _ => panel.pack_lines(self.lines(self.stored.storage::<f32>(), first)),
        }
    }

    /// Asks the processor for a part that is going to be packed.
    fn prefetch(&self, rows: Range<usize>, columns: Range<usize>) {
        let (first, shape) = ([rows.start, columns.start], [rows.len(), columns.len()]);
        match (self.blocks, self.stored.dtype()) {
            (Some(_), _) => {}
            (None, DType::F16) => self.lines(self.stored.storage::<f16>(), first).prefetch(shape),
            (None, DType::BF16) => self.lines(self.stored.storage::<bf16>(), first).prefetch(shape),
            (None, _) => self.lines(self.stored.storage::<f32>(), first).prefetch(shape),
        }
    }

    /// Rows as they are stored in `values`, from an element of the first on.
    fn lines<'a, T>(&self, values: &'a [T], [row, column]: [usize; 2]) -> Lines<'a, T> {
        let first = self.stored.layout().start_offset() + row * self.columns + column;
        Lines {
            values: &values[first..],
            stride: self.columns,
        }
    }

    /// A part in f32, in `room` if it has to be widened.
    pub(super) fn part<'a>(&'a self, rows: Range<usize>, columns: Range<usize>, room: &'a mut Scratch) -> Matrix<'a> {
        let shape = [rows.len(), columns.len()];
        let first = rows.start * self.columns + columns.start;
        if let Some(values) = self.single() {
            return Matrix::new(&values[first..], shape, [self.columns, 1]);
        }
        let stride = shape[1] + GAP;
        let wide = room.at_least(shape[0] * stride);
        for (row, wide) in wide.chunks_mut(stride).enumerate() {
            self.widen(first + row * self.columns, &mut wide[..shape[1]]);
        }
        Matrix::new(wide, shape, [stride, 1])
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

    /// Writes the product with a right side that was packed, plus `bias` a row, to `out`. Rows are widened when they are used,
    /// so that a weight is read once, as it lies: the way of few columns.
    pub(super) fn multiply(&self, shape: RightSide, packed: &[f32], bias: Option<&[f32]>, out: &mut [f32]) {
        let columns = shape.columns();
        let threads = rayon::current_num_threads();
        let rows = (ROWS_LEN / self.columns)
            .clamp(8, 24)
            .min(self.rows.div_ceil(threads))
            .next_multiple_of(8);
        out.par_chunks_mut(rows * columns)
            .enumerate()
            .for_each_init(Scratch::default, |room, (block, out)| {
                let rows = block * rows..block * rows + out.len() / columns;
                let bias = bias.map_or(Bias::None, |bias| Bias::Rows(&bias[rows.clone()]));
                let target = Target {
                    values: out,
                    stride: columns,
                    add: false,
                };
                shape.multiply(self.part(rows, 0..self.columns, room), packed, bias, target);
            });
    }

    /// All of it in f32, in `room` if it has to be widened.
    pub(super) fn whole<'a>(&'a self, room: &'a mut Scratch) -> &'a [f32] {
        self.single().unwrap_or_else(|| {
            let wide = room.at_least(self.rows * self.columns);
            wide.par_chunks_mut(CHUNK)
                .enumerate()
                .for_each(|(chunk, wide)| self.widen(chunk * CHUNK, wide));
            wide
        })
    }
}

/// Widens a part of quantised blocks, with whatever vectors the compiler finds a use for.
struct WidenBlocks<'a> {
    format: BlockFormat,
    blocks: &'a [u8],
    first: usize,
    wide: &'a mut [f32],
}

impl SimdOp for WidenBlocks<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, _: I) {
        self.format.widen(self.blocks, self.first, self.wide);
    }
}

/// `x weight`, plus `bias` and what is in `out` already if `add`, for a weight `[d_in, d_out]` or the transpose of one
/// `[d_out, d_in]`: every thread packs some columns and multiplies all rows with them while they are in its cache. The way of few
/// rows, for which packing all of the weight first would cost more.
pub(super) fn multiply_few(
    weight: &Weight,
    transposed: bool,
    x: Matrix,
    bias: Option<&[f32]>,
    add: bool,
    out: &mut [f32],
) {
    let (rows, d_in) = (x.rows(), x.columns());
    let d_out = out.len() / rows;
    let whole = RightSide::new(d_in, d_out);
    let mut copy = Scratch::default();
    let x = x.in_rows_by_threads(&mut copy);
    let target = Target {
        values: out,
        stride: d_out,
        add,
    };
    let panels = target.into_columns([rows, d_out], COLUMNS).into_par_iter().enumerate();
    panels.for_each_init(<[Scratch; 2]>::default, |[room, packed], (index, mut out)| {
        let columns = index * COLUMNS..d_out.min((index + 1) * COLUMNS);
        let mut blocks = whole.blocks().peekable();
        while let Some(depth) = blocks.next() {
            let is_first = depth.start == 0;
            let shape = RightSide::new(depth.len(), columns.len());
            let packed = packed.at_least(shape.len());
            for panel in shape.panels(packed) {
                let first = [depth.start, columns.start + panel.columns.start];
                weight.pack(panel, first, transposed, room);
            }
            if transposed {
                // What is packed next comes from memory while this is multiplied.
                let (columns, depth) = match blocks.peek() {
                    Some(depth) => (columns.clone(), depth.clone()),
                    None => (columns.end..d_out.min(columns.end + COLUMNS), 0..depth.len()),
                };
                weight.prefetch(columns, depth);
            }
            let bias = bias
                .filter(|_| is_first)
                .map_or(Bias::None, |bias| Bias::Columns(&bias[columns.clone()]));
            let out = out.again(add || !is_first);
            shape.multiply_to(x.part(0..rows, depth), packed, bias, out);
        }
    });
}

/// A weight that is packed for products with many rows.
pub(super) struct PackedWeight {
    shape: RightSide,
    packed: Scratch,
}

impl PackedWeight {
    /// Packs a weight `[d_in, d_out]`, or the transpose of one `[d_out, d_in]`.
    pub(super) fn new(weight: &Weight, transposed: bool) -> Self {
        let shape = match transposed {
            true => weight.right_side(weight.columns, weight.rows),
            false => weight.right_side(weight.rows, weight.columns),
        };
        let mut packed = Scratch::new(shape.len());
        let panels = shape.panels(&mut packed).into_par_iter();
        panels.for_each_init(Scratch::default, |room, panel| {
            let first = [panel.depth.start, panel.columns.start];
            weight.pack(panel, first, transposed, room);
        });
        Self { shape, packed }
    }

    /// `x weight`, plus `bias` and what is in `out` already if that is to be added to.
    pub(super) fn multiply(&self, x: Matrix, bias: Option<&[f32]>, out: Target) {
        let bias = bias.map_or(Bias::None, Bias::Columns);
        self.shape.multiply(x, &self.packed, bias, out);
    }
}
