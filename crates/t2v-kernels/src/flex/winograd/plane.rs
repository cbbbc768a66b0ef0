//! 3x3 convolutions with stride 1, in tiles of 4x4 outputs. A strip is a row of tiles.

use std::ops::Range;

use rten_simd::{
    Isa, SimdOp,
    ops::{BitOps, NumOps},
};

use super::{
    super::{buffer::Scratch, weight::Weight},
    OUT, POINTS, Products, SLACK, Strips, TAPS, Transformed, input, kernel, output,
};

/// Images `[batch, channels, height, width]` and what they are convolved with.
pub(in super::super) struct Plane<'a> {
    pub(in super::super) images: &'a [f32],
    pub(in super::super) batch: usize,
    /// Channels of the input, and of the output.
    pub(in super::super) channels: [usize; 2],
    /// Height and width of the input.
    pub(in super::super) size: [usize; 2],
    /// Height and width of the output.
    pub(in super::super) out_size: [usize; 2],
    /// Zeros above, and to the left.
    pub(in super::super) before: [usize; 2],
    /// `[out, in, 3, 3]`.
    pub(in super::super) weight: &'a Weight,
    pub(in super::super) bias: Option<&'a [f32]>,
}

impl Plane<'_> {
    /// Tiles below and beside each other.
    fn tiles(&self) -> [usize; 2] {
        self.out_size.map(|size| size.div_ceil(OUT))
    }
}

impl Strips for Plane<'_> {
    const PRODUCTS: usize = POINTS * POINTS;

    fn channels(&self) -> [usize; 2] {
        self.channels
    }

    fn size(&self) -> [usize; 2] {
        let [rows, columns] = self.tiles();
        [self.batch * rows, columns]
    }

    fn multiplications(&self) -> usize {
        self.batch * self.out_size[0] * self.out_size[1] * TAPS * TAPS
    }

    fn input(&self, channel: usize, strips: Range<usize>, out: Transformed) {
        Input {
            plane: self,
            channel,
            strips,
            out,
        }
        .dispatch();
    }

    fn kernels(&self, channel: usize, room: &mut Scratch, out: Transformed) {
        let weight = self.weight.row(channel, room);
        Kernels { weight, out }.dispatch();
    }

    fn area(&self) -> usize {
        self.out_size[0] * self.out_size[1]
    }

    fn images(&self, strips: &Range<usize>) -> Range<usize> {
        let [rows, _] = self.tiles();
        strips.start / rows..strips.end.div_ceil(rows)
    }

    fn output(&self, strips: Range<usize>, channel: usize, products: Products, planes: &mut [&mut [f32]]) {
        Output {
            plane: self,
            products,
            strips,
            bias: self.bias.map_or(0.0, |bias| bias[channel]),
            planes,
        }
        .dispatch();
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

struct Input<'a> {
    plane: &'a Plane<'a>,
    channel: usize,
    strips: Range<usize>,
    out: Transformed<'a>,
}

impl SimdOp for Input<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        let ops = isa.f32();
        let plane = self.plane;
        let [rows, columns] = plane.tiles();
        let ([height, width], [top, left]) = (plane.size, plane.before);
        let together = (ops.len() / columns).max(1);
        // The pixels of all tiles that are at the same place of theirs, for each of the places.
        let room = (together * columns).next_multiple_of(ops.len());
        let mut places = vec![0.0; POINTS * POINTS * room];
        let mut padded = vec![0.0; (OUT * columns + POINTS - OUT).max(left + width)];
        let count = self.strips.len();
        for first in (0..count).step_by(together) {
            let together = together.min(count - first);
            for index in 0..together {
                let strip = self.strips.start + first + index;
                let image = &plane.images[(strip / rows * plane.channels[0] + self.channel) * height * width..];
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
                    for (x, point) in points.into_iter().enumerate() {
                        let start = (y * POINTS + x) * self.out.stride + first * columns + column;
                        ops.store(point, &mut self.out.values[start..]);
                    }
                }
            }
        }
    }
}

struct Kernels<'a> {
    /// `[in, 3, 3]`.
    weight: &'a [f32],
    out: Transformed<'a>,
}

impl SimdOp for Kernels<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        let ops = isa.f32();
        let mut taps = [[0.0; SLACK]; TAPS * TAPS];
        for (block, weight) in self.weight.chunks(TAPS * TAPS * ops.len()).enumerate() {
            for (channel, weight) in weight.chunks_exact(TAPS * TAPS).enumerate() {
                for (taps, &weight) in taps.iter_mut().zip(weight) {
                    taps[channel] = weight;
                }
            }
            let mut tile = [[ops.zero(); POINTS]; TAPS];
            for (x, column) in tile.iter_mut().enumerate() {
                let [top, middle, bottom] = [&taps[x], &taps[TAPS + x], &taps[2 * TAPS + x]];
                *column = kernel(ops, [ops.load(top), ops.load(middle), ops.load(bottom)]);
            }
            for y in 0..POINTS {
                let points = kernel(ops, row(&tile, y));
                for (x, point) in points.into_iter().enumerate() {
                    let start = (y * POINTS + x) * self.out.stride + block * ops.len();
                    ops.store(point, &mut self.out.values[start..]);
                }
            }
        }
    }
}

struct Output<'a, 'p> {
    plane: &'a Plane<'a>,
    products: Products<'a>,
    strips: Range<usize>,
    bias: f32,
    /// A channel of the images that the strips are parts of.
    planes: &'a mut [&'p mut [f32]],
}

impl SimdOp for Output<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        let ops = isa.f32();
        let bias = ops.splat(self.bias);
        let [rows, columns] = self.plane.tiles();
        let width = self.plane.out_size[1];
        let together = (ops.len() / columns).max(1);
        // The pixels of all tiles that are at the same place of theirs, for each of the places.
        let room = (together * columns).next_multiple_of(ops.len());
        let mut places = vec![0.0; OUT * OUT * room];
        let mut padded = vec![0.0; OUT * columns];
        let (first_image, count) = (self.strips.start / rows, self.strips.len());
        for first in (0..count).step_by(together) {
            let together = together.min(count - first);
            for column in (0..together * columns).step_by(ops.len()) {
                let start = first * columns + column;
                let mut tile = [[ops.zero(); OUT]; POINTS];
                for (x, column) in tile.iter_mut().enumerate() {
                    let mut products = [ops.zero(); POINTS];
                    for (y, product) in products.iter_mut().enumerate() {
                        *product = ops.load(self.products.from(y * POINTS + x, start));
                    }
                    *column = output(ops, products);
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
                let strip = self.strips.start + first + index;
                let plane = &mut self.planes[strip / rows - first_image];
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
