//! What can go wrong between an id and its folder.

/// A model of the hub that can't be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// The id or revision is none, or the model is neither in the cache nor to be downloaded.
    #[error("cannot use the model `{id}` of the Hugging Face Hub: {reason}")]
    Unavailable {
        /// What was asked for.
        id: String,
        /// What is wrong.
        reason: String,
    },
    /// The folder is there and can't be read.
    #[error(transparent)]
    Weights(#[from] t2v_weights::WeightsError),
}

impl HubError {
    pub(crate) fn unavailable(id: &str, reason: impl Into<String>) -> Self {
        // An id may come from anybody.
        let id = id.chars().take(100).flat_map(char::escape_debug).collect();
        let reason = reason.into();
        Self::Unavailable { id, reason }
    }
}
