//! Rows of a table by their numbers.

use burn::{
    nn::Embedding,
    tensor::{DType, Int, Tensor, TensorData},
};
use t2v_quant::Quantized;

/// The rows of a table. Of one in quantised blocks only those that are asked for are widened.
///
/// # Shapes
/// - ids: `[batch, tokens]`, each below the number of rows
/// - output: `[batch, tokens, width]`
///
/// # Panics
/// On a number that no row has.
#[must_use]
pub fn embed(table: &Embedding, ids: Tensor<2, Int>) -> Tensor<3> {
    let Some(quantized) = Quantized::of(&table.weight) else {
        return table.forward(ids);
    };
    let ([batch, tokens], device) = (ids.dims(), ids.device());
    let (format, [rows, width], blocks) = (quantized.format(), quantized.shape(), quantized.blocks());
    let row_bytes = quantized.byte_len() / rows;
    let mut values = vec![0.0; batch * tokens * width];
    for (id, out) in ids.into_data().iter::<i64>().zip(values.chunks_mut(width)) {
        let is_row = usize::try_from(id).is_ok_and(|id| id < rows);
        assert!(is_row, "the table has {rows} rows; there is none with the number {id}");
        let start = id as usize * row_bytes;
        let row = blocks.clone().slice(start..start + row_bytes).into_data();
        format.widen(row.as_bytes(), 0, out);
    }
    let data = TensorData::new(values, [batch, tokens, width]);
    Tensor::from_data(data, (&device, DType::F32))
}
