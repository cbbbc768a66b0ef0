//! Operators on the CPU: `rten-simd` and `rten-vecmath` on the buffers of Burn's flex backend, in f32.
//!
//! Each takes its input by value and gives it back as the error where it isn't a flex tensor in f32, so that the caller
//! can go on with Burn's own operators.

#![allow(clippy::result_large_err, reason = "the error is the input, as large as the result")]

mod attention;
mod buffer;
mod convolution;
mod elementwise;
mod frame_attention;
mod int8;
mod matrix;
mod mlp;
mod normalisation;
mod product;
#[cfg(test)]
mod quantised_tests;
mod resample;
mod simd;
mod stored;
#[cfg(test)]
mod tests;
mod tokens;
mod transpose;
mod weight;
mod winograd;

use burn::tensor::{DType, Device, Shape, Tensor};
use burn_flex::{Flex, FlexTensor, Layout};
use rayon::prelude::*;
use rten_simd::ops::BitOps;

pub(crate) use attention::attention;
pub(crate) use convolution::{conv_time, conv2d, conv2d_turns};
pub(crate) use elementwise::{activate, add, add_to_channels, geglu};
pub(crate) use frame_attention::attention_frames;
pub(crate) use int8::has_integers;
pub(crate) use matrix::{feed_forward, linear, linear_add, linear_to_image};
pub(crate) use mlp::mlp;
pub(crate) use normalisation::{channel_rms_norm, group_norm, layer_norm, modulated_norm};
pub(crate) use resample::{cat_channels, repeat_batch, upsample_2x};
pub(crate) use tokens::{add_gated, rms_norm, rotate};

use crate::settings::settings;
use buffer::{into_bytes, scratch};

pub(crate) use buffer::release_pool;

/// Elements that one thread takes at a time where the work is a pass over memory.
const CHUNK: usize = 1 << 14;
/// No vector has more elements.
const MOST_LANES: usize = 16;

/// Whether the operators here compute with a tensor: one of flex, in f32, unless they are
/// [turned off](crate::settings::Settings).
fn is_supported<const D: usize>(x: &Tensor<D>) -> bool {
    let device = x.device();
    // Devices that record gradients compare equal to those that don't.
    settings().cpu_operators && x.dtype() == DType::F32 && device == Device::flex() && !device.is_autodiff()
}

/// The primitive behind a tensor that [`is_supported`], as it lies in memory.
fn f32_primitive<const D: usize>(x: Tensor<D>) -> FlexTensor {
    match x.try_into_primitive::<Flex>() {
        Ok(primitive) => primitive,
        Err(_) => unreachable!("a tensor on flex is flex's"),
    }
}

/// The primitive of a tensor that [`is_supported`], with its elements in order in memory.
fn into_contiguous<const D: usize>(x: Tensor<D>) -> FlexTensor {
    let x = f32_primitive(x);
    if x.is_contiguous() { x } else { x.to_contiguous() }
}

/// As [`into_contiguous`], or the tensor itself if it is not supported.
fn try_into_contiguous<const D: usize>(x: Tensor<D>) -> Result<FlexTensor, Tensor<D>> {
    match is_supported(&x) {
        true => Ok(into_contiguous(x)),
        false => Err(x),
    }
}

/// A parameter with its elements in order in memory; one in half precision as a copy in f32.
fn parameter<const D: usize>(x: Tensor<D>) -> Option<FlexTensor> {
    let x = (x.device() == Device::flex()).then(|| x.cast(DType::F32))?;
    try_into_contiguous(x).ok()
}

/// The elements of a contiguous tensor.
fn elements(x: &FlexTensor) -> &[f32] {
    let start = x.layout().start_offset();
    &x.storage::<f32>()[start..start + x.layout().num_elements()]
}

/// The elements of a contiguous tensor, as its own copy where they are shared.
fn into_elements(x: FlexTensor) -> Vec<f32> {
    into_own_elements(x).unwrap_or_else(|x| parallel_copy(elements(&x)))
}

/// The elements of a contiguous tensor, or the tensor itself if they are shared.
fn into_own_elements(mut x: FlexTensor) -> Result<Vec<f32>, FlexTensor> {
    let (start, len) = (x.layout().start_offset(), x.layout().num_elements());
    match x.try_storage_mut::<f32>() {
        Some(storage) if start == 0 && storage.len() == len => {}
        _ => return Err(x),
    }
    match x.into_data().try_into_vec::<f32>() {
        Ok(values) => Ok(values),
        Err(_) => unreachable!("a tensor of f32 holds f32"),
    }
}

/// Changes each row of `width` elements of a contiguous tensor, with its number, in one pass over memory: in place, or in a copy
/// where the elements are shared.
fn map_rows(x: FlexTensor, width: usize, change: impl Fn(usize, &mut [f32]) + Sync) -> Vec<f32> {
    let least = CHUNK.div_ceil(width);
    match into_own_elements(x) {
        Ok(mut values) => {
            let rows = values.par_chunks_mut(width).with_min_len(least).enumerate();
            rows.for_each(|(index, row)| change(index, row));
            values
        }
        Err(x) => {
            let from = elements(&x);
            let mut out = scratch(from.len());
            let rows = out.par_chunks_mut(width).zip(from.par_chunks(width));
            rows.with_min_len(least).enumerate().for_each(|(index, (row, from))| {
                row.copy_from_slice(from);
                change(index, row);
            });
            out
        }
    }
}

/// The same values in another buffer.
fn parallel_copy(values: &[f32]) -> Vec<f32> {
    let mut copy = scratch(values.len());
    parallel_copy_to(values, &mut copy);
    copy
}

fn parallel_copy_to(values: &[f32], copy: &mut [f32]) {
    copy.par_chunks_mut(CHUNK)
        .zip(values.par_chunks(CHUNK))
        .for_each(|(copy, values)| copy.copy_from_slice(values));
}

/// Stores as many elements of a vector as `out` has, at most all.
#[inline(always)]
fn store_part<O: BitOps<f32>>(ops: O, value: O::Simd, out: &mut [f32]) {
    if out.len() == ops.len() {
        ops.store(value, out);
    } else {
        let mut all = [0.0; MOST_LANES];
        ops.store(value, &mut all);
        out.copy_from_slice(&all[..out.len()]);
    }
}

/// A tensor of new elements.
fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> Tensor<D> {
    let layout = Layout::contiguous(Shape::from(shape));
    Tensor::from_primitive::<Flex>(FlexTensor::new(into_bytes(values), layout, DType::F32))
}
