//! Writes RGB frames as an H.264 video in an MP4 file, in process: no `ffmpeg` needed. Also as GIF, animated WebP, animated
//! PNG or a folder of PNG files. And reads the frames of such MP4 files, and of similar ones, back.
//!
//! ```no_run
//! use t2v_mp4::{FrameRate, Metadata, VideoSpec, Writer, read_metadata};
//!
//! # fn main() -> Result<(), t2v_mp4::Mp4Error> {
//! let spec = VideoSpec::new(256, 256, FrameRate::new(24_000, 1001))
//!     .with_quality(95)
//!     .with_metadata(Metadata::new().with_prompt("from black to white").with_seed(7));
//! let mut writer = Writer::create("out.mp4", spec)?;
//! for brightness in 0..48u8 {
//!     writer.push(&vec![brightness * 5; writer.spec().frame_len()])?;
//! }
//! writer.finish()?;
//! assert_eq!(read_metadata("out.mp4")?.get("seed"), Some("7"));
//! # Ok(())
//! # }
//! ```
//!
//! # Key design decision
//!
//! **As many frames leave as entered, each lasting exactly `1 / frame rate`.** OpenH264 is a real-time encoder that drops
//! frames to hold its bit rate, so it runs here at a constant quantiser (see [`VideoSpec::quality`]) without frame skipping,
//! and every call is checked to have yielded a picture. Movie and track share one timescale, a multiple of the frame rate's
//! numerator, so that no duration is ever rounded, `24000/1001` included. GIF and WebP count in whole units of time: there
//! each frame lasts from the unit nearest to its start to the one nearest to its end, so that errors do not add up.
//!
//! A frame is encoded as soon as it is pushed: memory use does not grow with the length of the video, but for a few bytes of
//! index a frame. An MP4's samples wait in a temporary file, so that the index can go in front of them. The file takes its
//! final name only in [`Writer::finish`]; until then nothing exists under that name, and a [`Writer`] that is dropped leaves
//! nothing behind. One encoder thread, no timestamps unless [asked for](VideoSpec::created) and no random identifiers: the
//! same frames give the same bytes.
//!
//! The boxes come from the crate `mp4`, which lacks some (colour, pixel shape, metadata): those are added to its. Its reader
//! is not used, since a damaged file can make it hang; [`read_metadata`] is a small one of its own that any file is safe with.
//!
//! # Reading frames back
//!
//! [`read_frames`] reads a whole clip, a [`Reader`] frame by frame; both tell the size and the exact frame rate.
//!
//! ```no_run
//! use t2v_mp4::{ReadLimits, read_frames};
//!
//! # fn main() -> Result<(), t2v_mp4::Mp4Error> {
//! let clip = read_frames("out.mp4", ReadLimits::default())?;
//! let _first: &[u8] = &clip.frames[0];
//! # Ok(())
//! # }
//! ```
//!
//! What can be read is progressive 8-bit H.264 in MP4 or QuickTime files, as `ffmpeg` and cameras write it, not every video:
//! [`Reader`] has the particulars, and all else is an error that says so, with the `ffmpeg` command that helps. The file may
//! be anything. The index is checked against [`ReadLimits`] and against the length of the
//! file before memory is taken for what it claims; the sequence parameter set, which decides on the decoder's memory, is
//! parsed here first; and OpenH264's decoder is given only whole slices and parameter sets, without start codes inside.
//!
//! # Speed
//!
//! Most time is spent in OpenH264, which is compiled with its assembly where `nasm` is installed: install it before
//! building where speed matters.
//!
//! # Standards
//!
//! - ISO/IEC 14496-12 (the file format) and -15 (AVC in it): `moov` before `mdat`, one `avc1` track, parameter sets in
//!   `avcC` only, length-prefixed samples, sync samples in `stss`, colour in `colr` (`nclx`), square pixels in `pasp`.
//! - ITU-T H.264: Constrained Baseline profile, which every decoder has; one slice a picture (more in noise), an IDR picture
//!   at least every [`VideoSpec::keyframe_interval`] frames and at scene changes, no reordering.
//! - ITU-R BT.709 in limited range ([`Colour`]), 4:2:0, signalled in the VUI and in `colr`. Chroma is filtered for the place
//!   where H.264 has it unless told otherwise: on the left column of its 2×2 pixels, between the rows. RGB values are taken
//!   as they are, gamma-coded; no transfer function is applied.
//! - 4:2:0 video has even sides, and H.264 can crop it by even numbers only. An odd side is coded with its last column or row
//!   repeated, and `clap` (clean aperture) tells players that heed it to leave the repetition out.

mod apng;
mod append;
mod bits;
mod bitstream;
mod boxes;
mod colour;
mod decoder;
mod delay;
mod demux;
mod encoder;
mod error;
mod fault;
mod format;
mod gif;
mod limits;
mod matrix;
mod metadata;
mod moov;
mod mp4_file;
mod orientation;
mod output;
mod png_sequence;
mod rate;
mod read;
mod reader;
mod rgb;
mod spec;
mod sps;
mod tags;
mod webp;
mod writer;
mod yuv;

pub use colour::Colour;
pub use error::{Mp4Error, Result};
pub use format::OutputFormat;
pub use limits::ReadLimits;
pub use metadata::Metadata;
pub use output::write_file;
pub use rate::FrameRate;
pub use read::{read_metadata, read_metadata_from};
pub use reader::{Clip, Reader, read_frames};
pub use spec::{DEFAULT_KEYFRAME_INTERVAL, DEFAULT_QUALITY, VideoSpec};
pub use writer::Writer;
