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
    /// What the file has that cannot be read, and what would help.
    Unsupported(String, Remedy),
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

/// What makes a file readable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// Conversion, with these options more.
    Convert(&'static str),
    Decrypt,
    /// There is nothing in it to convert.
    None,
}

impl Remedy {
    /// As the end of a sentence about a file.
    fn sentence(self, path: &Path) -> String {
        match self {
            Self::Convert(options) => {
                let command = ffmpeg(path, options);
                format!("{command} makes a file that can be read")
            }
            Self::Decrypt => "it must be decrypted first".to_owned(),
            Self::None => "a video is needed".to_owned(),
        }
    }
}

/// The command that makes a readable file of any video.
pub(crate) fn ffmpeg(path: &Path, options: &str) -> String {
    let space = if options.is_empty() { "" } else { " " };
    format!("`ffmpeg -i {path:?}{space}{options} -c:v libx264 -pix_fmt yuv420p readable.mp4`")
}

impl Fault {
    /// Of a kind that plain conversion makes readable.
    pub(crate) fn unsupported(what: impl Into<String>) -> Self {
        Self::Unsupported(what.into(), Remedy::Convert(""))
    }

    /// For `map_err`: the error, with the path.
    pub(crate) fn of(path: &Path) -> impl FnOnce(Self) -> Mp4Error {
        move |fault| {
            let path = path.to_path_buf();
            match fault {
                Self::Malformed(reason) => Mp4Error::Malformed { path, reason },
                Self::Unsupported(what, remedy) => {
                    let remedy = remedy.sentence(&path);
                    Mp4Error::Unsupported { path, what, remedy }
                }
                Self::Limit { what, actual, limit } => Mp4Error::ReadLimit {
                    path,
                    what,
                    actual,
                    limit,
                },
                Self::Decoder { frame, source } => {
                    let remedy = Remedy::Convert("-profile:v main").sentence(&path);
                    Mp4Error::Decoder {
                        path,
                        frame,
                        source,
                        remedy,
                    }
                }
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
