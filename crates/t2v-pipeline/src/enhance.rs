//! Prompts completed before they are encoded: the API's `enhance_prompt`.

mod gpt2;
mod phrases;
mod table;
#[cfg(test)]
mod tests;

pub use gpt2::Gpt2Enhancer;
pub use table::PromptTable;

use crate::{PipelineError, Report, family::TextConditioner};

/// Completes prompts.
///
/// [`PromptTable`] is the one that is built in; [`Gpt2Enhancer`] asks a language model. Another is given with
/// [`GenerateOptions::enhancer`](crate::GenerateOptions::enhancer):
///
/// ```
/// use t2v_pipeline::{PipelineError, Prompt, PromptContext, PromptEnhancer};
///
/// struct Slowly;
///
/// impl PromptEnhancer for Slowly {
///     fn enhance(&self, prompt: &Prompt, context: &PromptContext<'_>) -> Result<Prompt, PipelineError> {
///         let mut enhanced = prompt.clone();
///         enhanced.prompt.push_str(", slow motion");
///         Ok(if context.fits(&enhanced.prompt)? { enhanced } else { prompt.clone() })
///     }
/// }
/// ```
pub trait PromptEnhancer: Send + Sync {
    /// The completed prompts; the same prompts in the same context always give the same.
    ///
    /// # Errors
    /// The enhancer can't do its work; a prompt that needs nothing is no error.
    fn enhance(&self, prompt: &Prompt, context: &PromptContext<'_>) -> Result<Prompt, PipelineError>;
}

/// What a video should show, and what it should not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Prompt {
    /// The prompt.
    pub prompt: String,
    /// The negative prompt; `None` where the request has none, and an enhancer may put one.
    pub negative_prompt: Option<String>,
}

impl Prompt {
    /// A prompt without a negative prompt.
    #[must_use]
    pub fn new(prompt: impl Into<String>) -> Self {
        Self {
            prompt: prompt.into(),
            negative_prompt: None,
        }
    }

    /// Sets the negative prompt.
    #[must_use]
    pub fn with_negative_prompt(mut self, negative_prompt: impl Into<String>) -> Self {
        self.negative_prompt = Some(negative_prompt.into());
        self
    }
}

/// What an enhancer may want to know of the generation.
pub struct PromptContext<'a> {
    text: &'a dyn TextConditioner,
    long_prompts: bool,
    seed: u32,
}

impl<'a> PromptContext<'a> {
    pub(crate) fn new(text: &'a dyn TextConditioner, long_prompts: bool, seed: u32) -> Self {
        Self {
            text,
            long_prompts,
            seed,
        }
    }

    /// The seed of the generation, for enhancers that choose at random.
    #[must_use]
    pub fn seed(&self) -> u32 {
        self.seed
    }

    /// Whether all of `text` reaches the model: it has no more tokens than the text encoder takes, or long prompts are on.
    ///
    /// # Errors
    /// The tokenizer refuses the text, which no text should make it do.
    pub fn fits(&self, text: &str) -> Result<bool, PipelineError> {
        Ok(self.long_prompts || self.text.fits(text)?)
    }
}

/// Completes the report's prompts, if they may be: where the request is silent (`wanted`) only with an enhancer that was given
/// or with the checkpoint's own, so that other checkpoints give what they give in diffusers.
pub(crate) fn complete_prompts(
    report: &mut Report,
    wanted: Option<bool>,
    given: Option<&dyn PromptEnhancer>,
    own: Option<&PromptTable>,
    text: &dyn TextConditioner,
) -> Result<(), PipelineError> {
    let built_in;
    let own = own.map(|table| table as &dyn PromptEnhancer);
    let enhancer = match (wanted, given.or(own)) {
        (Some(false), _) | (None, None) => return Ok(()),
        (_, Some(enhancer)) => enhancer,
        (Some(true), None) => {
            built_in = PromptTable::built_in()?;
            &built_in
        }
    };
    let context = PromptContext::new(text, report.long_prompts, report.seed);
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
