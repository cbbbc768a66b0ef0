//! Prompts through UMT5, as Wan's pipeline takes them: cleaned, cut at a length, embeddings of padding as zeros.

use burn::tensor::Tensor;
use t2v_denoiser::Conditioning;
use t2v_kernels::lay_out;
use t2v_text_encoder::{T5Tokenizer, TextEncoderError, TextualInversion, Tokens, Umt5Encoder, clean_prompt};
use t2v_weights::{Component, LoadOptions, LoraSet, LoraTarget, Network, WeightsError};

use super::{Loaded, TextConditioner, parameter_bytes};
use crate::{PipelineError, Report, ValidationError};

/// Tokens that the denoiser attends to, with those that only fill up.
const MAX_TOKENS: usize = 512;

/// Adds what of a plan can't be done to prompts.
pub(super) fn check(plan: &Report, faults: &mut ValidationError) {
    if plan.clip_skip > 0 {
        faults.add(
            "clip_skip",
            "The model's text encoder is not CLIP: none of its layers can be left out.",
        );
    }
    if plan.prompt_weighting {
        faults.add(
            "prompt_weighting",
            "The model can't weight words: its text encoder is not CLIP.",
        );
    }
    if plan.long_prompts {
        let fault =
            format!("The model takes prompts of {MAX_TOKENS} tokens at once; it can't take longer ones in parts.");
        faults.add("long_prompts", fault);
    }
}

/// T5's tokenizer, and UMT5 while it is loaded.
pub(super) struct WanText {
    component: Component,
    options: LoadOptions,
    tokenizer: T5Tokenizer,
    model: Option<Loaded<Umt5Encoder>>,
}

impl WanText {
    /// Reads the tokenizer.
    pub(super) fn new(
        tokenizer: &Component,
        text_encoder: Component,
        options: &LoadOptions,
    ) -> Result<Self, PipelineError> {
        Ok(Self {
            component: text_encoder,
            options: options.clone(),
            tokenizer: T5Tokenizer::from_component(tokenizer)?,
            model: None,
        })
    }

    fn loaded(&mut self) -> Result<&Umt5Encoder, PipelineError> {
        let model = match self.model.take() {
            Some(model) => model,
            None => {
                let network = Umt5Encoder::from_component(&self.component, &self.options)?;
                let network = lay_out(network, self.options.device());
                Loaded {
                    bytes: parameter_bytes(&network),
                    network,
                }
            }
        };
        Ok(&self.model.insert(model).network)
    }

    fn tokens(&self, prompt: &str) -> Result<Tokens, TextEncoderError> {
        self.tokenizer.encode(&clean_prompt(prompt), MAX_TOKENS)
    }
}

impl TextConditioner for WanText {
    fn encode(&mut self, report: &mut Report, guided: bool) -> Result<Conditioning, PipelineError> {
        let positive = self.tokens(&report.prompt)?;
        report.truncated_tokens = positive.truncated;
        let negative = guided.then(|| self.tokens(&report.negative_prompt)).transpose()?;
        report.truncated_negative_tokens = negative.as_ref().map_or(0, |tokens| tokens.truncated);
        let model = self.loaded()?;
        let embeddings = negative
            .iter()
            .chain([&positive])
            .map(|tokens| model.embed(&tokens.ids, MAX_TOKENS));
        let embeddings: Vec<Tensor<3>> = embeddings.collect::<Result<_, _>>()?;
        Ok(Conditioning::new(Tensor::cat(embeddings, 0)))
    }

    fn fits(&self, text: &str) -> Result<bool, TextEncoderError> {
        Ok(self.tokens(text)?.truncated == 0)
    }

    /// LoRAs of Wan are for its transformer alone.
    fn set_loras(&mut self, set: &LoraSet) -> Result<(), WeightsError> {
        for (lora, _) in set.entries() {
            let count = lora.layers(LoraTarget::TextEncoder);
            if count == 0 {
                continue;
            }
            if lora.layers(LoraTarget::Denoiser) == 0 {
                return Err(WeightsError::Lora {
                    file: lora.origin().to_owned(),
                    reason: format!("its {count} layers are for a text encoder, and this model takes none of those"),
                });
            }
            log::warn!(
                "`{}` has {count} layers for a text encoder; this model takes none of those",
                lora.origin()
            );
        }
        Ok(())
    }

    fn add_textual_inversion(&mut self, _word: &TextualInversion) -> Result<(), PipelineError> {
        Err(PipelineError::Checkpoint(
            "learnt words are for CLIP's text encoder, which the model does not have".into(),
        ))
    }

    fn load(&mut self) -> Result<(), PipelineError> {
        self.loaded().map(drop)
    }

    fn unload(&mut self) {
        self.model = None;
    }

    fn loaded_bytes(&self) -> usize {
        self.model.as_ref().map_or(0, |model| model.bytes)
    }
}
