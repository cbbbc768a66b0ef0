//! Rows of right sides that threads write beside each other.

use std::marker::PhantomData;

use rten_simd::ops::NumOps;

use super::{GAP, RightSide};

/// The same row of several right sides of one shape: whoever computes a row of all of them packs it at once.
pub(in super::super) struct PackedRow<'a> {
    /// The first panel of the row's block of the depth, in the first right side.
    block: *mut f32,
    /// Rows of the block.
    depth: usize,
    /// The row's place in the block.
    row: usize,
    /// Columns in memory.
    columns: usize,
    /// Columns of a whole panel.
    panel: usize,
    sides: usize,
    /// Elements from one right side to the next.
    stride: usize,
    values: PhantomData<&'a mut [f32]>,
}

// SAFETY: a row is what alone reaches its elements, as a slice is.
#[expect(unsafe_code, reason = "rows lie in one buffer")]
unsafe impl Send for PackedRow<'_> {}

/// The same vector of a row in each of the right sides.
pub(in super::super) struct PackedVector<'a> {
    first: *mut f32,
    lanes: usize,
    sides: usize,
    stride: usize,
    values: PhantomData<&'a mut [f32]>,
}

impl RightSide {
    /// Elements from one right side to the next, where several are packed together: not a power of two, or all of them would be in the
    /// same places of the cache.
    pub(in super::super) fn stride(&self) -> usize {
        self.len() + GAP
    }

    /// The rows of `sides` right sides, [`stride`](Self::stride) elements apart in `packed`: each has a row of all of them. Those of bf16
    /// are not packed so.
    pub(in super::super) fn rows<'a>(&self, packed: &'a mut [f32], sides: usize) -> Vec<PackedRow<'a>> {
        assert!(!self.on_tiles && sides * self.stride() <= packed.len());
        let first = packed.as_mut_ptr();
        let columns = self.columns.next_multiple_of(self.lanes);
        let blocks = self.blocks().flat_map(|depth| {
            let block = first.wrapping_add(self.panels_len(depth.start, self.columns));
            let depth = depth.len();
            (0..depth).map(move |row| (block, depth, row))
        });
        blocks
            .map(|(block, depth, row)| PackedRow {
                block,
                depth,
                row,
                columns,
                panel: self.panel_width(),
                sides,
                stride: self.stride(),
                values: PhantomData,
            })
            .collect()
    }
}

impl PackedRow<'_> {
    /// The vectors of `lanes` elements from a column on, a multiple of them.
    #[inline(always)]
    pub(in super::super) fn at(&mut self, column: usize, lanes: usize) -> PackedVector<'_> {
        assert!(column.is_multiple_of(lanes) && self.panel.is_multiple_of(lanes) && column + lanes <= self.columns);
        let start = column / self.panel * self.panel;
        let width = self.panel.min(self.columns - start);
        PackedVector {
            first: self
                .block
                .wrapping_add(start * self.depth + self.row * width + column - start),
            lanes,
            sides: self.sides,
            stride: self.stride,
            values: PhantomData,
        }
    }
}

impl PackedVector<'_> {
    /// Writes the vectors of right sides that follow each other, from `first` on.
    #[inline(always)]
    #[expect(unsafe_code, reason = "a vector is written by pointer")]
    pub(in super::super) fn store<O: NumOps<f32>, const N: usize>(
        &mut self,
        ops: O,
        first: usize,
        values: [O::Simd; N],
    ) {
        assert!(first + N <= self.sides && ops.len() == self.lanes);
        for (side, value) in (first..).zip(values) {
            // SAFETY: the vector lies within a panel, as was asserted with its column, and within one of the right sides.
            unsafe { ops.store_ptr(value, self.first.add(side * self.stride)) }
        }
    }
}

#[cfg(test)]
mod tests {
    use rten_simd::{Isa, SimdOp, ops::BitOps};

    use super::{
        super::{Matrix, run},
        *,
    };

    struct Written<'a> {
        row: PackedRow<'a>,
        values: [&'a [f32]; 2],
    }

    impl SimdOp for Written<'_> {
        type Output = ();

        #[inline(always)]
        fn eval<I: Isa>(mut self, isa: I) {
            let ops = isa.f32();
            for column in (0..self.values[0].len()).step_by(ops.len()) {
                let mut vector = self.row.at(column, ops.len());
                for (side, values) in self.values.iter().enumerate() {
                    vector.store(ops, side, [ops.load_pad(&values[column..]).0]);
                }
            }
        }
    }

    #[test]
    fn rows_are_packed_as_a_matrix_is() {
        for [depth, columns] in [[1, 1], [3, 48], [5, 49], [400, 96], [770, 131]] {
            let shape = RightSide::new(depth, columns);
            let sides = [0.0, 0.5].map(|shift| (0..depth * columns).map(|i| i as f32 + shift).collect::<Vec<_>>());
            let mut packed = vec![0.0; 2 * shape.stride()];
            for (index, row) in shape.rows(&mut packed, 2).into_iter().enumerate() {
                let values = [0, 1].map(|side| &sides[side][index * columns..][..columns]);
                run(Written { row, values });
            }
            for (side, found) in sides.iter().zip(packed.chunks(shape.stride())) {
                let mut expected = vec![0.0; shape.len()];
                shape.pack(Matrix::new(side, [depth, columns], [columns, 1]), &mut expected);
                assert_eq!(found[..shape.len()], expected, "{depth}x{columns}");
            }
        }
    }
}
