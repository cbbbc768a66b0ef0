//! 3x3 convolutions with stride 1, in tiles of 4x4 outputs. A strip is a row of tiles.

use std::ops::Range;

use rten_simd::ops::NumOps;

use super::{
    super::{
        buffer::Scratch,
        product::{GAP, PackedRow, copy_run},
    },
    Layer, OUT, POINTS, SLACK, Strips, TAPS,
    operators::{Products, Transformed},
    transforms::{input, kernel, output},
};

/// Images `[batch, channels, height, width]` and their kernels `[out, in, 3, 3]`.
pub(in super::super) struct Plane<'a> {
    pub(in super::super) layer: Layer<'a>,
    pub(in super::super) batch: usize,
    /// Height and width of the input.
    pub(in super::super) size: [usize; 2],
    /// Height and width of the output.
    pub(in super::super) out_size: [usize; 2],
    /// Zeros above, and to the left.
    pub(in super::super) before: [usize; 2],
}

impl Plane<'_> {
    /// Tiles below and beside each other.
    fn tiles(&self) -> [usize; 2] {
        self.out_size.map(|size| size.div_ceil(OUT))
    }
}

/// Row `y` of a tile that is stored by columns.
#[inline(always)]
fn row<V: Copy, const Y: usize, const X: usize>(tile: &[[V; Y]; X], y: usize) -> [V; X] {
    let mut row = [tile[0][y]; X];
    for (value, column) in row.iter_mut().zip(tile) {
        *value = column[y];
    }
    row
}

/// Deals the pixels of a row to four lines, `stride` elements apart, one after the other.
#[inline(always)]
fn deal(row: &[f32], lines: &mut [f32], stride: usize, columns: Range<usize>) {
    let [a, b, c, d] = std::array::from_fn(|line| line * stride + columns.start..line * stride + columns.end);
    let Ok([a, b, c, d]) = lines.get_disjoint_mut([a, b, c, d]) else {
        unreachable!("lines lie beside each other");
    };
    let quads = row.as_chunks::<OUT>().0;
    for ((((quad, a), b), c), d) in quads.iter().zip(a).zip(b).zip(c).zip(d) {
        [*a, *b, *c, *d] = *quad;
    }
}

/// Makes a row of pixels of those of four lines, `stride` elements apart, one after the other.
#[inline(always)]
fn gather(lines: &[f32], stride: usize, row: &mut [f32]) {
    let (quads, rest) = row.as_chunks_mut::<OUT>();
    let [a, b, c, d] = std::array::from_fn(|line| &lines[line * stride..][..quads.len()]);
    for ((((quad, a), b), c), d) in quads.iter_mut().zip(a).zip(b).zip(c).zip(d) {
        *quad = [*a, *b, *c, *d];
    }
    let last = quads.len();
    for (line, pixel) in rest.iter_mut().enumerate() {
        *pixel = lines[line * stride + last];
    }
}

impl Strips for Plane<'_> {
    const PRODUCTS: usize = POINTS * POINTS;
    const KERNEL: usize = TAPS * TAPS;
    const CHANNELS: usize = 24;

    fn layer(&self) -> &Layer<'_> {
        &self.layer
    }

    fn size(&self) -> [usize; 2] {
        let [rows, columns] = self.tiles();
        [self.batch * rows, columns]
    }

    fn area(&self) -> usize {
        self.out_size[0] * self.out_size[1]
    }

    fn images(&self, strips: &Range<usize>) -> Range<usize> {
        let [rows, _] = self.tiles();
        strips.start / rows..strips.end.div_ceil(rows)
    }

    #[inline(always)]
    fn input<O: NumOps<f32>>(
        &self,
        ops: O,
        channel: usize,
        strips: Range<usize>,
        room: &mut Scratch,
        mut out: PackedRow,
    ) {
        let [rows, columns] = self.tiles();
        let ([height, width], [top, left]) = (self.size, self.before);
        let all = strips.len() * columns;
        // The pixels of all tiles that are at the same place of theirs, for each of the places.
        let stride = all.next_multiple_of(ops.len()) + GAP;
        let line = (OUT * columns + POINTS - OUT).max(left + width);
        let (places, padded) = room
            .at_least(POINTS * POINTS * stride + line)
            .split_at_mut(POINTS * POINTS * stride);
        padded.fill(0.0);
        for (index, strip) in strips.enumerate() {
            let image = self.layer.plane(strip / rows, channel, height * width);
            // The first rows of these tiles are the last ones of the tiles above.
            let known = if index > 0 && strip % rows > 0 { POINTS - OUT } else { 0 };
            let (upper, lower) = places.split_at_mut(OUT * POINTS * stride);
            let lines = upper.chunks_exact_mut(stride).zip(lower.chunks_exact(stride));
            for (line, above) in lines.take(known * POINTS) {
                copy_run(
                    &above[(index - 1) * columns..][..columns],
                    &mut line[index * columns..][..columns],
                );
            }
            for y in known..POINTS {
                match (strip % rows * OUT + y).checked_sub(top).filter(|&y| y < height) {
                    Some(y) => copy_run(&image[y * width..][..width], &mut padded[left..left + width]),
                    None => padded[left..left + width].fill(0.0),
                }
                let (first, last) = places[y * POINTS * stride..][..POINTS * stride].split_at_mut(OUT * stride);
                deal(padded, first, stride, index * columns..(index + 1) * columns);
                // The last pixels of a tile are the first ones of the tile beside it.
                for (x, last) in last.chunks_exact_mut(stride).enumerate() {
                    let last = &mut last[index * columns..][..columns];
                    let next = &first[x * stride + index * columns..][..columns];
                    copy_run(&next[1..], &mut last[..columns - 1]);
                    last[columns - 1] = padded[OUT * columns + x];
                }
            }
        }
        for column in (0..all).step_by(ops.len()) {
            let mut tile = [[ops.zero(); POINTS]; POINTS];
            for (x, points) in tile.iter_mut().enumerate() {
                let mut pixels = [ops.zero(); POINTS];
                for (y, pixel) in pixels.iter_mut().enumerate() {
                    *pixel = ops.load(&places[(y * POINTS + x) * stride + column..]);
                }
                *points = input(ops, pixels);
            }
            let mut out = out.at(column, ops.len());
            for y in 0..POINTS {
                out.store(ops, y * POINTS, input(ops, row(&tile, y)));
            }
        }
    }

    #[inline(always)]
    fn kernels<O: NumOps<f32>>(&self, ops: O, taps: &[[f32; SLACK]], column: usize, out: &mut Transformed) {
        let mut tile = [[ops.zero(); POINTS]; TAPS];
        for (x, points) in tile.iter_mut().enumerate() {
            let [top, middle, bottom] = [&taps[x], &taps[TAPS + x], &taps[2 * TAPS + x]];
            *points = kernel(ops, [ops.load(top), ops.load(middle), ops.load(bottom)]);
        }
        for y in 0..POINTS {
            out.store(ops, y * POINTS, column, kernel(ops, row(&tile, y)));
        }
    }

    #[inline(always)]
    fn output<O: NumOps<f32>>(
        &self,
        ops: O,
        strips: Range<usize>,
        bias: f32,
        products: Products,
        room: &mut Scratch,
        planes: &mut [&mut [f32]],
    ) {
        let bias = ops.splat(bias);
        let [rows, columns] = self.tiles();
        let width = self.out_size[1];
        let together = (ops.len() / columns).max(1);
        // The pixels of all tiles that are at the same place of theirs, for each of the places.
        let stride = (together * columns).next_multiple_of(ops.len());
        let places = room.at_least(OUT * OUT * stride);
        let (first_image, count) = (strips.start / rows, strips.len());
        for first in (0..count).step_by(together) {
            let together = together.min(count - first);
            for column in (0..together * columns).step_by(ops.len()) {
                let start = first * columns + column;
                let mut tile = [[ops.zero(); OUT]; POINTS];
                for (x, column) in tile.iter_mut().enumerate() {
                    *column = output(ops, products.load(ops, x, POINTS, start));
                }
                for y in 0..OUT {
                    let pixels = output(ops, row(&tile, y));
                    for (x, pixel) in pixels.into_iter().enumerate() {
                        let start = (y * OUT + x) * stride + column;
                        ops.store(ops.add(pixel, bias), &mut places[start..]);
                    }
                }
            }
            for index in 0..together {
                let strip = strips.start + first + index;
                let plane = &mut planes[strip / rows - first_image];
                let lines = plane.chunks_exact_mut(width).skip(strip % rows * OUT);
                for (line, places) in lines.zip(places.chunks_exact(OUT * stride)) {
                    gather(&places[index * columns..], stride, line);
                }
            }
        }
    }
}
