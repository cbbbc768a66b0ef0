//! Prompts continued by a language model.

use std::path::Path;

use burn::tensor::Device;
use t2v_text_encoder::{Gpt2, Sampling};

use crate::{Prompt, PromptContext, PromptEnhancer, PromptError};

/// Continues prompts with a GPT-2 model from a local folder of transformers, such as one that was trained on prompts.
///
/// The seed of the generation decides what is drawn, so the same request gets the same prompt. Of a continuation that
/// does not fit the text encoder the end is left out, word by word. The negative prompt is left as it is.
///
/// ```no_run
/// # fn open(device: &burn::tensor::Device) -> Result<(), t2v_prompts::PromptError> {
/// let enhancer = t2v_prompts::Gpt2Enhancer::open("models/prompt-gpt2", device)?.with_temperature(0.6);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Gpt2Enhancer {
    model: Gpt2,
    sampling: Sampling,
}

impl Gpt2Enhancer {
    /// Loads the model.
    ///
    /// # Errors
    /// A folder or file that is missing, damaged or of another kind.
    pub fn open(folder: impl AsRef<Path>, device: &Device) -> Result<Self, PromptError> {
        Ok(Self {
            model: Gpt2::open(folder, device)?,
            sampling: Sampling::default(),
        })
    }

    /// Sets the temperature, 0.8 otherwise; small values make for likely prompts.
    #[must_use]
    pub fn with_temperature(mut self, temperature: f32) -> Self {
        self.sampling.temperature = temperature;
        self
    }

    /// Sets from how many of the likeliest tokens one is drawn, 40 otherwise.
    #[must_use]
    pub fn with_top_k(mut self, top_k: usize) -> Self {
        self.sampling.top_k = top_k;
        self
    }

    /// Sets how many tokens are added at most, 40 otherwise.
    #[must_use]
    pub fn with_max_new_tokens(mut self, tokens: usize) -> Self {
        self.sampling.max_new_tokens = tokens;
        self
    }
}

impl PromptEnhancer for Gpt2Enhancer {
    fn enhance(&self, prompt: &Prompt, context: &PromptContext<'_>) -> Result<Prompt, PromptError> {
        let mut sampling = self.sampling;
        sampling.seed = context.seed().into();
        let text = prompt.prompt.trim_end();
        let continuation = self.model.complete(text, &sampling)?;
        // Half a character at the end is a replacement character.
        let mut added = continuation.trim_end_matches('\u{fffd}').trim_end();
        let mut enhanced = prompt.clone();
        while !added.trim().is_empty() {
            let longer = format!("{text}{added}");
            if context.fits(&longer)? {
                enhanced.prompt = longer;
                break;
            }
            added = added
                .rsplit_once(char::is_whitespace)
                .map_or("", |(shorter, _)| shorter.trim_end());
        }
        Ok(enhanced)
    }
}
