//! The right side of a convolution's product: what its kernel sees of an image, packed straight from there.

use rayon::prelude::*;

use super::super::{
    buffer::Scratch,
    product::{Bias, Matrix, Panel, RightSide, Target},
    weight::Weight,
};

/// Elements of packed patches that are worked on together, at most, while they stay in the cache.
const PACKED: usize = 1 << 16;
/// Columns that are worked on together, at least.
const COLUMNS: usize = 192;

/// How a kernel moves over one dimension of an image.
#[derive(Clone, Copy)]
pub(super) struct Axis {
    /// Pixels, and elements from one to the next.
    pub(super) size: usize,
    pub(super) pixel: usize,
    pub(super) kernel: usize,
    pub(super) stride: usize,
    /// Zeros before the first pixel.
    pub(super) before: usize,
}

impl Axis {
    /// The element of the image that a tap of the kernel meets at an output pixel, if there is one.
    fn element(&self, out: usize, tap: usize) -> Option<usize> {
        let pixel = (out * self.stride + tap).checked_sub(self.before)?;
        (pixel < self.size).then_some(pixel * self.pixel)
    }
}

/// Output pixels of a row that lie beside each other.
#[derive(Clone, Copy)]
struct Run {
    row: usize,
    column: usize,
    len: usize,
}

fn runs(pixels: &[(usize, usize)]) -> Vec<Run> {
    let runs = pixels.chunk_by(|a, b| b.0 == a.0 && b.1 == a.1 + 1);
    runs.map(|run| Run {
        row: run[0].0,
        column: run[0].1,
        len: run.len(),
    })
    .collect()
}

/// The patches of an image: a row for each channel and tap, a column for each output pixel.
pub(super) struct Patches<'a> {
    pub(super) image: &'a [f32],
    /// Channels, and elements from one to the next.
    pub(super) channels: [usize; 2],
    /// Over the rows and the columns of the image.
    pub(super) axes: [Axis; 2],
    /// Rows and columns of the output pixels.
    pub(super) pixels: &'a [(usize, usize)],
    /// Whether the image has its zeros around it, so that all taps meet a pixel of it.
    pub(super) is_padded: bool,
}

impl Patches<'_> {
    fn depth(&self) -> usize {
        let [y, x] = self.axes;
        self.channels[0] * y.kernel * x.kernel
    }

    /// The channel of a row of the patches, and the tap along each dimension.
    fn tap(&self, row: usize) -> [usize; 3] {
        let [y, x] = self.axes.map(|axis| axis.kernel);
        [row / (y * x), row / x % y, row % x]
    }

    /// Writes a row of the patches of a padded image at these offsets of output pixels.
    fn gather_row(&self, row: usize, offsets: &[usize], out: &mut [f32]) {
        let ([channel, tap_y, tap_x], [y, x]) = (self.tap(row), self.axes);
        let image = &self.image[channel * self.channels[1] + tap_y * y.pixel + tap_x * x.pixel..];
        for (out, &offset) in out.iter_mut().zip(offsets) {
            *out = image[offset];
        }
    }

    /// Writes a row of the patches at these runs of output pixels.
    fn write_row(&self, row: usize, runs: &[Run], mut out: &mut [f32]) {
        let ([channel, tap_y, tap_x], [y, x]) = (self.tap(row), self.axes);
        let plane = &self.image[channel * self.channels[1]..];
        for run in runs {
            let (here, behind) = out.split_at_mut(run.len);
            out = behind;
            let Some(start) = y.element(run.row, tap_y) else {
                here.fill(0.0);
                continue;
            };
            let line = &plane[start..];
            if [x.stride, x.pixel] != [1, 1] {
                for (column, out) in here.iter_mut().enumerate() {
                    *out = x.element(run.column + column, tap_x).map_or(0.0, |pixel| line[pixel]);
                }
                continue;
            }
            let first = run.column + tap_x;
            let inside = |end: usize| end.saturating_sub(first).min(run.len);
            let within = inside(x.before)..inside(x.before + x.size);
            here[..within.start].fill(0.0);
            here[within.end..].fill(0.0);
            if !within.is_empty() {
                let pixels = &line[first + within.start - x.before..][..within.len()];
                here[within].copy_from_slice(pixels);
            }
        }
    }

    /// Writes the panel's rows.
    fn pack(&self, panel: Panel, first_column: usize) {
        let pixels = &self.pixels[first_column..][panel.columns.clone()];
        if self.is_padded {
            let [y, x] = self.axes.map(|axis| axis.stride * axis.pixel);
            let offsets: Vec<usize> = pixels.iter().map(|(row, column)| row * y + column * x).collect();
            panel.write(|row, out| self.gather_row(row, &offsets, out));
        } else {
            let runs = runs(pixels);
            panel.write(|row, out| self.write_row(row, &runs, out));
        }
    }

    /// `weight patches`, plus `bias` a row, for few output pixels.
    pub(super) fn multiply_few(&self, weight: &Weight, bias: Option<&[f32]>, out: &mut [f32]) {
        let shape = RightSide::new(self.depth(), self.pixels.len());
        let mut packed = Scratch::new(shape.len());
        let panels = shape.panels(&mut packed).into_par_iter();
        panels.for_each(|panel| self.pack(panel, 0));
        weight.multiply(shape, &packed, bias, out);
    }

    /// `weight patches`, plus `bias` a row, some output pixels at a time, by this many threads.
    pub(super) fn multiply(&self, weight: Matrix, bias: Option<&[f32]>, threads: usize, out: &mut [f32]) {
        let (columns, depth) = (self.pixels.len(), self.depth());
        let most = (PACKED / depth).max(COLUMNS).next_multiple_of(COLUMNS);
        let each = most.min(columns.div_ceil(threads).next_multiple_of(COLUMNS));
        // The parts of all rows that belong to the same columns go to one thread.
        let mut blocks: Vec<Vec<&mut [f32]>> = Vec::new();
        blocks.resize_with(columns.div_ceil(each), Vec::new);
        for row in out.chunks_mut(columns) {
            for (part, block) in row.chunks_mut(each).zip(&mut blocks) {
                block.push(part);
            }
        }
        blocks.into_par_iter().enumerate().for_each_init(
            <[Scratch; 2]>::default,
            |[packed, products], (index, rows)| {
                let columns = index * each..columns.min((index + 1) * each);
                let shape = RightSide::new(depth, columns.len());
                let packed = packed.at_least(shape.len());
                for panel in shape.panels(packed) {
                    self.pack(panel, columns.start);
                }
                let products = products.at_least(rows.len() * columns.len());
                let target = Target {
                    values: products,
                    stride: columns.len(),
                    add: false,
                };
                shape.multiply(weight, packed, bias.map_or(Bias::None, Bias::Rows), target);
                for (row, products) in rows.into_iter().zip(products.chunks(columns.len())) {
                    row.copy_from_slice(products);
                }
            },
        );
    }
}
