//! What is wrong with a file that is read, before it is known which file.

use std::error::Error as StdError;
use std::io;
use std::path::Path;

use crate::error::Mp4Error;

/// Becomes an error of [`Mp4Error`] with the path.
#[derive(Debug)]
pub(crate) enum Fault {
    /// What is wrong with the file.
    Malformed(&'static str),
    /// What the file has that cannot be read.
    Unsupported(String),
    /// More than the caller allows.
    Limit {
        what: &'static str,
        actual: u64,
        limit: u64,
    },
    /// A sample that cannot be decoded.
    Decoder {
        frame: u32,
        source: Box<dyn StdError + Send + Sync>,
    },
    Io(io::Error),
}

impl Fault {
    /// For `map_err`: the error, with the path.
    pub(crate) fn of(path: &Path) -> impl FnOnce(Self) -> Mp4Error {
        move |fault| {
            let path = path.to_path_buf();
            match fault {
                Self::Malformed(reason) => Mp4Error::Malformed { path, reason },
                Self::Unsupported(what) => Mp4Error::Unsupported { path, what },
                Self::Limit { what, actual, limit } => Mp4Error::ReadLimit {
                    path,
                    what,
                    actual,
                    limit,
                },
                Self::Decoder { frame, source } => Mp4Error::Decoder { path, frame, source },
                Self::Io(source) => Mp4Error::Io {
                    action: "read",
                    path,
                    source,
                },
            }
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}
