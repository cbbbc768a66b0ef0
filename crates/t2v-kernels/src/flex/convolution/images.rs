//! Convolutions of images.

use burn::{
    nn::{PaddingConfig2d, conv::Conv2d},
    tensor::Tensor,
};
use burn_flex::FlexTensor;
use rayon::prelude::*;
use rten_gemm::{GemmExecutor, GemmInputB};

use super::{
    super::{
        buffer::Scratch,
        elements, scratch, tensor, try_into_contiguous,
        winograd::{self, Plane},
    },
    Axis, Kernels, SMALL_IMAGE, Widened, matrix, patches, split_images,
};

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

/// How a convolution moves over images.
struct Geometry {
    batch: usize,
    channels: usize,
    axes: [Axis; 2],
    /// Zeros below, and to the right.
    after: [usize; 2],
    /// Height and width of the output.
    out_size: [usize; 2],
}

impl Geometry {
    /// None if the convolution is left to Burn: groups, dilation, images that are too large for the patches' offsets.
    fn of(conv: &Conv2d, [batch, channels, height, width]: [usize; 4]) -> Option<Self> {
        let [top, left, bottom, right] = match conv.padding {
            PaddingConfig2d::Explicit(top, left, bottom, right) => [top, left, bottom, right],
            PaddingConfig2d::Valid => [0; 4],
            PaddingConfig2d::Same => return None,
        };
        let [kernel_y, kernel_x] = conv.kernel_size;
        let is_unsupported = conv.groups != 1
            || conv.dilation != [1, 1]
            || channels * height * width > i32::MAX as usize
            || height + top + bottom < kernel_y
            || width + left + right < kernel_x;
        if is_unsupported {
            return None;
        }
        let axis = |size, pixel, kernel, stride, before| Axis {
            size,
            pixel,
            kernel,
            stride,
            before,
        };
        Some(Self {
            batch,
            channels,
            axes: [
                axis(height, width, kernel_y, conv.stride[0], top),
                axis(width, 1, kernel_x, conv.stride[1], left),
            ],
            after: [bottom, right],
            out_size: [
                (height + top + bottom - kernel_y) / conv.stride[0] + 1,
                (width + left + right - kernel_x) / conv.stride[1] + 1,
            ],
        })
    }

    /// Pixels of an input image.
    fn area(&self) -> usize {
        self.axes[0].size * self.axes[1].size
    }

    /// The output pixels of an image: row and column.
    fn pixels(&self) -> Vec<(usize, usize)> {
        let [height, width] = self.out_size;
        (0..height)
            .flat_map(|row| (0..width).map(move |column| (row, column)))
            .collect()
    }

    /// Whether each output pixel is made of the input pixel in its place alone.
    fn is_pointwise(&self) -> bool {
        let is_identity = |axis: &Axis| [axis.kernel, axis.stride, axis.before] == [1, 1, 0];
        self.axes.iter().all(is_identity) && self.after == [0, 0]
    }

    /// As one for Winograd's algorithm, if that takes its kernels and is faster.
    fn plane<'a>(&self, images: &'a [&'a [f32]], kernels: &'a Kernels) -> Option<Plane<'a>> {
        let [y, x] = self.axes;
        if [y.kernel, x.kernel, y.stride, x.stride] != [3, 3, 1, 1] {
            return None;
        }
        let plane = Plane {
            layer: kernels.layer(images, self.channels),
            batch: self.batch,
            size: [y.size, x.size],
            out_size: self.out_size,
            before: [y.before, x.before],
        };
        winograd::is_faster(&plane).then_some(plane)
    }

    /// Whether several images are multiplied at once.
    fn is_joined(&self) -> bool {
        let ([y, x], [bottom, right]) = (self.axes, self.after);
        let len = self.batch * self.channels * (y.size + y.before + bottom + y.stride) * (x.size + x.before + right);
        self.batch > 1 && self.out_size.iter().product::<usize>() < SMALL_IMAGE && len <= i32::MAX as usize
    }

    /// Convolves all images at once.
    fn multiply_joined(&self, images: &[f32], kernels: &Widened, out: &mut [f32]) -> Option<()> {
        let joined = Joined::new(images, [self.batch, self.channels], self.axes, self.after);
        let pixels = joined.pixels(&self.pixels());
        let gemm = GemmExecutor::default();
        let layout = [self.channels, joined.area()];
        let patches = patches(&gemm, &joined.image, layout, joined.axes, &pixels)?;
        let mut products = Scratch::new(out.len());
        kernels.multiply(&gemm, GemmInputB::Im2Col(&patches), &mut products)?;
        split_images(&products, kernels.out_channels(), out, self.batch);
        Some(())
    }

    /// Convolves each image by itself.
    fn multiply_each(&self, images: &[f32], kernels: &Widened, out: &mut [f32]) -> Option<()> {
        let pixels = self.pixels();
        let layout = [self.channels, self.area()];
        let is_pointwise = self.is_pointwise();
        out.par_chunks_mut(kernels.out_channels() * pixels.len())
            .zip(images.par_chunks(self.channels * self.area()))
            .try_for_each(|(out, image)| {
                let gemm = GemmExecutor::default();
                if is_pointwise {
                    let image = matrix(image, layout, [self.area(), 1])?;
                    kernels.multiply(&gemm, GemmInputB::Unpacked(image), out)
                } else {
                    let patches = patches(&gemm, image, layout, self.axes, &pixels)?;
                    kernels.multiply(&gemm, GemmInputB::Im2Col(&patches), out)
                }
            })
    }

    /// Convolves one input, or several whose channels take turns.
    fn convolve(&self, kernels: &Kernels, images: &[&[f32]]) -> Option<Tensor<4>> {
        let ([height, width], out_channels) = (self.out_size, kernels.out_channels());
        let mut out = scratch(self.batch * out_channels * height * width);
        if let Some(plane) = self.plane(images, kernels) {
            winograd::convolve(&plane, &mut out);
        } else {
            let (mut room, mut joined) = <(Scratch, Scratch)>::default();
            let kernels = kernels.widened(&mut room)?;
            let images = match images {
                [images] => images,
                _ => self.take_turns(images, &mut joined),
            };
            match self.is_joined() {
                true => self.multiply_joined(images, &kernels, &mut out)?,
                false => self.multiply_each(images, &kernels, &mut out)?,
            }
        }
        Some(tensor(out, [self.batch, out_channels, height, width]))
    }

    /// The channels of several inputs as those of one.
    fn take_turns<'a>(&self, inputs: &[&[f32]], joined: &'a mut Scratch) -> &'a [f32] {
        let joined = joined.at_least(self.batch * self.channels * self.area());
        joined.par_chunks_mut(self.area()).enumerate().for_each(|(plane, out)| {
            let from = plane / inputs.len() * out.len();
            out.copy_from_slice(&inputs[plane % inputs.len()][from..][..out.len()]);
        });
        joined
    }
}

/// Convolves with kernels of any size; groups and dilation are left to Burn.
pub(crate) fn conv2d(conv: &Conv2d, x: Tensor<4>) -> Result<Tensor<4>, Tensor<4>> {
    let Some(geometry) = Geometry::of(conv, x.dims()) else {
        return Err(x);
    };
    let convolve = |x: Tensor<4>| {
        let kernels = Kernels::new(&conv.weight, conv.bias.as_ref())?;
        let x = try_into_contiguous(x).ok()?;
        geometry.convolve(&kernels, &[elements(&x)])
    };
    convolve(x.clone()).ok_or(x)
}

/// As [`conv2d`], of several inputs of one shape whose channels take turns.
pub(crate) fn conv2d_turns(conv: &Conv2d, inputs: &[Tensor<4>]) -> Option<Tensor<4>> {
    let [batch, channels, height, width] = inputs.first()?.dims();
    let geometry = Geometry::of(conv, [batch, inputs.len() * channels, height, width])?;
    let kernels = Kernels::new(&conv.weight, conv.bias.as_ref())?;
    let inputs = inputs.iter().map(|x| try_into_contiguous(x.clone()).ok());
    let inputs: Vec<FlexTensor> = inputs.collect::<Option<_>>()?;
    let images: Vec<&[f32]> = inputs.iter().map(elements).collect();
    geometry.convolve(&kernels, &images)
}
