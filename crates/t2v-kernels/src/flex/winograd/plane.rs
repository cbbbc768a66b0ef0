//! 3x3 convolutions with stride 1, in tiles of 4x4 outputs. A strip is a row of tiles.

use std::ops::Range;

use rten_simd::ops::NumOps;

use super::{
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

impl Strips for Plane<'_> {
    const PRODUCTS: usize = POINTS * POINTS;
    const KERNEL: usize = TAPS * TAPS;

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
    fn input<O: NumOps<f32>>(&self, ops: O, channel: usize, strips: Range<usize>, mut out: Transformed) {
        let [rows, columns] = self.tiles();
        let ([height, width], [top, left]) = (self.size, self.before);
        let together = (ops.len() / columns).max(1);
        // The pixels of all tiles that are at the same place of theirs, for each of the places.
        let room = (together * columns).next_multiple_of(ops.len());
        let mut places = vec![0.0; POINTS * POINTS * room];
        let mut padded = vec![0.0; (OUT * columns + POINTS - OUT).max(left + width)];
        let count = strips.len();
        for first in (0..count).step_by(together) {
            let together = together.min(count - first);
            for index in 0..together {
                let strip = strips.start + first + index;
                let image = self.layer.plane(strip / rows, channel, height * width);
                for (y, places) in places.chunks_exact_mut(POINTS * room).enumerate() {
                    let row = (strip % rows * OUT + y).checked_sub(top).filter(|&y| y < height);
                    match row {
                        Some(y) => padded[left..left + width].copy_from_slice(&image[y * width..][..width]),
                        None => padded[left..left + width].fill(0.0),
                    }
                    for (x, places) in places.chunks_exact_mut(room).enumerate() {
                        let pixels = padded[x..].iter().step_by(OUT);
                        let places = places[index * columns..][..columns].iter_mut();
                        places.zip(pixels).for_each(|(place, pixel)| *place = *pixel);
                    }
                }
            }
            for column in (0..together * columns).step_by(ops.len()) {
                let mut tile = [[ops.zero(); POINTS]; POINTS];
                for (x, points) in tile.iter_mut().enumerate() {
                    let mut pixels = [ops.zero(); POINTS];
                    for (y, pixel) in pixels.iter_mut().enumerate() {
                        *pixel = ops.load(&places[(y * POINTS + x) * room + column..]);
                    }
                    *points = input(ops, pixels);
                }
                for y in 0..POINTS {
                    let points = input(ops, row(&tile, y));
                    out.store(ops, y * POINTS, first * columns + column, points);
                }
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
        planes: &mut [&mut [f32]],
    ) {
        let bias = ops.splat(bias);
        let [rows, columns] = self.tiles();
        let width = self.out_size[1];
        let together = (ops.len() / columns).max(1);
        // The pixels of all tiles that are at the same place of theirs, for each of the places.
        let room = (together * columns).next_multiple_of(ops.len());
        let mut places = vec![0.0; OUT * OUT * room];
        let mut padded = vec![0.0; OUT * columns];
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
                        let start = (y * OUT + x) * room + column;
                        ops.store(ops.add(pixel, bias), &mut places[start..]);
                    }
                }
            }
            for index in 0..together {
                let strip = strips.start + first + index;
                let plane = &mut planes[strip / rows - first_image];
                let lines = plane.chunks_exact_mut(width).skip(strip % rows * OUT);
                for (line, places) in lines.zip(places.chunks_exact(OUT * room)) {
                    let [a, b, c, d] = std::array::from_fn(|x| &places[x * room + index * columns..][..columns]);
                    for (quad, (((a, b), c), d)) in padded.chunks_exact_mut(OUT).zip(a.iter().zip(b).zip(c).zip(d)) {
                        quad.copy_from_slice(&[*a, *b, *c, *d]);
                    }
                    line.copy_from_slice(&padded[..width]);
                }
            }
        }
    }
}
