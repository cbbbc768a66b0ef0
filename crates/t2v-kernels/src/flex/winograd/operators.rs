//! What a convolution does with vectors, the same for all strips.

use std::ops::Range;

use rten_simd::{
    Isa, SimdOp,
    ops::{BitOps, NumOps},
};

use super::{
    super::{buffer::Scratch, product::PackedRow},
    POINTS, SLACK, Strips, TAPS,
};

/// Where transformed kernels go: a row for each point, which are `stride` elements apart.
pub(in super::super) struct Transformed<'a> {
    pub(super) values: &'a mut [f32],
    pub(super) stride: usize,
}

impl Transformed<'_> {
    /// Stores the vectors of neighbouring points, from `first` on, at `column`.
    #[inline(always)]
    pub(super) fn store<O: NumOps<f32>>(&mut self, ops: O, first: usize, column: usize, points: [O::Simd; POINTS]) {
        for (point, value) in points.into_iter().enumerate() {
            ops.store(value, &mut self.values[(first + point) * self.stride + column..]);
        }
    }
}

/// What is written of an output channel: a row for each point, which are `stride` elements apart.
#[derive(Clone, Copy)]
pub(in super::super) struct Products<'a> {
    pub(super) values: &'a [f32],
    pub(super) stride: usize,
}

impl Products<'_> {
    /// The vectors at `column` of points that are `step` apart, from `first` on.
    #[inline(always)]
    pub(super) fn load<O: NumOps<f32>>(&self, ops: O, first: usize, step: usize, column: usize) -> [O::Simd; POINTS] {
        let mut products = [ops.zero(); POINTS];
        for (index, product) in products.iter_mut().enumerate() {
            *product = ops.load(&self.values[(first + index * step) * self.stride + column..]);
        }
        products
    }
}

/// [`Strips::input`] of a block of strips.
pub(super) struct Input<'a, S> {
    pub(super) strips: &'a S,
    pub(super) channel: usize,
    pub(super) block: Range<usize>,
    pub(super) room: &'a mut Scratch,
    pub(super) out: PackedRow<'a>,
}

impl<S: Strips> SimdOp for Input<'_, S> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        self.strips
            .input(isa.f32(), self.channel, self.block, self.room, self.out);
    }
}

/// [`Strips::kernels`] of all input channels.
pub(super) struct Kernels<'a, S> {
    pub(super) strips: &'a S,
    /// `[in, taps]`.
    pub(super) weight: &'a [f32],
    pub(super) out: Transformed<'a>,
}

impl<S: Strips> SimdOp for Kernels<'_, S> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(mut self, isa: I) {
        let ops = isa.f32();
        let mut taps = [[0.0; SLACK]; TAPS * TAPS];
        for (block, weight) in self.weight.chunks(S::KERNEL * ops.len()).enumerate() {
            for (channel, weight) in weight.chunks_exact(S::KERNEL).enumerate() {
                for (taps, &weight) in taps.iter_mut().zip(weight) {
                    taps[channel] = weight;
                }
            }
            self.strips.kernels(ops, &taps, block * ops.len(), &mut self.out);
        }
    }
}

/// [`Strips::output`] of a block of strips.
pub(super) struct Output<'a, 'p, S> {
    pub(super) strips: &'a S,
    pub(super) block: Range<usize>,
    pub(super) bias: f32,
    pub(super) products: Products<'a>,
    pub(super) room: &'a mut Scratch,
    pub(super) planes: &'a mut [&'p mut [f32]],
}

impl<S: Strips> SimdOp for Output<'_, '_, S> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        self.strips
            .output(isa.f32(), self.block, self.bias, self.products, self.room, self.planes);
    }
}
