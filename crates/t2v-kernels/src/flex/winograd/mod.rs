//! Winograd's minimal filtering: four outputs of a kernel of three from six products instead of twelve, and a 4x4 tile of
//! a 3x3 convolution from 36 instead of 144 ([Lavin and Gray, 2015](https://arxiv.org/abs/1509.09308)).
//!
//! A convolution is `output(kernel(g) * input(d))`: the three transforms are linear and cheap, and what lies between them
//! is one matrix product for each of the 6 or 36 points. The transforms interpolate at 0, ±2/3, ±3/2 and infinity rather
//! than at the usual 0, ±1, ±2: the matrices stay small, and with them the error, which is 1.5 times that of the
//! convolution itself in f32 instead of 3.2 times (measured with 320 channels).

mod operators;
mod plane;
mod time;
mod transforms;

use std::ops::Range;

use rayon::prelude::*;
use rten_simd::ops::NumOps;

use super::{
    MOST_LANES,
    buffer::Scratch,
    product::{Bias, GAP, Matrix, PackedRow, RightSide, Target},
    simd::run,
    weight::Weight,
};
use operators::{Input, Kernels, Output, Products, Transformed};

pub(super) use plane::Plane;
pub(super) use time::Time;

/// Inputs that give [`OUT`] outputs: the points of the transforms.
const POINTS: usize = 6;
/// Outputs of a tile along one dimension.
const OUT: usize = 4;
/// Taps of the kernel.
const TAPS: usize = 3;

/// Transforms read and write whole vectors, so rows need this much room after them.
const SLACK: usize = MOST_LANES;
/// Columns of the matrix products that are worked on together, while their operands stay in the cache.
const COLUMNS: usize = 256;
/// Input channels that a thread transforms at a time, at least.
const FEWEST_ROWS: usize = 8;
/// Output channels that a thread works on at a time.
const GROUP: usize = 32;
/// Elements of transformed kernels that are kept at most.
const KERNELS: usize = 1 << 24;

/// Images and what they are convolved with.
pub(super) struct Layer<'a> {
    /// One input, or several whose channels take turns: the first channel of each, then the second of each.
    pub(super) images: &'a [&'a [f32]],
    /// Channels of all inputs together.
    pub(super) channels: usize,
    /// A row for each output channel.
    pub(super) weight: &'a Weight,
    pub(super) bias: Option<&'a [f32]>,
}

impl Layer<'_> {
    /// A channel of an image, from its first pixel to the last of `area`.
    fn plane(&self, image: usize, channel: usize, area: usize) -> &[f32] {
        let inputs = self.images.len();
        let plane = image * (self.channels / inputs) + channel / inputs;
        &self.images[channel % inputs][plane * area..][..area]
    }
}

/// A convolution cut into strips of tiles that lie beside each other.
//
// What has `ops` is `inline(always)`, as all that is to have the vector instructions of the function it is called in.
pub(super) trait Strips: Sync {
    /// Matrix products.
    const PRODUCTS: usize;
    /// Taps of a kernel, between one input and one output channel.
    const KERNEL: usize;
    /// Input channels from which on the transforms cost less than what they save.
    const CHANNELS: usize;

    fn layer(&self) -> &Layer<'_>;

    /// How many strips there are, and how many columns of a matrix each one takes.
    fn size(&self) -> [usize; 2];

    /// Elements of a channel of an output image.
    fn area(&self) -> usize;

    /// The output images that these strips are parts of.
    fn images(&self, strips: &Range<usize>) -> Range<usize>;

    /// Transforms an input channel of these strips to a row of the right side of each product.
    fn input<O: NumOps<f32>>(&self, ops: O, channel: usize, strips: Range<usize>, room: &mut Scratch, out: PackedRow);

    /// Transforms the kernels of as many input channels as a vector has elements, from their `taps`, to the columns from
    /// `column` on.
    fn kernels<O: NumOps<f32>>(&self, ops: O, taps: &[[f32; SLACK]], column: usize, out: &mut Transformed);

    /// Writes these strips of an output channel, of which `planes` has all [`Strips::images`].
    fn output<O: NumOps<f32>>(
        &self,
        ops: O,
        strips: Range<usize>,
        bias: f32,
        products: Products,
        room: &mut Scratch,
        planes: &mut [&mut [f32]],
    );
}

/// Whether the transforms cost less than the multiplications that they save: measured at the sizes of `benches/operators`.
pub(super) fn is_faster<S: Strips>(strips: &S) -> bool {
    let [count, width] = strips.size();
    let columns = count * width;
    if strips.layer().channels < S::CHANNELS || columns < 16 {
        return false;
    }
    let outputs = strips.images(&(0..count)).len() * strips.area();
    3 * S::PRODUCTS * columns <= 2 * outputs * S::KERNEL
}

/// Convolves into `out`.
pub(super) fn convolve<S: Strips>(strips: &S, out: &mut [f32]) {
    let convolution = Convolution::new(strips);
    let in_channels = strips.layer().channels;
    let [count, width] = strips.size();
    let (at_once, points) = (convolution.at_once, S::PRODUCTS);
    let mut packed = Scratch::new(points * RightSide::new(in_channels, at_once * width).stride());
    for first in (0..count).step_by(at_once) {
        let block = first..count.min(first + at_once);
        let shape = RightSide::new(in_channels, block.len() * width);
        convolution.pack_inputs(&block, shape, &mut packed);
        convolution.multiply(&block, shape, &packed, out);
    }
}

/// A convolution under way.
struct Convolution<'s, S> {
    strips: &'s S,
    /// Strips that are worked on together.
    at_once: usize,
    /// Transformed kernels of all output channels, where they are used again and aren't too many; others are transformed
    /// when they are used.
    kernels: Option<Scratch>,
}

impl<'s, S: Strips> Convolution<'s, S> {
    fn new(strips: &'s S) -> Self {
        let out_channels = strips.layer().weight.rows();
        let [count, width] = strips.size();
        let mut convolution = Self {
            strips,
            at_once: (COLUMNS / width).clamp(1, count),
            kernels: None,
        };
        let (each, is_used_again) = (convolution.kernels_len(), convolution.at_once < count);
        if is_used_again && each * out_channels <= KERNELS {
            let mut kernels = Scratch::new(each * out_channels);
            kernels
                .par_chunks_mut(each)
                .enumerate()
                .for_each_init(Scratch::default, |room, (channel, out)| {
                    convolution.transform_kernels(channel, room, out);
                });
            convolution.kernels = Some(kernels);
        }
        convolution
    }

    /// Elements of a point's transformed kernels of an output channel, with what is left free after them.
    fn depth(&self) -> usize {
        self.strips.layer().channels + SLACK
    }

    /// Elements of the transformed kernels of an output channel.
    fn kernels_len(&self) -> usize {
        S::PRODUCTS * self.depth()
    }

    /// Transforms the kernels of output channels from `first` on, as many as `out` has room for.
    fn transform_kernels(&self, first: usize, room: &mut Scratch, out: &mut [f32]) {
        for (index, values) in out.chunks_mut(self.kernels_len()).enumerate() {
            run(Kernels {
                strips: self.strips,
                weight: self.strips.layer().weight.row(first + index, room),
                out: Transformed {
                    values,
                    stride: self.depth(),
                },
            });
        }
    }

    /// Transforms the input of a block of strips and packs it: a right side of this shape for each point.
    fn pack_inputs(&self, block: &Range<usize>, shape: RightSide, packed: &mut [f32]) {
        let rows = shape.rows(packed, S::PRODUCTS).into_par_iter().enumerate();
        rows.with_min_len(FEWEST_ROWS)
            .for_each_init(Scratch::default, |room, (channel, out)| {
                run(Input {
                    strips: self.strips,
                    channel,
                    block: block.clone(),
                    room,
                    out,
                });
            });
    }

    /// Multiplies what is packed of a block of strips with all kernels, and writes the output.
    fn multiply(&self, block: &Range<usize>, shape: RightSide, packed: &[f32], out: &mut [f32]) {
        let out_channels = self.strips.layer().weight.rows();
        let images = self.strips.images(block);
        let image = out_channels * self.strips.area();
        let mut planes: Vec<Vec<&mut [f32]>> = Vec::new();
        planes.resize_with(out_channels, || Vec::with_capacity(images.len()));
        for (index, plane) in out[images.start * image..images.end * image]
            .chunks_mut(self.strips.area())
            .enumerate()
        {
            planes[index % out_channels].push(plane);
        }
        let group = out_channels.div_ceil(2 * rayon::current_num_threads()).clamp(4, GROUP);
        planes
            .par_chunks_mut(group)
            .enumerate()
            .for_each_init(<[Scratch; 3]>::default, |room, (index, planes)| {
                self.multiply_group(block, index * group, shape, packed, planes, room)
            });
    }

    /// As [`multiply`](Self::multiply), for the output channels from `first` on whose `planes` are given.
    fn multiply_group(
        &self,
        block: &Range<usize>,
        first: usize,
        shape: RightSide,
        packed: &[f32],
        planes: &mut [Vec<&mut [f32]>],
        [room, kernels, products]: &mut [Scratch; 3],
    ) {
        let (rows, columns, len) = (planes.len(), shape.columns(), self.kernels_len());
        let kernels = match &self.kernels {
            Some(kernels) => &kernels[first * len..][..rows * len],
            None => {
                let kernels = kernels.at_least(rows * len);
                self.transform_kernels(first, room, kernels);
                &*kernels
            }
        };
        // What is left free keeps the products of a channel from being in the same places of the cache.
        let stride = rows * columns + GAP;
        let products = products.at_least(S::PRODUCTS * stride);
        let targets = products.chunks_mut(stride).zip(packed.chunks(shape.stride()));
        for (point, (values, packed)) in targets.enumerate().take(S::PRODUCTS) {
            let in_channels = self.strips.layer().channels;
            let kernels = Matrix::new(&kernels[point * self.depth()..], [rows, in_channels], [len, 1]);
            let out = Target {
                values,
                stride: columns,
                add: false,
            };
            shape.multiply(kernels, packed, Bias::None, out);
        }
        for (row, planes) in planes.iter_mut().enumerate() {
            run(Output {
                strips: self.strips,
                block: block.clone(),
                bias: self.strips.layer().bias.map_or(0.0, |bias| bias[first + row]),
                products: Products {
                    values: &products[row * columns..],
                    stride,
                },
                room,
                planes,
            });
        }
    }
}
