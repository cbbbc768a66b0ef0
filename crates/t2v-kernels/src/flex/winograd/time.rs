//! Convolutions of three frames, in tiles of four. A strip is the pixels of one tile, filled up to whole vectors.

use std::ops::Range;

use rten_simd::ops::NumOps;

use super::{
    super::{buffer::Scratch, product::PackedRow, simd::lanes, store_part},
    Layer, OUT, POINTS, SLACK, Strips, TAPS,
    operators::{Products, Transformed},
    transforms::{input, kernel, output},
};

/// Frames `[clips * frames, channels, area]` and their kernels `[out, in, 3]`, with a zero before and after each clip.
pub(in super::super) struct Time<'a> {
    pub(in super::super) layer: Layer<'a>,
    pub(in super::super) clips: usize,
    pub(in super::super) frames: usize,
    /// Pixels of a frame.
    pub(in super::super) area: usize,
}

impl Time<'_> {
    /// Tiles of a clip.
    fn tiles(&self) -> usize {
        self.frames.div_ceil(OUT)
    }

    /// Columns of a strip.
    fn width(&self) -> usize {
        self.area.next_multiple_of(lanes())
    }
}

impl Strips for Time<'_> {
    const PRODUCTS: usize = POINTS;
    const KERNEL: usize = TAPS;
    const CHANNELS: usize = 64;

    fn layer(&self) -> &Layer<'_> {
        &self.layer
    }

    fn size(&self) -> [usize; 2] {
        [self.clips * self.tiles(), self.width()]
    }

    fn area(&self) -> usize {
        self.area
    }

    fn images(&self, strips: &Range<usize>) -> Range<usize> {
        let frame = |strip| strip / self.tiles() * self.frames + strip % self.tiles() * OUT;
        frame(strips.start)..frame(strips.end)
    }

    #[inline(always)]
    fn input<O: NumOps<f32>>(&self, ops: O, channel: usize, strips: Range<usize>, _: &mut Scratch, mut out: PackedRow) {
        let width = self.width();
        for (index, strip) in strips.enumerate() {
            let (clip, tile) = (strip / self.tiles(), strip % self.tiles());
            let frames: [&[f32]; POINTS] = std::array::from_fn(|point| {
                let frame = (tile * OUT + point).checked_sub(1).filter(|&frame| frame < self.frames);
                frame.map_or(&[][..], |frame| {
                    self.layer.plane(clip * self.frames + frame, channel, self.area)
                })
            });
            for pixel in (0..self.area).step_by(ops.len()) {
                let mut values = [ops.zero(); POINTS];
                for (value, frame) in values.iter_mut().zip(&frames) {
                    // Emulators read from an empty slice, too.
                    if let Some(pixels @ [_, ..]) = frame.get(pixel..) {
                        *value = ops.load_pad(pixels).0;
                    }
                }
                out.at(index * width + pixel, ops.len())
                    .store(ops, 0, input(ops, values));
            }
        }
    }

    #[inline(always)]
    fn kernels<O: NumOps<f32>>(&self, ops: O, taps: &[[f32; SLACK]], column: usize, out: &mut Transformed) {
        let [before, here, after] = [&taps[0], &taps[1], &taps[2]];
        let points = kernel(ops, [ops.load(before), ops.load(here), ops.load(after)]);
        out.store(ops, 0, column, points);
    }

    #[inline(always)]
    fn output<O: NumOps<f32>>(
        &self,
        ops: O,
        strips: Range<usize>,
        bias: f32,
        products: Products,
        _: &mut Scratch,
        mut planes: &mut [&mut [f32]],
    ) {
        let bias = ops.splat(bias);
        let width = self.width();
        for (index, strip) in strips.enumerate() {
            let len = OUT.min(self.frames - strip % self.tiles() * OUT);
            let (frames, rest) = planes.split_at_mut(len);
            planes = rest;
            for pixel in (0..self.area).step_by(ops.len()) {
                let len = ops.len().min(self.area - pixel);
                let products = products.load(ops, 0, 1, index * width + pixel);
                for (frame, value) in frames.iter_mut().zip(output(ops, products)) {
                    store_part(ops, ops.add(value, bias), &mut frame[pixel..][..len]);
                }
            }
        }
    }
}
