//! 3x3 convolutions with stride 1, in tiles of 4x4 outputs. A strip is a row of tiles.

use std::ops::Range;

use rayon::prelude::*;
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

    fn output(&self, strips: Range<usize>, channels: Range<usize>, products: Products, out: &mut [f32]) {
        let [rows, _] = self.tiles();
        let [height, width] = self.out_size;
        let (first_image, out_channels) = (strips.start / rows, self.channels[1]);
        let images = first_image..strips.end.div_ceil(rows);
        out[images.start * out_channels * height * width..images.end * out_channels * height * width]
            .par_chunks_mut(height * width)
            .enumerate()
            .for_each(|(index, out)| {
                let (image, channel) = (first_image + index / out_channels, index % out_channels);
                if channels.contains(&channel) {
                    Output {
                        plane: self,
                        products: &products,
                        channel: channel - channels.start,
                        first_strip: strips.start,
                        strips: strips.start.max(image * rows)..strips.end.min((image + 1) * rows),
                        bias: self.bias.map_or(0.0, |bias| bias[channel]),
                        out,
                    }
                    .dispatch();
                }
            });
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
        // Every fourth element of a row, from the first, second, third and fourth on: tiles begin four pixels apart, and
        // the last two pixels of one are the first of the next.
        let room = columns + 1 + SLACK;
        let mut phases = vec![0.0; POINTS * OUT * room];
        let mut padded = vec![0.0; (OUT * (columns + 1)).max(left + width)];
        for (index, strip) in self.strips.enumerate() {
            let image = &plane.images[(strip / rows * plane.channels[0] + self.channel) * height * width..];
            for (y, phases) in phases.chunks_exact_mut(OUT * room).enumerate() {
                match (strip % rows * OUT + y).checked_sub(top).filter(|&y| y < height) {
                    Some(y) => {
                        padded[left..left + width].copy_from_slice(&image[y * width..][..width]);
                        let (first, rest) = phases.split_at_mut(room);
                        let (second, rest) = rest.split_at_mut(room);
                        let (third, fourth) = rest.split_at_mut(room);
                        let phases = first.iter_mut().zip(second).zip(third.iter_mut().zip(fourth));
                        for (quad, ((a, b), (c, d))) in padded.chunks_exact(OUT).take(columns + 1).zip(phases) {
                            (*a, *b, *c, *d) = (quad[0], quad[1], quad[2], quad[3]);
                        }
                    }
                    None => phases.fill(0.0),
                }
            }
            for column in (0..columns).step_by(ops.len()) {
                let mut tile = [[ops.zero(); POINTS]; POINTS];
                for (x, points) in tile.iter_mut().enumerate() {
                    let mut pixels = [ops.zero(); POINTS];
                    for (y, pixel) in pixels.iter_mut().enumerate() {
                        let start = (y * OUT + x % OUT) * room + column + x / OUT;
                        *pixel = ops.load(&phases[start..]);
                    }
                    *points = input(ops, pixels);
                }
                for y in 0..POINTS {
                    let points = input(ops, row(&tile, y));
                    for (x, point) in points.into_iter().enumerate() {
                        let start = (y * POINTS + x) * self.out.stride + index * columns + column;
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

struct Output<'a> {
    plane: &'a Plane<'a>,
    products: &'a Products<'a>,
    /// Of the products.
    channel: usize,
    /// The strip with which the products begin.
    first_strip: usize,
    strips: Range<usize>,
    bias: f32,
    /// One channel of one image.
    out: &'a mut [f32],
}

impl SimdOp for Output<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        let ops = isa.f32();
        let bias = ops.splat(self.bias);
        let [rows, columns] = self.plane.tiles();
        let width = self.plane.out_size[1];
        let room = columns + SLACK;
        let mut phases = vec![0.0; OUT * OUT * room];
        let mut padded = vec![0.0; OUT * columns];
        for strip in self.strips {
            for column in (0..columns).step_by(ops.len()) {
                let start = (strip - self.first_strip) * columns + column;
                let mut tile = [[ops.zero(); OUT]; POINTS];
                for (x, column) in tile.iter_mut().enumerate() {
                    let mut products = [ops.zero(); POINTS];
                    for (y, product) in products.iter_mut().enumerate() {
                        *product = ops.load(self.products.from(y * POINTS + x, self.channel, start));
                    }
                    *column = output(ops, products);
                }
                for y in 0..OUT {
                    let pixels = output(ops, row(&tile, y));
                    for (x, pixel) in pixels.into_iter().enumerate() {
                        let start = (y * OUT + x) * room + column;
                        ops.store(ops.add(pixel, bias), &mut phases[start..]);
                    }
                }
            }
            let lines = self.out.chunks_exact_mut(width).skip(strip % rows * OUT);
            for (line, phases) in lines.zip(phases.chunks_exact(OUT * room)) {
                let [a, b, c, d] = std::array::from_fn(|x| &phases[x * room..][..columns]);
                for (quad, (((a, b), c), d)) in padded.chunks_exact_mut(OUT).zip(a.iter().zip(b).zip(c).zip(d)) {
                    quad.copy_from_slice(&[*a, *b, *c, *d]);
                }
                line.copy_from_slice(&padded[..width]);
            }
        }
    }
}
