//! Products of 8-bit integers in place of floats, for layers that [may be inexact](crate::Products).
//!
//! Each row of the left side and each column of the right side becomes integers from -127 to 127 times a step of its own, a 127th
//! of its largest value: tokens while they are multiplied, weights when they are packed, on each call. Sums are exact, in 32 bits,
//! whatever the instructions; what is lost is in the rounding of the two sides, about a hundredth of a product of normally
//! distributed numbers. A value that is not finite makes its row's or column's step NaN, and with it all that they meet in.
//!
//! Weights are packed so whenever they are used, as those in floats are. That takes a few hundredths of a step of a large model, while
//! integers that are kept would take half of the memory that weights in half precision do, and would have to follow LoRAs.

mod columns;
mod instructions;
mod rows;
#[cfg(test)]
mod tests;
mod tile;

use burn::tensor::{DType, Device};
use rayon::prelude::*;

use super::{
    buffer::Scratch,
    product::{Matrix, Target},
    weight::Weight,
};
use crate::settings::settings;
use columns::{Columns, Room};
use instructions::Instructions;

pub(super) use rows::Rows;

/// With fewer rows, or shorter ones, integers save less than it costs to make them.
const LEAST_ROWS: usize = 128;
const LEAST_DEPTH: usize = 32;
/// The sums of longer rows might not fit 32 bits: a product is at most 255 times 127.
const MOST_DEPTH: usize = 1 << 16;
/// Columns that are quantised together.
const GROUP: usize = 16;

/// Whether there are such products of tensors in `dtype` on a device.
pub(crate) fn has_integers(dtype: DType, device: &Device) -> bool {
    let is_supported = settings().cpu_operators && dtype == DType::F32 && *device == Device::flex();
    is_supported && Instructions::best().is_some()
}

/// A weight whose output channels are packed as integers.
pub(super) struct QuantisedWeight {
    columns: Columns,
    instructions: Instructions,
}

impl QuantisedWeight {
    /// Packs a weight `[d_in, d_out]`, or the transpose of one `[d_out, d_in]`, to be multiplied with `rows` rows. None where floats
    /// are as fast.
    pub(super) fn new(weight: &Weight, transposed: bool, bias: Option<&[f32]>, rows: usize) -> Option<Self> {
        let shape = match transposed {
            true => [weight.columns(), weight.rows()],
            false => [weight.rows(), weight.columns()],
        };
        let pays = rows >= LEAST_ROWS && (LEAST_DEPTH..=MOST_DEPTH).contains(&shape[0]);
        let instructions = Instructions::best().filter(|_| pays)?;
        let mut columns = Columns::new(instructions, shape, bias);
        let panels = columns.panels().into_par_iter();
        panels.for_each_init(<(Scratch, Room)>::default, |(wide, room), mut panel| {
            let (start, count) = (panel.columns.start, panel.columns.len());
            for first in (0..count).step_by(GROUP) {
                let columns = start + first..start + count.min(first + GROUP);
                let part = match transposed {
                    true => weight.part(columns, 0..shape[0], wide),
                    false => weight.part(0..shape[0], columns, wide).transposed(),
                };
                panel.pack(first, part, room);
            }
        });
        Some(Self { columns, instructions })
    }

    /// `x weight + bias`, which is written to or added to `out`. `rows` is room for the integers of `x`.
    pub(super) fn multiply(&self, x: Matrix, rows: &mut Rows, out: Target) {
        rows.fill(x, self.instructions);
        self.columns.multiply(rows, out);
    }
}
