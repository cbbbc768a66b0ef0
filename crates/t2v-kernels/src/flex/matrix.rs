//! Linear layers.

use burn::{nn::Linear, tensor::Tensor};
use burn_flex::FlexTensor;
use rten_gemm::{BiasVector, GemmExecutor, GemmInputA, GemmInputB, GemmOptions};
use rten_tensor::Matrix;

use super::{elements, parameter, primitive, tensor};

/// A matrix in a buffer; none where the strides aren't ones of a matrix (negative ones).
pub(super) fn matrix(data: &[f32], shape: [usize; 2], strides: [usize; 2]) -> Option<Matrix<'_>> {
    Matrix::from_slice_with_strides(shape, data, strides).ok()
}

/// The last two dimensions of a tensor, without a copy.
fn last_two(x: &FlexTensor, index: usize) -> Option<Matrix<'_>> {
    let layout = x.layout();
    let (shape, strides) = (layout.shape(), layout.strides());
    let dims = strides.len();
    let stride = |dim: usize| usize::try_from(strides[dim]).ok();
    let batch = if dims > 2 { stride(dims - 3)? } else { 0 };
    matrix(
        &x.storage::<f32>()[layout.start_offset() + index * batch..],
        [shape[dims - 2], shape[dims - 1]],
        [stride(dims - 2)?, stride(dims - 1)?],
    )
}

/// `x weight + bias`; `x` may be a transposed view.
pub(crate) fn linear(layer: &Linear, x: Tensor<3>) -> Result<Tensor<3>, Tensor<3>> {
    let [batch, rows, _] = x.dims();
    let kept = x.clone();
    let multiply = || {
        let weight = primitive(layer.weight.val()).ok()?;
        let columns = weight.layout().shape()[1];
        let bias = match &layer.bias {
            Some(bias) => Some(parameter(bias.val())?),
            None => None,
        };
        let x = primitive(x).ok()?;
        let gemm = GemmExecutor::<f32>::default();
        let b = GemmInputB::Unpacked(last_two(&weight, 0)?);
        let options = GemmOptions {
            bias: bias.as_ref().map(|bias| BiasVector::Row(elements(bias))),
            ..Default::default()
        };
        let mut out = vec![0.0; batch * rows * columns];
        // Entries that follow each other in memory are one matrix.
        let strides = x.layout().strides();
        let joined = strides[0] == strides[1] * rows as isize;
        if joined {
            let (row, column) = (usize::try_from(strides[1]).ok()?, usize::try_from(strides[2]).ok()?);
            let data = &x.storage::<f32>()[x.layout().start_offset()..];
            let a = matrix(data, [batch * rows, x.layout().shape()[2]], [row, column])?;
            gemm.gemm(&mut out, GemmInputA::Unpacked(a), b, options).ok()?;
        } else {
            for (index, out) in out.chunks_mut(rows * columns).enumerate() {
                let a = GemmInputA::Unpacked(last_two(&x, index)?);
                gemm.gemm(out, a, b, options.clone()).ok()?;
            }
        }
        Some(tensor(out, [batch, rows, columns]))
    };
    multiply().ok_or(kept)
}
