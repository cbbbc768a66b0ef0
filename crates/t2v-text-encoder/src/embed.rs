//! Chunks of tokens to the embeddings that a denoiser attends to.

use burn::tensor::{Int, Tensor, TensorData};

use crate::{Chunk, ClipTextModel, TextEncoderError};

/// Where the mean after weighting is so near zero that restoring it would scale by more, or by less than the inverse, the
/// embeddings stay as weighted: the ratio says nothing about their size.
const MAX_RESTORATION: f64 = 4.0;

impl ClipTextModel {
    /// Embeddings of each chunk, one after the other along the axis of tokens.
    ///
    /// Weights multiply the embeddings of their tokens; then the chunk is scaled so that its mean over all tokens and
    /// channels is what it was before, as in A1111's web UI. Chunks whose weights are all 1 are left alone.
    ///
    /// # Shapes
    /// - output: `[1, chunks * tokens, hidden_size]`
    ///
    /// # Errors
    /// A token that the encoder does not know, and as for [`forward`](Self::forward).
    pub fn embed(&self, chunks: &[Chunk], clip_skip: usize) -> Result<Tensor<3>, TextEncoderError> {
        let rows = self.config().vocab_size;
        if let Some(id) = chunks.iter().flat_map(|c| &c.ids).find(|id| **id as usize >= rows) {
            return Err(TextEncoderError::UnknownToken { id: *id, rows });
        }
        let len = chunks.first().map_or(0, |chunk| chunk.ids.len());
        let ids: Vec<i64> = chunks.iter().flat_map(|c| &c.ids).map(|id| i64::from(*id)).collect();
        let ids = TensorData::new(ids, [chunks.len(), len]);
        let hidden = self.forward(Tensor::<2, Int>::from_data(ids, &self.device()), clip_skip)?;
        let hidden = weigh(hidden, chunks);
        let [count, len, width] = hidden.dims();
        Ok(hidden.reshape([1, count * len, width]))
    }
}

/// # Shapes
/// - hidden: `[chunks, tokens, hidden_size]`, and so is the result
fn weigh(hidden: Tensor<3>, chunks: &[Chunk]) -> Tensor<3> {
    if chunks
        .iter()
        .flat_map(|chunk| &chunk.weights)
        .all(|weight| *weight == 1.0)
    {
        return hidden;
    }
    let [count, len, _] = hidden.dims();
    let means: Vec<f64> = hidden.clone().mean_dim(2).into_data().iter::<f64>().collect();
    let factors = chunks.iter().zip(means.chunks(len));
    let factors: Vec<f32> = factors
        .flat_map(|(chunk, means)| restored(&chunk.weights, means))
        .collect();
    let factors = TensorData::new(factors, [count, len, 1]);
    let factors = Tensor::<3>::from_data(factors, &hidden.device()).cast(hidden.dtype());
    hidden * factors
}

/// Weights times what restores the mean of a chunk; `means` are those of its tokens.
fn restored(weights: &[f32], means: &[f64]) -> Vec<f32> {
    let before: f64 = means.iter().sum();
    let after: f64 = means.iter().zip(weights).map(|(mean, w)| mean * f64::from(*w)).sum();
    let ratio = before / after;
    let ratio = match (1.0 / MAX_RESTORATION..=MAX_RESTORATION).contains(&ratio) {
        true => ratio,
        false => 1.0,
    };
    weights.iter().map(|w| (f64::from(*w) * ratio) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_is_restored_unless_it_is_nothing() {
        let factors = restored(&[1.0, 2.0], &[1.0, 1.0]);
        assert_eq!(factors, [2.0 / 3.0, 4.0 / 3.0]);
        assert_eq!(restored(&[1.0, 2.0], &[2.0, -1.0]), [1.0, 2.0]);
        assert_eq!(restored(&[1.0, 1.5], &[-1.0, 1.0]), [1.0, 1.5]);
    }
}
