//! Operators on the CPU: `rten-gemm` and `rten-vecmath` on the buffers of Burn's flex backend, in f32.
//!
//! Each takes its input by value and gives it back as the error where it isn't a flex tensor in f32, so that the caller
//! can go on with Burn's own operators.

#![allow(clippy::result_large_err, reason = "the error is the input, as large as the result")]

mod attention;
mod buffer;
mod convolution;
mod elementwise;
mod frame_attention;
mod matrix;
mod normalisation;
mod product;
mod resample;
#[cfg(test)]
mod tests;
mod weight;
mod winograd;

use burn::tensor::{DType, Device, Shape, Tensor};
use burn_flex::{Flex, FlexTensor, Layout};
use rayon::prelude::*;

pub(crate) use attention::attention;
pub(crate) use convolution::{conv_time, conv2d};
pub(crate) use elementwise::{activate, add, add_to_channels, gated_gelu};
pub(crate) use frame_attention::attention_frames;
pub(crate) use matrix::{feed_forward, linear, linear_add, linear_to_image};
pub(crate) use normalisation::{group_norm, layer_norm};
pub(crate) use resample::{cat_channels, double};

use buffer::{into_bytes, scratch};

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

/// Whether [`taken`] takes a tensor: one of flex, in f32.
fn suits<const D: usize>(x: &Tensor<D>) -> bool {
    x.dtype() == DType::F32 && x.device() == Device::flex()
}

/// The primitive of a tensor that [`suits`], with its elements in order in memory.
fn taken<const D: usize>(x: Tensor<D>) -> FlexTensor {
    match contiguous(x) {
        Ok(x) => x,
        Err(_) => unreachable!("a tensor in f32 on flex is flex's"),
    }
}

/// As [`primitive`], with its elements in order in memory.
fn contiguous<const D: usize>(x: Tensor<D>) -> Result<FlexTensor, Tensor<D>> {
    let x = primitive(x)?;
    Ok(if x.is_contiguous() { x } else { x.to_contiguous() })
}

/// A parameter with its elements in order in memory; one in half precision as a copy in f32.
fn parameter<const D: usize>(x: Tensor<D>) -> Option<FlexTensor> {
    let x = (x.device() == Device::flex()).then(|| x.cast(DType::F32))?;
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
        _ => return copied(elements(&x)),
    }
    match x.into_data().try_into_vec::<f32>() {
        Ok(values) => values,
        Err(_) => unreachable!("a tensor of f32 holds f32"),
    }
}

/// The same values in another buffer.
fn copied(values: &[f32]) -> Vec<f32> {
    let mut copy = scratch(values.len());
    copy.par_chunks_mut(CHUNK)
        .zip(values.par_chunks(CHUNK))
        .for_each(|(copy, values)| copy.copy_from_slice(values));
    copy
}

/// A tensor of new elements.
fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> Tensor<D> {
    let layout = Layout::contiguous(Shape::from(shape));
    Tensor::from_primitive::<Flex>(FlexTensor::new(into_bytes(values), layout, DType::F32))
}
