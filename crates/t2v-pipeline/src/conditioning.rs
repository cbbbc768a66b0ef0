//! Prompts to embeddings.

use burn::tensor::Tensor;
use t2v_text_encoder::{Chunks, WeightedText, parse_weights};

use crate::{PipelineError, Prompt, PromptContext, PromptEnhancer, PromptTable, Report, model::Model};

/// Most chunks of a long prompt: the denoiser's time and memory grow with them.
const MAX_CHUNKS: usize = 32;

/// What is asked for with the prompts of a report.
pub(crate) struct Prompts<'a> {
    /// Whether the negative prompt counts.
    pub(crate) guided: bool,
    /// Layers to leave out for the prompt.
    pub(crate) clip_skip: usize,
    /// The request's `enhance_prompt`.
    pub(crate) enhance: Option<bool>,
    /// An enhancer that was given with the request.
    pub(crate) enhancer: Option<&'a dyn PromptEnhancer>,
}

/// What the denoiser is conditioned on.
pub(crate) struct Conditioning {
    /// `[2, tokens, dim]`, negative then positive; without guidance `[1, tokens, dim]`.
    pub(crate) embeddings: Tensor<3>,
}

impl Model {
    /// Embeddings of the report's prompts, which are completed there if they may be.
    ///
    /// Upstream leaves layers out for the prompt only, never for the negative prompt.
    pub(crate) fn condition(
        &mut self,
        prompts: &Prompts<'_>,
        report: &mut Report,
    ) -> Result<Conditioning, PipelineError> {
        self.enhance(prompts, report)?;
        report.textual_inversions = self
            .learnt_words_in(&format!("{} {}", report.prompt, report.negative_prompt))
            .map(str::to_owned)
            .collect();
        let mut positive = self.chunks(&report.prompt, report)?;
        report.truncated_tokens = positive.truncated;
        if !prompts.guided {
            let embeddings = self.text_encoder()?.embed(&positive.chunks, prompts.clip_skip)?;
            return Ok(Conditioning { embeddings });
        }
        let mut negative = self.chunks(&report.negative_prompt, report)?;
        let count = positive.chunks.len().max(negative.chunks.len());
        for prompt in [&mut positive, &mut negative] {
            prompt.chunks.resize(count, self.tokenizer.empty_chunk());
        }
        let negative = self.text_encoder()?.embed(&negative.chunks, 0)?;
        let positive = self.text_encoder()?.embed(&positive.chunks, prompts.clip_skip)?;
        let embeddings = Tensor::cat(vec![negative, positive], 0);
        Ok(Conditioning { embeddings })
    }

    fn chunks(&self, prompt: &str, report: &Report) -> Result<Chunks, PipelineError> {
        let parts = match report.prompt_weighting {
            true => parse_weights(prompt),
            false => vec![WeightedText::plain(prompt)],
        };
        let most = if report.long_prompts { MAX_CHUNKS } else { 1 };
        Ok(self.tokenizer.encode_chunks(&parts, most)?)
    }

    /// Completes the report's prompts: where the request is silent only with an enhancer that was given or that the
    /// checkpoint brings, so that other checkpoints give what they give in diffusers.
    fn enhance(&self, prompts: &Prompts<'_>, report: &mut Report) -> Result<(), PipelineError> {
        let built_in;
        let own = self
            .checkpoint
            .prompt_table
            .as_ref()
            .map(|table| table as &dyn PromptEnhancer);
        let enhancer = match (prompts.enhance, prompts.enhancer.or(own)) {
            (Some(false), _) | (None, None) => return Ok(()),
            (_, Some(enhancer)) => enhancer,
            (Some(true), None) => {
                built_in = PromptTable::built_in()?;
                &built_in
            }
        };
        let context = PromptContext::new(&self.tokenizer, report.long_prompts, report.seed);
        let prompt = Prompt {
            prompt: report.prompt.clone(),
            negative_prompt: Some(report.negative_prompt.clone()).filter(|text| !text.is_empty()),
        };
        let enhanced = enhancer.enhance(&prompt, &context)?;
        if enhanced.prompt != prompt.prompt {
            report.original_prompt = Some(prompt.prompt);
        }
        report.prompt = enhanced.prompt;
        report.negative_prompt = enhanced.negative_prompt.unwrap_or_default();
        Ok(())
    }
}
