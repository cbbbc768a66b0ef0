//! What can be wrong with pictures and videos.

use std::path::Path;

/// A picture or video that can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MediaError {
    /// It is missing, damaged, too large, or something else.
    #[error("cannot use `{path}` to start from: {reason}")]
    Unusable {
        /// The file or folder.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// It is an MP4 that can't be read.
    #[error(transparent)]
    Mp4(#[from] t2v_mp4::Mp4Error),
}

pub(crate) fn fault(path: &Path, reason: impl ToString) -> MediaError {
    MediaError::Unusable {
        path: path.display().to_string(),
        reason: reason.to_string(),
    }
}
