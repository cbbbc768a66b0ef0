//! Prompts to embeddings.

use burn::tensor::{Int, Tensor, TensorData};

use crate::{PipelineError, model::Model};

/// What the denoiser is conditioned on.
pub(crate) struct Conditioning {
    /// `[2, tokens, dim]`, negative then positive; without guidance `[1, tokens, dim]`.
    pub(crate) embeddings: Tensor<3>,
    /// Tokens of the prompt that did not fit.
    pub(crate) truncated: usize,
}

impl Model {
    /// Upstream leaves layers out for the prompt only, never for the negative prompt.
    pub(crate) fn condition(
        &mut self,
        prompt: &str,
        negative_prompt: &str,
        guided: bool,
        clip_skip: usize,
    ) -> Result<Conditioning, PipelineError> {
        let (positive, truncated) = self.embed(prompt, clip_skip)?;
        let embeddings = match guided {
            true => Tensor::cat(vec![self.embed(negative_prompt, 0)?.0, positive], 0),
            false => positive,
        };
        Ok(Conditioning { embeddings, truncated })
    }

    fn embed(&mut self, text: &str, clip_skip: usize) -> Result<(Tensor<3>, usize), PipelineError> {
        let tokens = self.tokenizer.encode(text)?;
        let ids: Vec<i64> = tokens.ids.iter().map(|id| i64::from(*id)).collect();
        let shape = [1, ids.len()];
        let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, shape), self.device());
        Ok((self.text_encoder()?.forward(ids, clip_skip)?, tokens.truncated))
    }
}
