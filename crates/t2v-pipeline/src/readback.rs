//! Values back from the device, for which it finishes its work: this is where its failures show.

use burn::tensor::Tensor;

use crate::PipelineError;

/// The values of a tensor, row by row.
///
/// # Errors
/// What failed on the device since values were last read.
pub(crate) fn values<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, PipelineError> {
    let read = tensor.try_into_vec_as::<f32>();
    read.map_err(|fault| PipelineError::of_device(&fault.to_string()))
}

/// The value of a tensor that has one.
///
/// # Errors
/// As for [`values`].
pub(crate) fn value(tensor: Tensor<1>) -> Result<f32, PipelineError> {
    Ok(values(tensor)?.first().copied().unwrap_or(f32::NAN))
}
