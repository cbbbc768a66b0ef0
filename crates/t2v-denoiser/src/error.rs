//! What can go wrong while a denoiser is built.

/// A denoising model that can't be built or loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DenoiserError {
    /// A value of the configuration that no network can have.
    #[error("`{key}` of the denoiser's configuration {reason}")]
    Config {
        /// The key.
        key: &'static str,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// The files could not be read, or don't fit.
    #[error(transparent)]
    Weights(#[from] t2v_weights::WeightsError),
}
