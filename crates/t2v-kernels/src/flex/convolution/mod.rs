//! Convolutions as matrix products whose right side is packed straight from the image.

mod clips;
mod images;
mod patches;

use burn::{module::Param, tensor::Tensor};
use burn_flex::FlexTensor;
use rayon::prelude::*;

use super::{buffer::Scratch, elements, parameter, product::Matrix, weight::Weight, winograd::Layer};
use patches::{Axis, Patches};

pub(crate) use clips::conv_time;
pub(crate) use images::{conv2d, conv2d_turns};

/// An image of fewer pixels is small: several are multiplied at once.
const SMALL_IMAGE: usize = 256;

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
    fn widened<'a>(&'a self, room: &'a mut Scratch) -> Widened<'a> {
        let (rows, columns) = (self.weight.rows(), self.weight.columns());
        Widened {
            weight: Matrix::new(self.weight.whole(room), [rows, columns], [columns, 1]),
            bias: self.bias(),
        }
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

    /// Writes `weight patches + bias`, one of `products` that are made beside each other.
    fn multiply(&self, patches: &Patches, products: usize, out: &mut [f32]) {
        let threads = rayon::current_num_threads().div_ceil(products);
        patches.multiply(self.weight, self.bias, threads, out);
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
