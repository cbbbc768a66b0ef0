//! Convolutions as matrix products whose right side is packed straight from the image.

mod clips;
mod images;

use burn::{module::Param, tensor::Tensor};
use burn_flex::FlexTensor;
use rayon::prelude::*;
use rten_gemm::{BiasVector, ColOffsets, GemmExecutor, GemmInputA, GemmInputB, GemmOptions, Im2Col, RowOffsets};
use rten_tensor::{Matrix, MatrixLayout, NdTensorView};

use super::{buffer::Scratch, elements, parameter, weight::Weight, winograd::Layer};

pub(crate) use clips::conv_time;
pub(crate) use images::{conv2d, conv2d_turns};

/// An image of fewer pixels is small: several are multiplied at once, since alone they don't fill a tile of the product.
const SMALL_IMAGE: usize = 32;

/// A matrix in a buffer, if it lies within it.
fn matrix(data: &[f32], shape: [usize; 2], strides: [usize; 2]) -> Option<Matrix<'_>> {
    Matrix::from_slice_with_strides(shape, data, strides).ok()
}

/// How a kernel moves over one dimension of an image.
#[derive(Clone, Copy)]
struct Axis {
    /// Pixels, and elements from one to the next.
    size: usize,
    pixel: usize,
    kernel: usize,
    stride: usize,
    /// Zeros before the first pixel.
    before: usize,
}

impl Axis {
    /// Where in the image, in elements, the kernel begins for an output pixel.
    fn begin(&self, out: usize) -> i32 {
        ((out * self.stride) as i32 - self.before as i32) * self.pixel as i32
    }

    fn last(&self) -> i32 {
        ((self.size - 1) * self.pixel) as i32
    }
}

/// The patches of `image`, `channels` that are `channel` elements apart, for the output pixels `out` (rows, columns).
fn patches<'a>(
    gemm: &GemmExecutor,
    image: &'a [f32],
    [channels, channel]: [usize; 2],
    [y, x]: [Axis; 2],
    out: &[(usize, usize)],
) -> Option<Im2Col<'a, f32>> {
    let image =
        NdTensorView::from_slice_with_strides([channels, y.size, x.size], image, [channel, y.pixel, x.pixel]).ok()?;
    let n_rows = channels * y.kernel * x.kernel;
    let padded = |mut offsets: Vec<i32>, step: usize| {
        offsets.resize(offsets.len().next_multiple_of(step), i32::MAX);
        offsets
    };
    let row = |of: &dyn Fn(usize, usize, usize) -> usize| {
        let kernel = x.kernel * y.kernel;
        let offsets = (0..n_rows).map(|i| of(i / kernel, i / x.kernel % y.kernel, i % x.kernel) as i32);
        padded(offsets.collect(), gemm.im2col_row_count_step())
    };
    let column =
        |of: &dyn Fn(&(usize, usize)) -> i32| padded(out.iter().map(of).collect(), gemm.im2col_col_count_step());
    Some(Im2Col {
        image,
        row_offsets: RowOffsets {
            chan: row(&|c, _, _| c * channel),
            y: row(&|_, ky, _| ky * y.pixel),
            x: row(&|_, _, kx| kx * x.pixel),
        },
        col_offsets: ColOffsets {
            y: column(&|&(row, _)| y.begin(row)),
            x: column(&|&(_, column)| x.begin(column)),
        },
        n_cols: out.len(),
        n_rows,
        max_y_offset: y.last(),
        max_x_offset: x.last(),
    })
}

/// What a convolution multiplies with and adds.
struct Kernels {
    /// A row for each output channel.
    weight: Weight,
    bias: Option<FlexTensor>,
}

impl Kernels {
    fn new<const D: usize>(weight: &Param<Tensor<D>>, bias: Option<&Param<Tensor<1>>>) -> Option<Self> {
        let bias = match bias {
            Some(bias) => Some(parameter(bias.val())?),
            None => None,
        };
        let weight = Weight::of(weight.val())?;
        Some(Self { weight, bias })
    }

    fn out_channels(&self) -> usize {
        self.weight.rows()
    }

    fn bias(&self) -> Option<&[f32]> {
        self.bias.as_ref().map(elements)
    }

    /// With the images that they are convolved with, for Winograd's algorithm.
    fn layer<'a>(&'a self, images: &'a [&'a [f32]], channels: usize) -> Layer<'a> {
        Layer {
            images,
            channels,
            weight: &self.weight,
            bias: self.bias(),
        }
    }

    /// The weights in f32, in `room` if they have to be widened.
    fn widened<'a>(&'a self, room: &'a mut Scratch) -> Option<Widened<'a>> {
        let (rows, columns) = (self.weight.rows(), self.weight.columns());
        Some(Widened {
            weight: matrix(self.weight.whole(room), [rows, columns], [columns, 1])?,
            bias: self.bias(),
        })
    }
}

/// [`Kernels`] in f32.
struct Widened<'a> {
    weight: Matrix<'a>,
    bias: Option<&'a [f32]>,
}

impl Widened<'_> {
    fn out_channels(&self) -> usize {
        self.weight.rows()
    }

    /// Writes `weight patches + bias`. Executors are cheap, but can't be shared between threads.
    fn multiply(&self, gemm: &GemmExecutor, patches: GemmInputB<f32>, out: &mut [f32]) -> Option<()> {
        let options = GemmOptions {
            bias: self.bias.map(BiasVector::Column),
            ..Default::default()
        };
        gemm.gemm(out, GemmInputA::Unpacked(self.weight), patches, options).ok()
    }
}

/// Splits `[channels, images * pixels]` into `[images, channels, pixels]`.
fn split_images(joined: &[f32], channels: usize, out: &mut [f32], images: usize) {
    let (columns, pixels) = (joined.len() / channels, out.len() / images / channels);
    out.par_chunks_mut(channels * pixels)
        .enumerate()
        .for_each(|(image, out)| {
            for (channel, out) in out.chunks_mut(pixels).enumerate() {
                out.copy_from_slice(&joined[channel * columns + image * pixels..][..pixels]);
            }
        });
}
