//! Operators on the CPU: `rten-gemm` and `rten-vecmath` on the buffers of Burn's flex backend, in f32.
//!
//! Each takes its input by value and gives it back as the error where it isn't a flex tensor in f32, so that the caller
//! can go on with Burn's own operators.

#![allow(clippy::result_large_err, reason = "the error is the input, as large as the result")]

mod attention;
mod convolution;
mod elementwise;
mod matrix;
mod normalisation;
mod resample;
#[cfg(test)]
mod tests;
mod winograd;

use burn::tensor::{Bytes, DType, Shape, Tensor};
use burn_flex::{Flex, FlexTensor, Layout};

pub(crate) use attention::attention;
pub(crate) use convolution::{conv_time, conv2d};
pub(crate) use elementwise::{activate, gated_gelu};
pub(crate) use matrix::linear;
pub(crate) use normalisation::group_norm;
pub(crate) use resample::double;

/// Elements that one thread takes at a time where the work is a pass over memory.
const CHUNK: usize = 1 << 14;

/// The primitive behind a tensor, if it is flex's and holds f32.
fn primitive<const D: usize>(x: Tensor<D>) -> Result<FlexTensor, Tensor<D>> {
    let kept = x.clone();
    match x.try_into_primitive::<Flex>() {
        Ok(primitive) if primitive.dtype() == DType::F32 => Ok(primitive),
        _ => Err(kept),
    }
}

/// As [`primitive`], with its elements in order in memory.
fn contiguous<const D: usize>(x: Tensor<D>) -> Result<FlexTensor, Tensor<D>> {
    let x = primitive(x)?;
    Ok(if x.is_contiguous() { x } else { x.to_contiguous() })
}

/// Parameters, which are neither consumed nor changed.
fn parameter<const D: usize>(x: Tensor<D>) -> Option<FlexTensor> {
    contiguous(x).ok()
}

/// The elements of a contiguous tensor.
fn elements(x: &FlexTensor) -> &[f32] {
    let start = x.layout().start_offset();
    &x.storage::<f32>()[start..start + x.layout().num_elements()]
}

/// The elements of a contiguous tensor, as its own copy where they are shared.
fn into_elements(mut x: FlexTensor) -> Vec<f32> {
    let (start, len) = (x.layout().start_offset(), x.layout().num_elements());
    match x.try_storage_mut::<f32>() {
        Some(storage) if start == 0 && storage.len() == len => {}
        _ => return elements(&x).to_vec(),
    }
    match x.into_data().try_into_vec::<f32>() {
        Ok(values) => values,
        Err(_) => unreachable!("a tensor of f32 holds f32"),
    }
}

/// A tensor of new elements.
fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> Tensor<D> {
    let layout = Layout::contiguous(Shape::from(shape));
    Tensor::from_primitive::<Flex>(FlexTensor::new(Bytes::from_elems(values), layout, DType::F32))
}
