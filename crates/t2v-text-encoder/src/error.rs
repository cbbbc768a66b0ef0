//! What can go wrong while text is encoded.

/// A tokenizer or text encoder that can't be built, or a text that it can't take.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TextEncoderError {
    /// A value of the configuration that no encoder can have.
    #[error("`{key}` of the text encoder's configuration {reason}")]
    Config {
        /// The key.
        key: &'static str,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// A value of an image encoder's configuration that no such encoder can have.
    #[error("`{key}` of the image encoder's configuration {reason}")]
    Vision {
        /// The key.
        key: &'static str,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// The tokenizer's files don't make a tokenizer.
    #[error("`{file}`: {reason}")]
    Tokenizer {
        /// The file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A prompt has a token that the text encoder's table of embeddings lacks: the tokenizer is another one's.
    #[error(
        "the tokenizer gives the token {id}, but the text encoder's `vocab_size` is {rows}; they do not fit together"
    )]
    UnknownToken {
        /// The token.
        id: u32,
        /// Rows of the table.
        rows: usize,
    },
    /// `clip_skip` asks for more layers to be left out than there are.
    #[error("clip_skip is {clip_skip} but the text encoder has {layers} layers; it may be 0 to {layers}")]
    ClipSkip {
        /// What was asked for.
        clip_skip: usize,
        /// The encoder's layers.
        layers: usize,
    },
    /// A learnt embedding that can't be used.
    #[error("the embedding `{file}` cannot be used: {reason}")]
    Embedding {
        /// The file.
        file: String,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// The files could not be read, or don't fit.
    #[error(transparent)]
    Weights(#[from] t2v_weights::WeightsError),
}
