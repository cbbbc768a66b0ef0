//! Linear layers.

use burn::{nn::Linear, tensor::Tensor};
use burn_flex::FlexTensor;
use rayon::prelude::*;

use super::{
    buffer::Scratch,
    elements,
    elementwise::geglu_row,
    f32_primitive, into_contiguous, into_elements, is_supported, parameter,
    product::{Bias, Matrix, RightSide, Target},
    scratch, tensor,
    weight::{PackedWeight, Weight, multiply_few},
};

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
    weight: Weight,
    /// Whether the weight is `[d_out, d_in]` in memory, as torch has it, and not `[d_in, d_out]`.
    in_torch_layout: bool,
    bias: Option<FlexTensor>,
}

impl Parameters {
    pub(super) fn of(layer: &Linear) -> Option<Self> {
        let bias = match &layer.bias {
            Some(bias) => Some(parameter(bias.val())?),
            None => None,
        };
        let (weight, in_torch_layout) = Weight::or_transposed(layer.weight.val())?;
        Some(Self {
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

    pub(super) fn bias(&self) -> Option<&[f32]> {
        self.bias.as_ref().map(elements)
    }

    /// Whether an `x` of this many rows is skinny: packing the weights as a whole would cost more than it saves.
    pub(super) fn is_skinny(&self, rows: usize) -> bool {
        let (d_in, d_out) = (self.weight.rows(), self.weight.columns());
        rows * (d_in + d_out) < d_in * d_out
    }

    pub(super) fn packed(&self) -> PackedWeight {
        PackedWeight::new(&self.weight, self.in_torch_layout)
    }

    /// Writes `x weight + bias` to `out`, or adds it to what is there.
    fn multiply(&self, x: Tensor<3>, mut out: Vec<f32>, add: bool) -> Tensor<3> {
        let ([batch, tokens, d_in], d_out) = (x.dims(), self.d_out());
        let x = into_strided(x);
        // Entries that follow each other in memory are one matrix.
        let joined = x.layout().strides()[0] == x.layout().strides()[1] * tokens as isize;
        let rows = if joined { batch * tokens } else { tokens };
        if self.is_skinny(rows) {
            for (index, out) in out.chunks_mut(rows * d_out).enumerate() {
                let x = rows_of(&x, index, [rows, d_in]);
                multiply_few(&self.weight, self.in_torch_layout, x, self.bias(), add, out);
            }
        } else {
            let packed = self.packed();
            out.par_chunks_mut(rows * d_out).enumerate().for_each(|(index, out)| {
                let x = rows_of(&x, index, [rows, d_in]);
                out.par_chunks_mut(TOKENS * d_out).enumerate().for_each(|(chunk, out)| {
                    let first = chunk * TOKENS;
                    let x = x.part(first..first + out.len() / d_out, 0..d_in);
                    packed.multiply(x, self.bias(), add, out);
                });
            });
        }
        tensor(out, [batch, tokens, d_out])
    }
}

/// `x weight + bias`; `x` may be a transposed view.
pub(crate) fn linear(layer: &Linear, x: Tensor<3>) -> Result<Tensor<3>, Tensor<3>> {
    let (Some(parameters), true) = (Parameters::of(layer), is_supported(&x)) else {
        return Err(x);
    };
    let [batch, rows, _] = x.dims();
    let out = scratch(batch * rows * parameters.d_out());
    Ok(parameters.multiply(x, out, false))
}

/// `x weight + bias + residual`, in the place of the residual where nobody else holds it.
pub(crate) fn linear_add(
    layer: &Linear,
    x: Tensor<3>,
    residual: Tensor<3>,
) -> Result<Tensor<3>, (Tensor<3>, Tensor<3>)> {
    let (Some(parameters), true, true) = (Parameters::of(layer), is_supported(&x), is_supported(&residual)) else {
        return Err((x, residual));
    };
    Ok(parameters.multiply(x, into_elements(into_contiguous(residual)), true))
}

/// Applies a layer to the tokens `[batch, height * width, d_in]` of images, and adds `[batch, d_out, height, width]` in
/// its place.
pub(crate) fn linear_to_image(
    layer: &Linear,
    tokens: Tensor<3>,
    image: Tensor<4>,
) -> Result<Tensor<4>, (Tensor<3>, Tensor<4>)> {
    let image_shape = image.dims();
    let [_, area, d_in] = tokens.dims();
    let (Some(parameters), true, true) = (Parameters::of(layer), is_supported(&tokens), is_supported(&image)) else {
        return Err((tokens, image));
    };
    let (tokens, mut out) = (into_contiguous(tokens), into_elements(into_contiguous(image)));
    let (d_out, mut room) = (parameters.d_out(), Scratch::default());
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

/// The gated feed-forward layer `(value * gelu(gate)) out`, where `proj` gives values and gates, and `residual` added in
/// its place. What is between the layers exists for some tokens at a time. Few tokens are left to the layers, one after the
/// other.
pub(crate) fn feed_forward(
    [proj, out]: [&Linear; 2],
    x: Tensor<3>,
    residual: Tensor<3>,
) -> Result<Tensor<3>, [Tensor<3>; 2]> {
    let shape = residual.dims();
    let (Some(proj), Some(out), true, true) = (
        Parameters::of(proj),
        Parameters::of(out),
        is_supported(&x),
        is_supported(&residual),
    ) else {
        return Err([x, residual]);
    };
    if proj.is_skinny(shape[0] * shape[1]) {
        return Err([x, residual]);
    }
    let (dim, wide) = (shape[2], proj.d_out());
    let (first, second) = (proj.packed(), out.packed());
    let (x, mut sum) = (into_contiguous(x), into_elements(into_contiguous(residual)));
    sum.par_chunks_mut(TOKENS * dim)
        .zip(elements(&x).par_chunks(TOKENS * dim))
        .for_each_init(
            || (Scratch::new(TOKENS * wide), Scratch::new(TOKENS * wide / 2)),
            |(both, gated), (sum, x)| {
                let rows = x.len() / dim;
                let (both, gated) = (&mut both[..rows * wide], &mut gated[..rows * wide / 2]);
                first.multiply(Matrix::new(x, [rows, dim], [dim, 1]), proj.bias(), false, both);
                for (row, out) in both.chunks(wide).zip(gated.chunks_mut(wide / 2)) {
                    geglu_row(row, out);
                }
                second.multiply(
                    Matrix::new(gated, [rows, wide / 2], [wide / 2, 1]),
                    out.bias(),
                    true,
                    sum,
                );
            },
        );
    Ok(tensor(sum, shape))
}
