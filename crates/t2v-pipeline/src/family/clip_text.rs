//! Prompts through CLIP's text encoder: weighted, long, with learnt words, with layers left out.

use burn::tensor::Tensor;
use t2v_denoiser::Conditioning;
use t2v_text_encoder::{
    Chunks, ClipTextConfig, ClipTextModel, ClipTokenizer, TextEncoderError, TextualInversion, WeightedText,
    parse_weights,
};
use t2v_weights::{Component, LoadOptions, LoraSet, LoraTarget, Network, WeightsError};

use super::{TextConditioner, adapted::Adapted};
use crate::{PipelineError, Report, ValidationError};

/// Most chunks of a long prompt: the denoiser's time and memory grow with them.
const MAX_CHUNKS: usize = 32;

/// Adds what of a plan a text encoder of this configuration can't do.
pub(super) fn check(config: &ClipTextConfig, plan: &Report, faults: &mut ValidationError) {
    let (skip, layers) = (plan.clip_skip, config.num_hidden_layers);
    if skip as usize > layers {
        faults.add(
            "clip_skip",
            format!("The clip skip may not be greater than {layers}, the layers of the text encoder, not {skip}."),
        );
    }
}

/// CLIP's tokenizer, and its text encoder while it is loaded.
pub(super) struct ClipText {
    component: Component,
    options: LoadOptions,
    tokenizer: ClipTokenizer,
    /// Learnt words that were added, each with its first token.
    textual_inversions: Vec<(TextualInversion, usize)>,
    loras: LoraSet,
    model: Option<Adapted<ClipTextModel>>,
}

impl ClipText {
    /// Reads the tokenizer.
    pub(super) fn new(
        tokenizer: Component,
        text_encoder: Component,
        config: &ClipTextConfig,
        options: &LoadOptions,
    ) -> Result<Self, PipelineError> {
        Ok(Self {
            component: text_encoder,
            options: options.clone(),
            tokenizer: ClipTokenizer::from_component(&tokenizer, config.max_position_embeddings)?,
            textual_inversions: Vec::new(),
            loras: LoraSet::new(),
            model: None,
        })
    }

    /// The text encoder, with its learnt words, and the tokenizer.
    fn loaded(&mut self) -> Result<(&mut ClipTextModel, &mut ClipTokenizer), PipelineError> {
        let model = match self.model.take() {
            Some(model) => model,
            None => {
                let mut model = ClipTextModel::from_component(&self.component, &self.options)?;
                for (word, first) in &self.textual_inversions {
                    word.write_to(&mut model, *first);
                }
                let mut model = Adapted::new(model, LoraTarget::TextEncoder, &self.options);
                model.set_loras(&self.loras)?;
                model
            }
        };
        Ok((&mut self.model.insert(model).network, &mut self.tokenizer))
    }

    fn chunks(&self, prompt: &str, report: &Report) -> Result<Chunks, PipelineError> {
        let parts = match report.prompt_weighting {
            true => parse_weights(prompt),
            false => vec![WeightedText::plain(prompt)],
        };
        let most = if report.long_prompts { MAX_CHUNKS } else { 1 };
        Ok(self.tokenizer.encode_chunks(&parts, most)?)
    }

    /// The learnt words that the prompts have.
    fn learnt_words(&self, report: &Report) -> Vec<String> {
        let prompts = format!("{} {}", report.prompt, report.negative_prompt).to_lowercase();
        let words = self.textual_inversions.iter().map(|(word, _)| word.token());
        words
            .filter(|word| prompts.contains(&word.to_lowercase()))
            .map(str::to_owned)
            .collect()
    }
}

impl TextConditioner for ClipText {
    /// Upstream leaves layers out for the prompt only, never for the negative prompt.
    fn encode(&mut self, report: &mut Report, guided: bool) -> Result<Conditioning, PipelineError> {
        report.textual_inversions = self.learnt_words(report);
        let mut positive = self.chunks(&report.prompt, report)?;
        report.truncated_tokens = positive.truncated;
        let clip_skip = report.clip_skip as usize;
        if !guided {
            let (model, _) = self.loaded()?;
            return Ok(Conditioning::new(model.embed(&positive.chunks, clip_skip)?));
        }
        let mut negative = self.chunks(&report.negative_prompt, report)?;
        report.truncated_negative_tokens = negative.truncated;
        let count = positive.chunks.len().max(negative.chunks.len());
        for prompt in [&mut positive, &mut negative] {
            prompt.chunks.resize(count, self.tokenizer.empty_chunk());
        }
        let (model, _) = self.loaded()?;
        let negative = model.embed(&negative.chunks, 0)?;
        let positive = model.embed(&positive.chunks, clip_skip)?;
        Ok(Conditioning::new(Tensor::cat(vec![negative, positive], 0)))
    }

    fn fits(&self, text: &str) -> Result<bool, TextEncoderError> {
        Ok(self.tokenizer.count(text)? <= self.tokenizer.room())
    }

    fn add_textual_inversion(&mut self, word: &TextualInversion) -> Result<(), PipelineError> {
        let (model, tokenizer) = self.loaded()?;
        let first = word.add_to(tokenizer, model)?;
        self.textual_inversions.push((word.clone(), first));
        Ok(())
    }

    fn set_loras(&mut self, set: &LoraSet) -> Result<(), WeightsError> {
        self.loras = LoraSet::new();
        if let Some(model) = &mut self.model {
            model.set_loras(set)?;
        }
        self.loras = set.clone();
        Ok(())
    }

    fn load(&mut self) -> Result<(), PipelineError> {
        self.loaded().map(drop)
    }

    fn unload(&mut self) {
        self.model = None;
    }

    fn loaded_bytes(&self) -> usize {
        self.model.as_ref().map_or(0, Adapted::bytes)
    }
}
