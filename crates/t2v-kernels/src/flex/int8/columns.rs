//! The right side of products: columns of integers, packed in panels.

use std::ops::Range;

use super::{
    super::{
        buffer::{Scratch, bytes_mut},
        product::{Matrix, Target},
        transpose::{Lines, transpose},
    },
    instructions::Instructions,
    rows::{Rows, Steps},
    tile::{self, Operands},
};

/// Columns of integers, in panels whose last is filled up with zeros to whole vectors.
pub(super) struct Columns {
    instructions: Instructions,
    columns: usize,
    /// Words of a column.
    depth: usize,
    words: Scratch,
    steps: Vec<f32>,
    surplus: Vec<i32>,
    bias: Vec<f32>,
}

/// Some columns beside each other, and where they are packed.
pub(super) struct Panel<'a> {
    instructions: Instructions,
    pub(super) columns: Range<usize>,
    depth: usize,
    words: &'a mut [f32],
    steps: &'a mut [f32],
    surplus: &'a mut [i32],
}

/// Room for what becomes columns.
#[derive(Default)]
pub(super) struct Room {
    values: Scratch,
    words: Scratch,
}

impl Panel<'_> {
    /// Quantises and packs columns, the panel's `first` and those after it, of which `transposed` has a row for each.
    pub(super) fn pack(&mut self, first: usize, transposed: Matrix, room: &mut Room) {
        let (group, offset, width) = (
            self.instructions.group(),
            self.instructions.row_offset(),
            self.steps.len(),
        );
        let (count, len) = (transposed.rows(), transposed.columns());
        let (values, stride) = transposed.by_rows(&mut room.values);
        let words = room.words.at_least(count * self.depth);
        for (index, words) in words.chunks_exact_mut(self.depth).enumerate() {
            let values = &values[index * stride..][..len];
            let steps = Steps::of(values);
            steps.quantise(values, 0, group, words);
            self.steps[first + index] = steps.step;
            self.surplus[first + index] = if offset == 0 { 0 } else { offset * sum_of_bytes(words) };
        }
        let lines = Lines {
            values: words,
            stride: self.depth,
        };
        transpose(lines, [count, self.depth], &mut self.words[first..], width);
    }
}

/// The sum of the integers in words of four.
fn sum_of_bytes(words: &mut [f32]) -> i32 {
    let mut sum = 0;
    for byte in bytes_mut(words) {
        sum += i32::from(*byte as i8);
    }
    sum
}

impl Columns {
    /// Room for columns of `depth` integers, to be packed.
    pub(super) fn new(instructions: Instructions, [depth, columns]: [usize; 2], bias: Option<&[f32]>) -> Self {
        let (depth, width) = (
            depth.div_ceil(instructions.group()),
            columns.next_multiple_of(instructions.lanes()),
        );
        let mut padded_bias = vec![0.0; width];
        if let Some(bias) = bias {
            padded_bias[..columns].copy_from_slice(bias);
        }
        Self {
            instructions,
            columns,
            depth,
            words: Scratch::new(width * depth),
            steps: vec![0.0; width],
            surplus: vec![0; width],
            bias: padded_bias,
        }
    }

    pub(super) fn panels(&mut self) -> Vec<Panel<'_>> {
        let (instructions, depth) = (self.instructions, self.depth);
        let width = instructions.panel();
        let words = self.words.chunks_mut(depth * width);
        let factors = self.steps.chunks_mut(width).zip(self.surplus.chunks_mut(width));
        let panels = words.zip(factors).enumerate();
        panels
            .map(|(index, (words, (steps, surplus)))| {
                let columns = index * width..self.columns.min((index + 1) * width);
                if columns.len() < steps.len() {
                    words.fill(0.0);
                }
                Panel {
                    instructions,
                    columns,
                    depth,
                    words,
                    steps,
                    surplus,
                }
            })
            .collect()
    }

    /// Writes, or adds, `rows columns + bias`.
    pub(super) fn multiply(&self, rows: &Rows, out: Target) {
        let width = self.instructions.panel();
        let (rows, stride, row_steps) = rows.words();
        for (index, panel) in self.words.chunks(self.depth * width).enumerate() {
            let first = index * width;
            let operands = Operands {
                rows,
                stride,
                row_steps,
                panel,
                column_steps: &self.steps[first..],
                surplus: &self.surplus[first..],
                bias: &self.bias[first..],
                depth: self.depth,
                columns: width.min(self.columns - first),
            };
            let mut out = Target {
                values: &mut out.values[first..],
                ..out
            };
            tile::multiply(self.instructions, &operands, &mut out);
        }
    }
}
