//! What can go wrong.

use std::error::Error as StdError;
use std::io;
use std::path::{Path, PathBuf};

use crate::fault::ffmpeg;
use crate::format::OutputFormat;
use crate::rate::FrameRate;

/// A [`std::result::Result`] with this crate's error.
pub type Result<T, E = Mp4Error> = std::result::Result<T, E>;

/// Why a video could not be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Mp4Error {
    /// The format cannot hold pictures of this size.
    #[error("a video of {width}x{height} pixels cannot be written as {format}: both sides must be {least} to {} pixels{}",
        most.0, short_side_limit(*most))]
    Size {
        /// The width asked for.
        width: u32,
        /// The height asked for.
        height: u32,
        /// The format asked for.
        format: OutputFormat,
        /// The least side.
        least: u32,
        /// The greatest longer and shorter side.
        most: (u32, u32),
    },

    /// The frame rate has a zero in it.
    #[error("a frame rate of {rate} is not a positive number")]
    FrameRate {
        /// The rate asked for.
        rate: FrameRate,
    },

    /// The format cannot time frames at this rate.
    #[error("a frame rate of {rate} cannot be shown in {format}: it must be from {lowest} to {highest}")]
    FrameRateRange {
        /// The rate asked for.
        rate: FrameRate,
        /// The format asked for.
        format: OutputFormat,
        /// The lowest rate of the format.
        lowest: FrameRate,
        /// The highest rate of the format.
        highest: FrameRate,
    },

    /// A text is no frame rate.
    #[error("{text:?} is not a frame rate: give a positive number or fraction, as 24 or 24000/1001")]
    FrameRateText {
        /// The text.
        text: String,
    },

    /// The keyframe interval is zero.
    #[error("a keyframe interval of 0 frames is impossible: give at least 1")]
    KeyframeInterval,

    /// An entry of the metadata cannot be written.
    #[error("the metadata entry {key:?} cannot be written: {reason}")]
    Metadata {
        /// The key.
        key: String,
        /// What is wrong, or would be right.
        reason: &'static str,
    },

    /// The extension of the path stands for no format.
    #[error(
        "cannot tell the format of {path:?}: the extension should be mp4, gif, webp, png, apng, or none for a folder"
    )]
    UnknownFormat {
        /// The path to write to.
        path: PathBuf,
    },

    /// A file to read is not an MP4 file, or damaged.
    #[error("{path:?} is not a readable MP4 file: {reason}")]
    Malformed {
        /// The path to read.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },

    /// A file to read frames from is of a kind that is not supported.
    #[error("cannot read frames from {path:?}: {what}; {remedy}")]
    Unsupported {
        /// The path to read.
        path: PathBuf,
        /// What the file has, as a clause.
        what: String,
        /// What makes it readable, as a clause.
        remedy: String,
    },

    /// A file to read frames from exceeds the [`ReadLimits`](crate::ReadLimits).
    #[error("cannot read frames from {path:?}: it has {actual} {what}, and at most {limit} are allowed; {}",
        within(path, what, *limit))]
    ReadLimit {
        /// The path to read.
        path: PathBuf,
        /// What there is too much of, in the plural.
        what: &'static str,
        /// How much there is.
        actual: u64,
        /// How much is allowed.
        limit: u64,
    },

    /// A frame cannot be decoded, since it is damaged, or the decoder does not know its kind (CAVLC with transforms of 8x8 at high
    /// quality).
    #[error("cannot decode frame {frame} of {path:?}: {source}; if it is not damaged, {remedy}")]
    Decoder {
        /// The path to read.
        path: PathBuf,
        /// The frame's number, from 0.
        frame: u32,
        /// What is wrong with it.
        source: Box<dyn StdError + Send + Sync>,
        /// What may make it readable.
        remedy: String,
    },

    /// The quality lies outside `0..=100`.
    #[error("a quality of {quality} is not between 0 and 100")]
    Quality {
        /// The quality asked for.
        quality: u8,
    },

    /// The path to write to is empty.
    #[error("the path of the video to write is empty")]
    EmptyPath,

    /// The folder to write into does not exist.
    #[error("cannot write {path:?}: there is no folder {folder:?}")]
    MissingFolder {
        /// The path to write to.
        path: PathBuf,
        /// Its parent.
        folder: PathBuf,
    },

    /// Something other than a regular file, such as a folder or a device, has this path.
    #[error("cannot write {path:?}: it names a folder or a device, not a file")]
    NotAFile {
        /// The path to write to.
        path: PathBuf,
    },

    /// A folder of frames is to be written, and the folder is not empty.
    #[error("cannot write {path:?}: it exists and is not an empty folder")]
    FolderInUse {
        /// The path to write to.
        path: PathBuf,
    },

    /// A write-protected file has this path.
    #[error("cannot write {path:?}: the file there is write-protected")]
    WriteProtected {
        /// The path to write to.
        path: PathBuf,
    },

    /// The file system refused.
    #[error("cannot {action} {path:?}: {source}")]
    Io {
        /// What was attempted, as a verb.
        action: &'static str,
        /// The path to write to or read from.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },

    /// A frame has the wrong number of values. The writer can still be used.
    #[error("frame {frame} has {actual} values, but {width}x{height} pixels of RGB take {expected}")]
    FrameLength {
        /// The frame's number, from 0.
        frame: u32,
        /// The width of the video.
        width: u32,
        /// The height of the video.
        height: u32,
        /// The values that a frame must have.
        expected: usize,
        /// The values that it has.
        actual: usize,
    },

    /// The encoder yielded no picture for a frame.
    #[error("the encoder dropped frame {frame}")]
    FrameDropped {
        /// The frame's number, from 0.
        frame: u32,
    },

    /// The encoder failed.
    #[error("the encoder failed at frame {frame}: {source}")]
    Encoder {
        /// The frame's number, from 0.
        frame: u32,
        /// What it reported.
        source: Box<dyn StdError + Send + Sync>,
    },

    /// The encoder's output cannot be put into an MP4 file.
    #[error("the encoder's output for frame {frame} is unusable: {reason}")]
    Bitstream {
        /// The frame's number, from 0.
        frame: u32,
        /// What is wrong with it.
        reason: &'static str,
    },

    /// The boxes that describe the video could not be made.
    #[error("cannot describe the video in {box_type:?} boxes: {reason}")]
    Boxes {
        /// The box at fault.
        box_type: &'static str,
        /// What is wrong with it.
        reason: String,
    },

    /// An encoder of pictures failed.
    #[error("frame {frame} cannot be written as {format}: {source}")]
    Picture {
        /// The frame's number, from 0.
        frame: u32,
        /// The format.
        format: OutputFormat,
        /// What the encoder reported.
        source: Box<dyn StdError + Send + Sync>,
    },

    /// The file would be larger than its format can say.
    #[error("cannot write {path:?}: the video is larger than the 4 GiB of a {format} file")]
    FileTooLarge {
        /// The path to write to.
        path: PathBuf,
        /// The format.
        format: OutputFormat,
    },

    /// A file cannot hold more frames.
    #[error("the video has reached the {limit} frames that a file can hold")]
    TooManyFrames {
        /// The highest possible number of frames.
        limit: u32,
    },

    /// [`Writer::finish`](crate::Writer::finish) was called before any frame was pushed.
    #[error("cannot write {path:?}: a video needs at least one frame")]
    NoFrames {
        /// The path to write to.
        path: PathBuf,
    },

    /// An earlier call failed half-way, so that the video would lack a frame.
    #[error("cannot go on with {path:?}: writing an earlier frame failed")]
    Broken {
        /// The path to write to.
        path: PathBuf,
    },
}

impl Mp4Error {
    /// For `map_err`: an input or output error with what was attempted, on which path.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io {
            action,
            path: path.to_path_buf(),
            source,
        }
    }
}

/// The end of the sentence about limits: what brings a file within them.
fn within(path: &Path, what: &str, limit: u64) -> String {
    match what {
        "frames" => {
            let command = ffmpeg(path, &format!("-frames:v {limit}"));
            format!("{command} keeps the first of them")
        }
        _ => format!("{} makes its pictures smaller", ffmpeg(path, "-vf scale=1280:-2")),
    }
}

/// The end of the sentence about sizes.
fn short_side_limit((long, short): (u32, u32)) -> String {
    match short < long {
        true => format!(", the shorter one at most {short}"),
        false => String::new(),
    }
}
