//! Linear layers.

use burn::{nn::Linear, tensor::Tensor};
use burn_flex::FlexTensor;
use rayon::prelude::*;
use t2v_quant::Quantized;

use super::{
    buffer::Scratch,
    elements,
    elementwise::geglu_row,
    f32_primitive,
    int8::{QuantisedWeight, Rows},
    into_contiguous, into_elements, is_supported, parameter,
    product::{Bias, Matrix, RightSide, Target},
    scratch, tensor,
    transpose::{Lines, transpose},
    weight::{PackedWeight, Weight, multiply_few},
};
use crate::Products;

/// Tokens that a thread takes through a layer at a time.
pub(super) const TOKENS: usize = 128;

/// The primitive of a tensor that [`is_supported`], as it lies in memory, in order if there are strides that no matrix has.
fn into_strided<const D: usize>(x: Tensor<D>) -> FlexTensor {
    let x = f32_primitive(x);
    let is_forward = x.layout().strides().iter().all(|&stride| stride >= 0);
    if is_forward { x } else { x.to_contiguous() }
}

/// A matrix of this shape, with the strides of the last two dimensions, at the `index`th entry of the one before.
fn rows_of(x: &FlexTensor, index: usize, shape: [usize; 2]) -> Matrix<'_> {
    let strides: Vec<usize> = x
        .layout()
        .strides()
        .iter()
        .map(|stride| stride.unsigned_abs())
        .collect();
    let start = match strides[..] {
        [batch, _, _] => index * batch,
        _ => 0,
    };
    let data = &x.storage::<f32>()[x.layout().start_offset() + start..];
    Matrix::new(data, shape, [strides[strides.len() - 2], strides[strides.len() - 1]])
}

/// A layer's parameters.
pub(super) struct Parameters {
    /// What it may be multiplied in.
    products: Products,
    weight: Weight,
    /// Whether the weight is `[d_out, d_in]` in memory, as torch has it, and not `[d_in, d_out]`.
    in_torch_layout: bool,
    bias: Option<FlexTensor>,
}

impl Parameters {
    /// None where something is added to quantised blocks, which is no part of these.
    pub(super) fn of(layer: &Linear, products: Products) -> Option<Self> {
        match Quantized::of(&layer.weight).and_then(Quantized::side_path) {
            Some(_) => None,
            None => Self::as_stored(layer, products),
        }
    }

    fn as_stored(layer: &Linear, products: Products) -> Option<Self> {
        let bias = match &layer.bias {
            Some(bias) => Some(parameter(bias.val())?),
            None => None,
        };
        let (weight, in_torch_layout) = Weight::of_parameter(&layer.weight)?;
        Some(Self {
            products,
            weight,
            in_torch_layout,
            bias,
        })
    }

    pub(super) fn d_out(&self) -> usize {
        match self.in_torch_layout {
            true => self.weight.rows(),
            false => self.weight.columns(),
        }
    }

    fn bias(&self) -> Option<&[f32]> {
        self.bias.as_ref().map(elements)
    }

    /// Whether an `x` of this many rows is skinny: packing the weights as a whole would cost more than it saves.
    fn is_skinny(&self, rows: usize) -> bool {
        let (d_in, d_out) = (self.weight.rows(), self.weight.columns());
        rows * (d_in + d_out) < d_in * d_out
    }

    /// The layer as integers for an `x` of this many rows, if it may be and that is faster.
    fn quantised(&self, rows: usize) -> Option<QuantisedWeight> {
        match self.products {
            Products::Exact => None,
            Products::Int8 => QuantisedWeight::new(&self.weight, self.in_torch_layout, self.bias(), rows),
        }
    }

    /// The layer as it is multiplied with matrices of `rows` rows, `all` together, unless they are skinny.
    pub(super) fn packed(&self, rows: usize, all: usize) -> Option<Packed<'_>> {
        if let Some(weight) = self.quantised(all) {
            return Some(Packed::Integers(weight));
        }
        let floats = || Packed::Floats(PackedWeight::new(&self.weight, self.in_torch_layout), self.bias());
        (!self.is_skinny(rows)).then(floats)
    }

    /// Writes `x weight + bias` to `out`, or adds it to what is there.
    fn multiply(&self, x: Tensor<3>, mut out: Vec<f32>, add: bool) -> Tensor<3> {
        let ([batch, tokens, d_in], d_out) = (x.dims(), self.d_out());
        let x = into_strided(x);
        // Entries that follow each other in memory are one matrix.
        let joined = x.layout().strides()[0] == x.layout().strides()[1] * tokens as isize;
        let rows = if joined { batch * tokens } else { tokens };
        if let Some(packed) = self.packed(rows, batch * tokens) {
            out.par_chunks_mut(rows * d_out).enumerate().for_each(|(index, out)| {
                let x = rows_of(&x, index, [rows, d_in]);
                let chunks = out.par_chunks_mut(TOKENS * d_out).enumerate();
                chunks.for_each_init(Rows::default, |room, (chunk, values)| {
                    let first = chunk * TOKENS;
                    let x = x.part(first..first + values.len() / d_out, 0..d_in);
                    let stride = d_out;
                    packed.multiply(x, room, Target { values, stride, add });
                });
            });
        } else {
            for (index, out) in out.chunks_mut(rows * d_out).enumerate() {
                let x = rows_of(&x, index, [rows, d_in]);
                multiply_few(&self.weight, self.in_torch_layout, x, self.bias(), add, out);
            }
        }
        tensor(out, [batch, tokens, d_out])
    }
}

/// A layer that was packed.
pub(super) enum Packed<'a> {
    /// With its bias.
    Floats(PackedWeight, Option<&'a [f32]>),
    Integers(QuantisedWeight),
}

impl Packed<'_> {
    /// `x weight + bias`, which is written to or added to `out`. `room` is for an `x` of integers.
    pub(super) fn multiply(&self, x: Matrix, room: &mut Rows, out: Target) {
        match self {
            Self::Floats(weight, bias) => weight.multiply(x, *bias, out),
            Self::Integers(weight) => weight.multiply(x, room, out),
        }
    }
}

/// `x weight + bias`, for a weight as it is stored, without its side path; `x` may be a transposed view.
pub(crate) fn linear(products: Products, layer: &Linear, x: Tensor<3>) -> Result<Tensor<3>, Tensor<3>> {
    let (Some(parameters), true) = (Parameters::as_stored(layer, products), is_supported(&x)) else {
        return Err(x);
    };
    let [batch, rows, _] = x.dims();
    let out = scratch(batch * rows * parameters.d_out());
    Ok(parameters.multiply(x, out, false))
}

/// `x weight + bias + residual`, for a weight as it is stored, in the place of the residual where nobody else holds it.
pub(crate) fn linear_add(
    products: Products,
    layer: &Linear,
    x: Tensor<3>,
    residual: Tensor<3>,
) -> Result<Tensor<3>, (Tensor<3>, Tensor<3>)> {
    let (Some(parameters), true, true) = (
        Parameters::as_stored(layer, products),
        is_supported(&x),
        is_supported(&residual),
    ) else {
        return Err((x, residual));
    };
    Ok(parameters.multiply(x, into_elements(into_contiguous(residual)), true))
}

/// Applies a layer to the tokens `[batch, height * width, d_in]` of images, and adds `[batch, d_out, height, width]` in
/// its place.
pub(crate) fn linear_to_image(
    products: Products,
    layer: &Linear,
    tokens: Tensor<3>,
    image: Tensor<4>,
) -> Result<Tensor<4>, (Tensor<3>, Tensor<4>)> {
    let image_shape = image.dims();
    let [_, area, d_in] = tokens.dims();
    let (Some(parameters), true, true) = (
        Parameters::of(layer, products),
        is_supported(&tokens),
        is_supported(&image),
    ) else {
        return Err((tokens, image));
    };
    let (tokens, mut out) = (into_contiguous(tokens), into_elements(into_contiguous(image)));
    let (d_out, mut room) = (parameters.d_out(), Scratch::default());
    if let Some(weight) = parameters.quantised(image_shape[0] * area) {
        add_to_images(&weight, elements(&tokens), [area, d_in, d_out], &mut out);
        return Ok(tensor(out, image_shape));
    }
    let weight = parameters.weight.whole(&mut room);
    let weight = match parameters.in_torch_layout {
        true => Matrix::new(weight, [d_out, d_in], [d_in, 1]),
        false => Matrix::new(weight, [d_in, d_out], [d_out, 1]).transposed(),
    };
    let bias = parameters.bias().map_or(Bias::None, Bias::Rows);
    let shape = RightSide::new(d_in, area);
    out.par_chunks_mut(d_out * area)
        .zip(elements(&tokens).par_chunks(area * d_in))
        .for_each(|(out, tokens)| {
            let mut packed = Scratch::new(shape.len());
            shape.pack(Matrix::new(tokens, [d_in, area], [1, d_in]), &mut packed);
            let out = Target {
                values: out,
                stride: area,
                add: true,
            };
            shape.multiply(weight, &packed, bias, out);
        });
    Ok(tensor(out, image_shape))
}

/// Adds the product of images' tokens, `[images, area, d_in]`, to the images, `[images, d_out, area]`.
fn add_to_images(weight: &QuantisedWeight, tokens: &[f32], [area, d_in, d_out]: [usize; 3], images: &mut [f32]) {
    let images = images.par_chunks_mut(d_out * area).zip(tokens.par_chunks(area * d_in));
    images.for_each_init(
        <(Rows, [Scratch; 2])>::default,
        |(rows, [products, channels]), (image, tokens)| {
            for (chunk, tokens) in tokens.chunks(TOKENS * d_in).enumerate() {
                let count = tokens.len() / d_in;
                let values = products.at_least(count * d_out);
                let x = Matrix::new(tokens, [count, d_in], [d_in, 1]);
                weight.multiply(
                    x,
                    rows,
                    Target {
                        values: &mut *values,
                        stride: d_out,
                        add: false,
                    },
                );
                let channels = channels.at_least(d_out * count);
                transpose(Lines { values, stride: d_out }, [count, d_out], channels, count);
                for (plane, channel) in image.chunks_mut(area).zip(channels.chunks(count)) {
                    let plane = &mut plane[chunk * TOKENS..][..count];
                    plane.iter_mut().zip(channel).for_each(|(out, x)| *out += *x);
                }
            }
        },
    );
}

/// The gated feed-forward layer `(value * gelu(gate)) out`, where `proj` gives values and gates, and `residual` added in
/// its place. What is between the layers exists for some tokens at a time. Few tokens are left to the layers, one after the
/// other.
pub(crate) fn feed_forward(
    products: Products,
    [proj, out]: [&Linear; 2],
    x: Tensor<3>,
    residual: Tensor<3>,
) -> Result<Tensor<3>, [Tensor<3>; 2]> {
    let shape = residual.dims();
    let (Some(proj), Some(out), true, true) = (
        Parameters::of(proj, products),
        Parameters::of(out, products),
        is_supported(&x),
        is_supported(&residual),
    ) else {
        return Err([x, residual]);
    };
    let (dim, wide, tokens) = (shape[2], proj.d_out(), shape[0] * shape[1]);
    let (Some(first), Some(second)) = (proj.packed(tokens, tokens), out.packed(tokens, tokens)) else {
        return Err([x, residual]);
    };
    let (x, mut sum) = (into_contiguous(x), into_elements(into_contiguous(residual)));
    sum.par_chunks_mut(TOKENS * dim)
        .zip(elements(&x).par_chunks(TOKENS * dim))
        .for_each_init(
            || {
                let rooms = [TOKENS * wide, TOKENS * wide / 2].map(Scratch::new);
                (rooms, Rows::default())
            },
            |([both, gated], room), (sum, x)| {
                let rows = x.len() / dim;
                let (both, gated) = (&mut both[..rows * wide], &mut gated[..rows * wide / 2]);
                let target = Target {
                    values: &mut *both,
                    stride: wide,
                    add: false,
                };
                first.multiply(Matrix::new(x, [rows, dim], [dim, 1]), room, target);
                for (row, out) in both.chunks(wide).zip(gated.chunks_mut(wide / 2)) {
                    geglu_row(row, out);
                }
                let target = Target {
                    values: sum,
                    stride: dim,
                    add: true,
                };
                second.multiply(Matrix::new(gated, [rows, wide / 2], [wide / 2, 1]), room, target);
            },
        );
    Ok(tensor(sum, shape))
}
