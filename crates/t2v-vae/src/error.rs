//! What can go wrong while an autoencoder is built.

/// An autoencoder that can't be built or loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VaeError {
    /// A value of the configuration that no autoencoder can have.
    #[error("`{key}` of the VAE's configuration {reason}")]
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

/// The error of a key's value.
pub(crate) fn fault(key: &'static str, reason: impl Into<String>) -> Result<(), VaeError> {
    let reason = reason.into();
    Err(VaeError::Config { key, reason })
}
