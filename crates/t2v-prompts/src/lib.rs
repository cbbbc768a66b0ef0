//! Prompts completed before they are encoded: the API's `enhance_prompt`.
//!
//! The key decision: completing is a function of the prompt and the seed alone, so a request gives the same video again; what is added
//! is no more than the text encoder takes.

mod error;
mod gpt2;
mod phrases;
mod table;
#[cfg(test)]
mod tests;

pub use error::PromptError;
pub use gpt2::Gpt2Enhancer;
use t2v_text_encoder::TextEncoderError;
pub use table::PromptTable;

/// Completes prompts.
///
/// [`PromptTable`] is the one that is built in; [`Gpt2Enhancer`] asks a language model. Another may be written:
///
/// ```
/// use t2v_prompts::{Prompt, PromptContext, PromptEnhancer, PromptError};
///
/// struct Slowly;
///
/// impl PromptEnhancer for Slowly {
///     fn enhance(&self, prompt: &Prompt, context: &PromptContext<'_>) -> Result<Prompt, PromptError> {
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
    fn enhance(&self, prompt: &Prompt, context: &PromptContext<'_>) -> Result<Prompt, PromptError>;
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
    fits: &'a dyn Fn(&str) -> Result<bool, TextEncoderError>,
    seed: u32,
}

impl<'a> PromptContext<'a> {
    /// A generation of this seed with a text encoder of which `fits` says whether it takes all of a text.
    #[must_use]
    pub fn new(fits: &'a dyn Fn(&str) -> Result<bool, TextEncoderError>, seed: u32) -> Self {
        Self { fits, seed }
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
    pub fn fits(&self, text: &str) -> Result<bool, PromptError> {
        Ok((self.fits)(text)?)
    }
}
