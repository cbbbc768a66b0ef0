//! Convolutions of three frames, in tiles of four. A strip is the pixels of one tile.

use std::ops::Range;

use rten_simd::{
    Isa, SimdOp,
    ops::{BitOps, NumOps},
};

use super::{
    super::{buffer::Scratch, weight::Weight},
    OUT, POINTS, Products, SLACK, Strips, TAPS, Transformed, input, kernel, output,
};

/// Frames `[clips * frames, channels, area]` and what they are convolved with, with a zero before and after each clip.
pub(in super::super) struct Time<'a> {
    pub(in super::super) images: &'a [f32],
    pub(in super::super) clips: usize,
    pub(in super::super) frames: usize,
    /// Channels of the input, and of the output.
    pub(in super::super) channels: [usize; 2],
    /// Pixels of a frame.
    pub(in super::super) area: usize,
    /// `[out, in, 3]`.
    pub(in super::super) weight: &'a Weight,
    pub(in super::super) bias: Option<&'a [f32]>,
}

impl Time<'_> {
    /// Tiles of a clip.
    fn tiles(&self) -> usize {
        self.frames.div_ceil(OUT)
    }
}

impl Strips for Time<'_> {
    const PRODUCTS: usize = POINTS;

    fn channels(&self) -> [usize; 2] {
        self.channels
    }

    fn size(&self) -> [usize; 2] {
        [self.clips * self.tiles(), self.area]
    }

    fn multiplications(&self) -> usize {
        self.clips * self.frames * self.area * TAPS
    }

    fn input(&self, channel: usize, strips: Range<usize>, out: Transformed) {
        Input {
            time: self,
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
        self.area
    }

    fn images(&self, strips: &Range<usize>) -> Range<usize> {
        let frame = |strip| strip / self.tiles() * self.frames + strip % self.tiles() * OUT;
        frame(strips.start)..frame(strips.end)
    }

    fn output(&self, strips: Range<usize>, channel: usize, products: Products, planes: &mut [&mut [f32]]) {
        Output {
            time: self,
            products,
            strips,
            bias: self.bias.map_or(0.0, |bias| bias[channel]),
            planes,
        }
        .dispatch();
    }
}

struct Input<'a> {
    time: &'a Time<'a>,
    channel: usize,
    strips: Range<usize>,
    out: Transformed<'a>,
}

impl SimdOp for Input<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        let ops = isa.f32();
        let time = self.time;
        for (index, strip) in self.strips.enumerate() {
            let (clip, tile) = (strip / time.tiles(), strip % time.tiles());
            let frames: [&[f32]; POINTS] = std::array::from_fn(|point| {
                let frame = (tile * OUT + point).checked_sub(1).filter(|&frame| frame < time.frames);
                frame.map_or(&[][..], |frame| {
                    let plane = (clip * time.frames + frame) * time.channels[0] + self.channel;
                    &time.images[plane * time.area..][..time.area]
                })
            });
            for pixel in (0..time.area).step_by(ops.len()) {
                let mut values = [ops.zero(); POINTS];
                for (value, frame) in values.iter_mut().zip(&frames) {
                    // Emulators read from an empty slice, too.
                    if let Some(pixels @ [_, ..]) = frame.get(pixel..) {
                        *value = ops.load_pad(pixels).0;
                    }
                }
                for (point, value) in input(ops, values).into_iter().enumerate() {
                    let start = point * self.out.stride + index * time.area + pixel;
                    ops.store(value, &mut self.out.values[start..]);
                }
            }
        }
    }
}

struct Kernels<'a> {
    /// `[in, 3]`.
    weight: &'a [f32],
    out: Transformed<'a>,
}

impl SimdOp for Kernels<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        let ops = isa.f32();
        let mut taps = [[0.0; SLACK]; TAPS];
        for (block, weight) in self.weight.chunks(TAPS * ops.len()).enumerate() {
            for (channel, weight) in weight.chunks_exact(TAPS).enumerate() {
                for (taps, &weight) in taps.iter_mut().zip(weight) {
                    taps[channel] = weight;
                }
            }
            let [before, here, after] = &taps;
            let points = kernel(ops, [ops.load(before), ops.load(here), ops.load(after)]);
            for (point, value) in points.into_iter().enumerate() {
                let start = point * self.out.stride + block * ops.len();
                ops.store(value, &mut self.out.values[start..]);
            }
        }
    }
}

struct Output<'a, 'p> {
    time: &'a Time<'a>,
    products: Products<'a>,
    strips: Range<usize>,
    bias: f32,
    /// A channel of the frames that the strips are.
    planes: &'a mut [&'p mut [f32]],
}

impl SimdOp for Output<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        let ops = isa.f32();
        let time = self.time;
        let bias = ops.splat(self.bias);
        let mut last = [0.0; SLACK];
        let mut planes = self.planes;
        for (index, strip) in self.strips.enumerate() {
            let len = OUT.min(time.frames - strip % time.tiles() * OUT);
            let (frames, rest) = planes.split_at_mut(len);
            planes = rest;
            for pixel in (0..time.area).step_by(ops.len()) {
                let len = ops.len().min(time.area - pixel);
                let mut products = [ops.zero(); POINTS];
                for (point, product) in products.iter_mut().enumerate() {
                    *product = ops.load(self.products.from(point, index * time.area + pixel));
                }
                for (frame, value) in frames.iter_mut().zip(output(ops, products)) {
                    let out = &mut frame[pixel..][..len];
                    let value = ops.add(value, bias);
                    if len == ops.len() {
                        ops.store(value, out);
                    } else {
                        ops.store(value, &mut last);
                        out.copy_from_slice(&last[..len]);
                    }
                }
            }
        }
    }
}
