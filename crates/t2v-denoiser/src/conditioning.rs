//! What a denoiser is told besides the noisy latents and their timestep.

use burn::tensor::{DType, Tensor};

/// What a denoiser is conditioned on: text today; families that need more add fields.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Conditioning {
    /// Text embeddings, `[batch, tokens, dim]`.
    pub text: Tensor<3>,
}

impl Conditioning {
    /// On text embeddings alone, `[batch, tokens, dim]`.
    #[must_use]
    pub fn new(text: Tensor<3>) -> Self {
        Self { text }
    }

    /// Clips that it is for.
    #[must_use]
    pub fn batch(&self) -> usize {
        self.text.dims()[0]
    }

    /// The type that latents must have beside it.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.text.dtype()
    }

    /// That of the last clip alone: of the prompt, where the negative prompt comes before it.
    #[must_use]
    pub fn last(&self) -> Self {
        let batch = self.batch();
        Self {
            text: self.text.clone().slice_dim(0, batch - 1..batch),
        }
    }
}
