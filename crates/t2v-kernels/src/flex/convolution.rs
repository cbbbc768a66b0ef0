//! Convolutions as matrix products whose right side is packed straight from the image.

use burn::{
    module::Param,
    nn::{
        PaddingConfig2d, PaddingConfig3d,
        conv::{Conv2d, Conv3d},
    },
    tensor::Tensor,
};
use burn_flex::FlexTensor;
use rayon::prelude::*;
use rten_gemm::{BiasVector, ColOffsets, GemmExecutor, GemmInputA, GemmInputB, GemmOptions, Im2Col, RowOffsets};
use rten_tensor::{Matrix, NdTensorView};

use super::{
    buffer::Scratch,
    elements, parameter, scratch, tensor, try_into_contiguous,
    weight::Weight,
    winograd::{self, Plane, Time},
};

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
    /// Writes `weight patches + bias`. Executors are cheap, but can't be shared between threads.
    fn multiply(&self, gemm: &GemmExecutor, patches: GemmInputB<f32>, out: &mut [f32]) -> Option<()> {
        let options = GemmOptions {
            bias: self.bias.map(BiasVector::Column),
            ..Default::default()
        };
        gemm.gemm(out, GemmInputA::Unpacked(self.weight), patches, options).ok()
    }
}

/// Images with their zeros around them, one under the other, so that they are one image to a kernel.
struct Joined {
    image: Scratch,
    axes: [Axis; 2],
    /// Rows from one image to the next, a multiple of the stride.
    rows: usize,
    images: usize,
}

impl Joined {
    fn new(from: &[f32], [images, channels]: [usize; 2], [y, x]: [Axis; 2], after: [usize; 2]) -> Self {
        let rows = (y.before + y.size + after[0]).next_multiple_of(y.stride);
        let width = x.before + x.size + after[1];
        let mut image = Scratch::new(channels * images * rows * width);
        image
            .par_chunks_mut(images * rows * width)
            .enumerate()
            .for_each(|(channel, joined)| {
                joined.fill(0.0);
                for (index, joined) in joined.chunks_mut(rows * width).enumerate() {
                    let plane = &from[(index * channels + channel) * y.size * x.size..][..y.size * x.size];
                    let joined = joined[y.before * width..].chunks_mut(width);
                    for (row, joined) in plane.chunks(x.size).zip(joined) {
                        joined[x.before..][..x.size].copy_from_slice(row);
                    }
                }
            });
        let y = Axis {
            size: images * rows,
            pixel: width,
            before: 0,
            ..y
        };
        let x = Axis {
            size: width,
            before: 0,
            ..x
        };
        Self {
            image,
            axes: [y, x],
            rows,
            images,
        }
    }

    /// Elements of a channel.
    fn area(&self) -> usize {
        self.axes[0].size * self.axes[1].size
    }

    /// The output pixels of all images, from those of one.
    fn pixels(&self, pixels: &[(usize, usize)]) -> Vec<(usize, usize)> {
        let down = self.rows / self.axes[0].stride;
        (0..self.images)
            .flat_map(|image| pixels.iter().map(move |&(row, column)| (image * down + row, column)))
            .collect()
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

/// Convolves with kernels of any size; groups and dilation are left to Burn.
pub(crate) fn conv2d(conv: &Conv2d, x: Tensor<4>) -> Result<Tensor<4>, Tensor<4>> {
    let [top, left, bottom, right] = match conv.padding {
        PaddingConfig2d::Explicit(top, left, bottom, right) => [top, left, bottom, right],
        PaddingConfig2d::Valid => [0; 4],
        PaddingConfig2d::Same => return Err(x),
    };
    let [batch, channels, height, width] = x.dims();
    let [kernel_y, kernel_x] = conv.kernel_size;
    let unsuitable = conv.groups != 1
        || conv.dilation != [1, 1]
        || channels * height * width > i32::MAX as usize
        || height + top + bottom < kernel_y
        || width + left + right < kernel_x;
    if unsuitable {
        return Err(x);
    }
    let axis = |size, pixel, kernel, stride, before| Axis {
        size,
        pixel,
        kernel,
        stride,
        before,
    };
    let y_axis = axis(height, width, kernel_y, conv.stride[0], top);
    let x_axis = axis(width, 1, kernel_x, conv.stride[1], left);
    let out_height = (height + top + bottom - kernel_y) / conv.stride[0] + 1;
    let out_width = (width + left + right - kernel_x) / conv.stride[1] + 1;
    let pixels: Vec<(usize, usize)> = (0..out_height)
        .flat_map(|row| (0..out_width).map(move |column| (row, column)))
        .collect();
    let pointwise =
        [kernel_y, kernel_x, conv.stride[0], conv.stride[1]] == [1; 4] && [top, left, bottom, right] == [0; 4];

    let kept = x.clone();
    let convolve = || {
        let kernels = Kernels::new(&conv.weight, conv.bias.as_ref())?;
        let out_channels = kernels.out_channels();
        let x = try_into_contiguous(x).ok()?;
        let mut out = scratch(batch * out_channels * pixels.len());
        let shape = [batch, out_channels, out_height, out_width];
        if conv.kernel_size == [3, 3] && conv.stride == [1, 1] {
            let plane = Plane {
                images: elements(&x),
                batch,
                channels: [channels, out_channels],
                size: [height, width],
                out_size: [out_height, out_width],
                before: [top, left],
                weight: &kernels.weight,
                bias: kernels.bias(),
            };
            if winograd::is_faster(&plane) {
                winograd::convolve(&plane, &mut out);
                return Some(tensor(out, shape));
            }
        }
        let mut room = Scratch::default();
        let kernels = kernels.widened(&mut room)?;
        let joined_len = batch * channels * (height + top + bottom + conv.stride[0]) * (width + left + right);
        if batch > 1 && pixels.len() < SMALL_IMAGE && joined_len <= i32::MAX as usize {
            let joined = Joined::new(elements(&x), [batch, channels], [y_axis, x_axis], [bottom, right]);
            let pixels = joined.pixels(&pixels);
            let gemm = GemmExecutor::default();
            let patches = patches(&gemm, &joined.image, [channels, joined.area()], joined.axes, &pixels)?;
            let mut products = Scratch::new(out.len());
            kernels.multiply(&gemm, GemmInputB::Im2Col(&patches), &mut products)?;
            split_images(&products, out_channels, &mut out, batch);
            return Some(tensor(out, shape));
        }
        out.par_chunks_mut(out_channels * pixels.len())
            .zip(elements(&x).par_chunks(channels * height * width))
            .try_for_each(|(out, image)| {
                let gemm = GemmExecutor::default();
                if pointwise {
                    let image = matrix(image, [channels, height * width], [height * width, 1])?;
                    kernels.multiply(&gemm, GemmInputB::Unpacked(image), out)
                } else {
                    let patches = patches(&gemm, image, [channels, height * width], [y_axis, x_axis], &pixels)?;
                    kernels.multiply(&gemm, GemmInputB::Im2Col(&patches), out)
                }
            })?;
        Some(tensor(out, shape))
    };
    convolve().ok_or(kept)
}

/// Convolves `[batch * frames, channels, height, width]` along the frames with a `(kernel, 1, 1)` kernel that keeps
/// their number. Frames stay where they are in memory.
pub(crate) fn conv_time(conv: &Conv3d, x: Tensor<4>, frames: usize) -> Result<Tensor<4>, Tensor<4>> {
    let [rows, channels, height, width] = x.dims();
    let [kernel, 1, 1] = conv.kernel_size else {
        return Err(x);
    };
    let (area, clip) = (height * width, frames * channels * height * width);
    if kernel % 2 == 0 || conv.padding != PaddingConfig3d::Explicit(kernel / 2, 0, 0) {
        return Err(x);
    }
    if conv.groups != 1 || conv.dilation != [1; 3] || conv.stride != [1; 3] || clip > i32::MAX as usize {
        return Err(x);
    }
    let axis = |size, pixel, kernel, before| Axis {
        size,
        pixel,
        kernel,
        stride: 1,
        before,
    };
    let time = axis(frames, channels * area, kernel, kernel / 2);
    let space = axis(area, 1, 1, 0);

    let kept = x.clone();
    let convolve = || {
        let kernels = Kernels::new(&conv.weight, conv.bias.as_ref())?;
        let out_channels = kernels.out_channels();
        let x = try_into_contiguous(x).ok()?;
        let clips = elements(&x);
        let mut out = scratch(rows * out_channels * area);
        let shape = [rows, out_channels, height, width];
        if kernel == 3 {
            let time = Time {
                images: clips,
                clips: rows / frames,
                frames,
                channels: [channels, out_channels],
                area,
                weight: &kernels.weight,
                bias: kernels.bias(),
            };
            if winograd::is_faster(&time) {
                winograd::convolve(&time, &mut out);
                return Some(tensor(out, shape));
            }
        }
        let mut room = Scratch::default();
        let kernels = kernels.widened(&mut room)?;
        if area < SMALL_IMAGE {
            let pixels: Vec<(usize, usize)> = (0..frames)
                .flat_map(|frame| (0..area).map(move |pixel| (frame, pixel)))
                .collect();
            let mut products = Scratch::new(out_channels * frames * area);
            for (clip, out) in clips.chunks(clip).zip(out.chunks_mut(products.len())) {
                let gemm = GemmExecutor::default();
                let patches = patches(&gemm, clip, [channels, area], [time, space], &pixels)?;
                kernels.multiply(&gemm, GemmInputB::Im2Col(&patches), &mut products)?;
                split_images(&products, out_channels, out, frames);
            }
            return Some(tensor(out, shape));
        }
        out.par_chunks_mut(out_channels * area)
            .enumerate()
            .try_for_each(|(row, out)| {
                let gemm = GemmExecutor::default();
                let pixels: Vec<(usize, usize)> = (0..area).map(|pixel| (row % frames, pixel)).collect();
                let clip = &clips[row / frames * clip..][..clip];
                let patches = patches(&gemm, clip, [channels, area], [time, space], &pixels)?;
                kernels.multiply(&gemm, GemmInputB::Im2Col(&patches), out)
            })?;
        Some(tensor(out, shape))
    };
    convolve().ok_or(kept)
}
