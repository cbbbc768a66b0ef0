//! Matrix products whose right side is packed once and multiplied with many blocks of rows.
//!
//! A product is the work of one thread: callers part rows, or matrices, between threads. Its sums begin with the bias and
//! what is added to, and whoever has the right side packs it from where it lies.

mod rows;
mod tiles;

use std::{marker::PhantomData, ops::Range};

use rayon::prelude::*;
use rten_simd::{
    Isa, SimdOp,
    ops::{BitOps, NumOps},
};

use super::{
    MOST_LANES,
    buffer::Scratch,
    simd::{lanes, run},
    stored::Stored,
    transpose::{Lines, transpose},
};

pub(super) use rows::PackedRow;

/// Vectors beside each other in a panel at most, and with it in a tile.
const VECTORS: usize = 3;
/// Rows of the right side that are worked on together, at most, while what belongs to them stays in the cache.
const DEPTH: usize = 384;
/// Rows that are a multiple of this apart would all be in the same place of the cache.
const CACHE_PERIOD: usize = 1024;
/// What is left free between copied rows, so that they aren't.
pub(super) const GAP: usize = 16;

/// A matrix in a buffer.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    values: &'a [f32],
    shape: [usize; 2],
    strides: [usize; 2],
}

impl<'a> Matrix<'a> {
    pub(super) fn new(values: &'a [f32], shape: [usize; 2], strides: [usize; 2]) -> Self {
        let matrix = Self { values, shape, strides };
        assert!(matrix.len() <= values.len(), "a matrix lies within its buffer");
        matrix
    }

    /// Elements from the first to the last.
    fn len(&self) -> usize {
        match self.shape {
            [0, _] | [_, 0] => 0,
            [rows, columns] => (rows - 1) * self.strides[0] + (columns - 1) * self.strides[1] + 1,
        }
    }

    pub(super) fn rows(&self) -> usize {
        self.shape[0]
    }

    pub(super) fn columns(&self) -> usize {
        self.shape[1]
    }

    #[cfg(test)]
    pub(super) fn at(&self, row: usize, column: usize) -> f32 {
        self.values[row * self.strides[0] + column * self.strides[1]]
    }

    pub(super) fn transposed(mut self) -> Self {
        self.shape.reverse();
        self.strides.reverse();
        self
    }

    pub(super) fn part(&self, rows: Range<usize>, columns: Range<usize>) -> Self {
        assert!(
            rows.end <= self.shape[0] && columns.end <= self.shape[1],
            "a part lies within its matrix"
        );
        let shape = [rows.len(), columns.len()];
        let start = rows.start * self.strides[0] + columns.start * self.strides[1];
        let values = if shape.contains(&0) { &[] } else { &self.values[start..] };
        Self { values, shape, ..*self }
    }

    /// Whether it lies in rows that can be read together.
    fn lies_in_rows(&self) -> bool {
        matches!(self.strides, [stride, 1] if self.shape[0] == 1 || stride % CACHE_PERIOD != 0)
    }

    /// The same in rows that can be read together, in `room` if they aren't.
    pub(super) fn in_rows<'b>(self, room: &'b mut Scratch) -> Matrix<'b>
    where
        'a: 'b,
    {
        self.in_rows_by(room, |copy, stride| self.copy_to(copy, stride))
    }

    /// As [`in_rows`](Self::in_rows), by all threads.
    pub(super) fn in_rows_by_threads<'b>(self, room: &'b mut Scratch) -> Matrix<'b>
    where
        'a: 'b,
    {
        const ROWS: usize = 8;
        let [rows, columns] = self.shape;
        self.in_rows_by(room, |copy, stride| {
            copy.par_chunks_mut(ROWS * stride)
                .enumerate()
                .for_each(|(index, copy)| {
                    let rows = index * ROWS..rows.min((index + 1) * ROWS);
                    self.part(rows, 0..columns).copy_to(copy, stride);
                });
        })
    }

    /// The same in rows that can be read together, in `room` if they aren't, where `copy` writes rows that are so far apart.
    fn in_rows_by<'b>(self, room: &'b mut Scratch, copy: impl FnOnce(&mut [f32], usize)) -> Matrix<'b>
    where
        'a: 'b,
    {
        if self.lies_in_rows() {
            return self;
        }
        let stride = self.shape[1] + GAP;
        let values = room.at_least(self.shape[0] * stride);
        copy(values, stride);
        Matrix::new(values, self.shape, [stride, 1])
    }

    /// The values by rows, and elements from one row to the next; in `room` if they don't lie so.
    pub(super) fn by_rows<'r>(&self, room: &'r mut Scratch) -> (&'r [f32], usize)
    where
        'a: 'r,
    {
        if self.strides[1] == 1 {
            return (self.values, self.strides[0]);
        }
        let stride = self.shape[1] + GAP;
        let rows = room.at_least(self.shape[0] * stride);
        self.copy_to(rows, stride);
        (rows, stride)
    }

    /// Writes the values to rows of `stride` elements.
    pub(super) fn copy_to(self, out: &mut [f32], stride: usize) {
        if self.strides[0] == 1 && self.strides[1] != 1 {
            let [len, count] = self.shape;
            let lines = Lines {
                values: self.values,
                stride: self.strides[1],
            };
            return transpose(lines, [count, len], out, stride);
        }
        let matrix = self;
        run(Copy { matrix, out, stride });
    }
}

/// Copies a short run of elements by instructions, where a call would take longer.
#[inline(always)]
pub(super) fn copy_run(from: &[f32], to: &mut [f32]) {
    const RUN: usize = 16;
    let (from, from_last) = from.as_chunks::<RUN>();
    let (to, to_last) = to.as_chunks_mut::<RUN>();
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
    for (to, from) in to_last.iter_mut().zip(from_last) {
        *to = *from;
    }
}

/// Copies a matrix to rows that are `stride` elements apart.
struct Copy<'a> {
    matrix: Matrix<'a>,
    out: &'a mut [f32],
    stride: usize,
}

impl SimdOp for Copy<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, _: I) {
        let Matrix {
            values,
            shape: [rows, columns],
            strides: [row_stride, column_stride],
        } = self.matrix;
        if column_stride != 1 {
            for (row, out) in self.out.chunks_mut(self.stride).enumerate().take(rows) {
                let values = values[row * row_stride..].iter().step_by(column_stride);
                out.iter_mut()
                    .take(columns)
                    .zip(values)
                    .for_each(|(out, value)| *out = *value);
            }
            return;
        }
        for (row, out) in self.out.chunks_mut(self.stride).enumerate().take(rows) {
            copy_run(&values[row * row_stride..][..columns], &mut out[..columns]);
        }
    }
}

/// What a product begins with, besides what is there.
#[derive(Clone, Copy)]
pub(super) enum Bias<'a> {
    None,
    /// A value for each row.
    Rows(&'a [f32]),
    /// A value for each column.
    Columns(&'a [f32]),
}

/// Where a product goes: rows that are `stride` elements apart, in place of what is there or added to it.
pub(super) struct Target<'a> {
    pub(super) values: &'a mut [f32],
    pub(super) stride: usize,
    pub(super) add: bool,
}

impl<'a> Target<'a> {
    /// All of it, as rows and columns.
    fn block(self, shape @ [rows, columns]: [usize; 2]) -> Block<'a> {
        assert!(rows * columns == 0 || (rows - 1) * self.stride + columns <= self.values.len());
        Block {
            start: self.values.as_mut_ptr(),
            shape,
            stride: self.stride,
            add: self.add,
            values: PhantomData,
        }
    }

    /// Blocks of `width` columns each, but for the last, for threads that write beside each other.
    pub(super) fn into_columns(self, shape @ [rows, columns]: [usize; 2], width: usize) -> Vec<Block<'a>> {
        assert!(columns <= self.stride, "rows that overlap are not parted");
        let mut whole = self.block(shape);
        let blocks = (0..columns).step_by(width).map(|first| {
            let width = width.min(columns - first);
            Block {
                start: whole.at([0, first], [rows, width]),
                shape: [rows, width],
                ..whole
            }
        });
        blocks.collect()
    }
}

/// A part of a target: columns of its rows, between which lie those of other blocks.
pub(super) struct Block<'a> {
    start: *mut f32,
    shape: [usize; 2],
    stride: usize,
    add: bool,
    values: PhantomData<&'a mut [f32]>,
}

// SAFETY: a block is what alone reaches its elements, as a slice is.
#[expect(unsafe_code, reason = "blocks lie in one buffer")]
unsafe impl Send for Block<'_> {}

impl Block<'_> {
    /// The same for a while.
    pub(super) fn again(&mut self, add: bool) -> Block<'_> {
        Block {
            add,
            values: PhantomData,
            ..*self
        }
    }

    /// The first of `[rows, columns]` from a place on, all within the block.
    #[inline(always)]
    fn at(&mut self, [row, column]: [usize; 2], [rows, columns]: [usize; 2]) -> *mut f32 {
        assert!(row + rows <= self.shape[0] && column + columns <= self.shape[1]);
        self.start.wrapping_add(row * self.stride + column)
    }

    /// Columns of a row.
    #[expect(unsafe_code, reason = "rows of a block lie apart")]
    fn row(&mut self, row: usize, columns: Range<usize>) -> &mut [f32] {
        let first = self.at([row, columns.start], [1, columns.len()]);
        // SAFETY: they lie within the block.
        unsafe { std::slice::from_raw_parts_mut(first, columns.len()) }
    }
}

/// A part of a right side, and where it is packed.
pub(super) struct Panel<'a> {
    pub(super) depth: Range<usize>,
    pub(super) columns: Range<usize>,
    packed: &'a mut [f32],
    on_tiles: bool,
}

impl Panel<'_> {
    /// Packs what `write` writes to lines of so many elements as it is told, and zeros after the last column.
    fn pack_written(self, write: impl FnOnce(&mut [f32], usize)) {
        let (depth, columns) = (self.depth.len(), self.columns.len());
        let write = |lines: &mut [f32], width| {
            write(&mut *lines, width);
            for line in lines.chunks_exact_mut(width) {
                line[columns..].fill(0.0);
            }
        };
        match self.on_tiles {
            true => tiles::pack(depth, self.packed, |lines| write(lines, tiles::COLUMNS)),
            false => {
                let width = self.packed.len() / depth;
                write(self.packed, width);
            }
        }
    }

    pub(super) fn pack(self, part: Matrix) {
        self.pack_written(|lines, width| part.copy_to(lines, width));
    }

    /// Packs lines as columns.
    pub(super) fn pack_lines<T: Stored>(self, from: Lines<T>) {
        let shape = [self.columns.len(), self.depth.len()];
        self.pack_written(|lines, width| transpose(from, shape, lines, width));
    }

    /// Packs what `write` writes of each row, one of `depth`.
    pub(super) fn write(self, write: impl Fn(usize, &mut [f32])) {
        let (count, depth) = (self.columns.len(), self.depth.clone());
        self.pack_written(|lines, width| {
            for (row, line) in depth.zip(lines.chunks_exact_mut(width)) {
                write(row, &mut line[..count]);
            }
        });
    }
}

/// The shape of a right side, and with it how it is packed: blocks of its depth that consist of panels of columns, the
/// last of which is filled up with zeros to whole vectors, or to whole [tiles].
#[derive(Clone, Copy)]
pub(super) struct RightSide {
    depth: usize,
    columns: usize,
    lanes: usize,
    on_tiles: bool,
}

/// The sums of a tile and a row of a panel take most of the registers: AVX-512 and NEON have 32, AVX2 and SSE2 16.
fn has_many_registers(lanes: usize) -> bool {
    lanes == MOST_LANES || cfg!(target_arch = "aarch64")
}

/// Columns of a whole panel.
fn panel_width(lanes: usize) -> usize {
    let vectors = if has_many_registers(lanes) { VECTORS } else { 2 };
    vectors * lanes
}

impl RightSide {
    pub(super) fn new(depth: usize, columns: usize) -> Self {
        let lanes = lanes();
        Self {
            depth,
            columns,
            lanes,
            on_tiles: false,
        }
    }

    /// One whose values are in bf16, for left sides of many rows: on [tiles], where there are some.
    pub(super) fn in_bf16(depth: usize, columns: usize) -> Self {
        Self {
            on_tiles: tiles::suit(depth, columns),
            ..Self::new(depth, columns)
        }
    }

    pub(super) fn columns(&self) -> usize {
        self.columns
    }

    /// Columns of a whole panel.
    fn panel_width(&self) -> usize {
        match self.on_tiles {
            true => tiles::COLUMNS,
            false => panel_width(self.lanes),
        }
    }

    /// Elements in memory of the panels of these columns, from the first of a panel on, of a block of the depth.
    fn panels_len(&self, depth: usize, columns: usize) -> usize {
        match self.on_tiles {
            true => tiles::panels_len(depth, columns),
            false => depth * columns.next_multiple_of(self.lanes),
        }
    }

    /// Elements in memory.
    pub(super) fn len(&self) -> usize {
        let blocks: usize = self
            .blocks()
            .map(|depth| self.panels_len(depth.len(), self.columns))
            .sum();
        blocks + if self.on_tiles { tiles::SLACK } else { 0 }
    }

    /// The first element of a buffer that is used.
    fn first(&self, packed: &[f32]) -> usize {
        if self.on_tiles { tiles::first_line(packed) } else { 0 }
    }

    /// The blocks of its depth, of about the same size.
    pub(super) fn blocks(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let depth = self.depth;
        let each = depth.div_ceil(depth.div_ceil(DEPTH).max(1)).max(1);
        (0..depth)
            .step_by(each)
            .map(move |start| start..depth.min(start + each))
    }

    /// Its panels in `packed`, to be packed.
    pub(super) fn panels<'a>(&self, packed: &'a mut [f32]) -> Vec<Panel<'a>> {
        let first = self.first(packed);
        let mut rest = &mut packed[first..];
        let mut panels = Vec::new();
        for depth in self.blocks() {
            for start in (0..self.columns).step_by(self.panel_width()) {
                let columns = start..self.columns.min(start + self.panel_width());
                let (packed, behind) = rest.split_at_mut(self.panels_len(depth.len(), columns.len()));
                rest = behind;
                panels.push(Panel {
                    depth: depth.clone(),
                    columns,
                    packed,
                    on_tiles: self.on_tiles,
                });
            }
        }
        panels
    }

    /// Packs a matrix of this shape.
    pub(super) fn pack(&self, matrix: Matrix, packed: &mut [f32]) {
        for panel in self.panels(packed) {
            let part = matrix.part(panel.depth.clone(), panel.columns.clone());
            panel.pack(part);
        }
    }

    /// Computes the product of `left`, a row or more, and what is packed, plus the bias.
    pub(super) fn multiply(&self, left: Matrix, packed: &[f32], bias: Bias, out: Target) {
        let out = out.block([left.rows(), self.columns]);
        self.multiply_to(left, packed, bias, out);
    }

    /// As [`multiply`](Self::multiply), to a block of its shape.
    pub(super) fn multiply_to(&self, left: Matrix, packed: &[f32], bias: Bias, mut out: Block) {
        let rows = left.rows();
        let mut copy = Scratch::default();
        let mut packed = &packed[self.first(packed)..];
        for depth in self.blocks() {
            let (block, behind) = packed.split_at(self.panels_len(depth.len(), self.columns));
            packed = behind;
            let (first, len) = (depth.start == 0, depth.len());
            let left = left.part(0..rows, depth).in_rows(&mut copy);
            let product = Product {
                left: left.values,
                stride: left.strides[0],
                rows,
                depth: len,
                right: block,
                columns: self.columns,
                bias: if first { bias } else { Bias::None },
                out: out.again(out.add || !first),
            };
            match self.on_tiles {
                true => tiles::multiply(product),
                false => run(product),
            }
        }
    }
}

/// The product with a block of the depth.
struct Product<'a> {
    /// Rows, `stride` elements apart.
    left: &'a [f32],
    stride: usize,
    rows: usize,
    depth: usize,
    /// Panels.
    right: &'a [f32],
    columns: usize,
    bias: Bias<'a>,
    out: Block<'a>,
}

impl SimdOp for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(mut self, isa: I) {
        let lanes = isa.f32().len();
        for first in (0..self.columns).step_by(panel_width(lanes)) {
            match ((self.columns - first).div_ceil(lanes), has_many_registers(lanes)) {
                (1, true) => self.panel::<I, 8, 1>(isa, first),
                (2, true) => self.panel::<I, 8, 2>(isa, first),
                (_, true) => self.panel::<I, 8, VECTORS>(isa, first),
                (1, false) => self.panel::<I, 6, 1>(isa, first),
                (_, false) => self.panel::<I, 6, 2>(isa, first),
            }
        }
    }
}

impl Product<'_> {
    /// The columns of a panel of `V` vectors, `R` rows at a time.
    #[inline(always)]
    fn panel<I: Isa, const R: usize, const V: usize>(&mut self, isa: I, column: usize) {
        let mut row = 0;
        while self.rows - row >= R {
            self.tile::<I, R, V>(isa, row, column);
            row += R;
        }
        while self.rows - row >= 4 {
            self.tile::<I, 4, V>(isa, row, column);
            row += 4;
        }
        while self.rows - row >= 2 {
            self.tile::<I, 2, V>(isa, row, column);
            row += 2;
        }
        if row < self.rows {
            self.tile::<I, 1, V>(isa, row, column);
        }
    }

    /// `R` rows and `V` vectors of the result.
    #[inline(always)]
    #[expect(unsafe_code, reason = "a tile is written by pointer")]
    fn tile<I: Isa, const R: usize, const V: usize>(&mut self, isa: I, row: usize, column: usize) {
        let columns = (self.columns - column).min(V * isa.f32().len());
        let left = &self.left[row * self.stride..];
        let right = &self.right[self.depth * column..];
        let bias = match self.bias {
            Bias::None => Bias::None,
            Bias::Rows(bias) => Bias::Rows(&bias[row..]),
            Bias::Columns(bias) => Bias::Columns(&bias[column..]),
        };
        if columns == V * isa.f32().len() {
            let (stride, add) = (self.out.stride, self.out.add);
            let out = Tile {
                first: self.out.at([row, column], [R, columns]),
                stride,
                add,
            };
            // SAFETY: the tile lies within the block.
            return unsafe { sum_products::<I, R, V>(isa, self.depth, left, self.stride, right, bias, out) };
        }
        // The last vector is not whole.
        let mut whole = [[[0.0; MOST_LANES]; V]; R];
        let mut whole_bias = [[0.0; MOST_LANES]; V];
        let (whole, whole_bias) = (
            whole.as_flattened_mut().as_flattened_mut(),
            whole_bias.as_flattened_mut(),
        );
        let stride = V * MOST_LANES;
        let bias = match bias {
            Bias::Columns(bias) => {
                whole_bias[..columns].copy_from_slice(&bias[..columns]);
                Bias::Columns(whole_bias)
            }
            _ => bias,
        };
        let range = column..column + columns;
        if self.out.add {
            for (r, whole) in whole.chunks_mut(stride).enumerate() {
                whole[..columns].copy_from_slice(self.out.row(row + r, range.clone()));
            }
        }
        let out = Tile {
            first: whole.as_mut_ptr(),
            stride,
            add: self.out.add,
        };
        // SAFETY: the tile is all of `whole`.
        unsafe { sum_products::<I, R, V>(isa, self.depth, left, self.stride, right, bias, out) };
        for (r, whole) in whole.chunks(stride).enumerate() {
            self.out.row(row + r, range.clone()).copy_from_slice(&whole[..columns]);
        }
    }
}

/// Where the sums of a tile go: whole vectors in rows that are `stride` elements apart.
struct Tile {
    first: *mut f32,
    stride: usize,
    add: bool,
}

/// Computes `R` rows of `V` vectors from rows on the left side that are `stride` elements apart and a panel.
///
/// # Safety
/// All of the tile is memory that nobody else uses.
#[inline(always)]
#[expect(unsafe_code, reason = "bounds are checked once")]
#[expect(
    clippy::needless_range_loop,
    reason = "with iterators the sums don't stay in registers"
)]
unsafe fn sum_products<I: Isa, const R: usize, const V: usize>(
    isa: I,
    depth: usize,
    left: &[f32],
    stride: usize,
    right: &[f32],
    bias: Bias,
    out: Tile,
) {
    let ops = isa.f32();
    let lanes = ops.len();
    assert!(left.len() >= (R - 1) * stride + depth && right.len() >= depth * V * lanes);
    // `ops.zero()` may be left a call, which costs a tenth of the time.
    let mut sums = [[ops.splat(0.0); V]; R];
    match bias {
        Bias::None => {}
        Bias::Rows(bias) => {
            for r in 0..R {
                sums[r] = [ops.splat(bias[r]); V];
            }
        }
        Bias::Columns(bias) => {
            for v in 0..V {
                let bias = ops.load(&bias[v * lanes..]);
                for r in 0..R {
                    sums[r][v] = bias;
                }
            }
        }
    }
    // SAFETY: the elements lie within the slices, as was asserted, and within the tile.
    unsafe {
        let values = out.first;
        if out.add {
            for r in 0..R {
                for v in 0..V {
                    let value = ops.load_ptr(values.add(r * out.stride + v * lanes));
                    sums[r][v] = ops.add(sums[r][v], value);
                }
            }
        }
        let left = left.as_ptr();
        let mut right = right.as_ptr();
        for k in 0..depth {
            let mut vectors = [ops.splat(0.0); V];
            for v in 0..V {
                vectors[v] = ops.load_ptr(right.add(v * lanes));
            }
            for r in 0..R {
                let value = ops.splat(*left.add(r * stride + k));
                for v in 0..V {
                    sums[r][v] = ops.mul_add(value, vectors[v], sums[r][v]);
                }
            }
            right = right.add(V * lanes);
        }
        for r in 0..R {
            for v in 0..V {
                ops.store_ptr(sums[r][v], values.add(r * out.stride + v * lanes));
            }
        }
    }
}
