//! Why a prompt can't be completed.

/// What can go wrong when a prompt is completed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PromptError {
    /// A table can't be used.
    #[error("the prompt table `{file}` cannot be used: {reason}")]
    Table {
        /// The file.
        file: String,
        /// The key at fault, and what would be right.
        reason: String,
    },
    /// An enhancer could not do its work.
    #[error("the prompt could not be completed: {0}")]
    Enhancer(String),
    /// The model folder can't be read.
    #[error(transparent)]
    Weights(#[from] t2v_weights::WeightsError),
    /// The language model or the tokenizer can't be used.
    #[error(transparent)]
    TextEncoder(#[from] t2v_text_encoder::TextEncoderError),
}
