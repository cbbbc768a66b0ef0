//! Writes RGB frames as an H.264 video in an MP4 file, in process: no `ffmpeg` needed.
//!
//! ```no_run
//! use t2v_mp4::{VideoSpec, Writer};
//!
//! # fn main() -> Result<(), t2v_mp4::Mp4Error> {
//! let spec = VideoSpec::new(256, 256, 24).with_quality(95);
//! let mut writer = Writer::create("out.mp4", spec)?;
//! for brightness in 0..48u8 {
//!     writer.push(&vec![brightness; spec.frame_len()])?;
//! }
//! writer.finish()?;
//! # Ok(())
//! # }
//! ```
//!
//! # Key design decision
//!
//! **As many frames leave as entered, each lasting exactly `1 / frame rate`.**
//! OpenH264 is a real-time encoder that drops frames to hold its bit rate, so it runs here at
//! a constant quantiser (see [`VideoSpec::quality`]) without frame skipping, and every call is
//! checked to have yielded a picture. Movie and track share one timescale, a multiple of the
//! frame rate's numerator, so that no duration is ever rounded, `24000/1001` included.
//!
//! A frame is encoded and written as soon as it is pushed: memory use does not grow with the
//! length of the video, but for a few bytes of index a frame. The file takes its final
//! name only in [`Writer::finish`]; until then nothing exists under that name, and a
//! [`Writer`] that is dropped leaves nothing behind. One encoder thread, no timestamps and no
//! random identifiers: the same frames give the same bytes.
//!
//! # Standards
//!
//! - ISO/IEC 14496-12 (the file format) and -15 (AVC in it): one `avc1` track, parameter sets in
//!   `avcC` only, length-prefixed samples, sync samples in `stss`, colour in `colr` (`nclx`).
//! - ITU-T H.264: Constrained Baseline profile, one slice a picture (more in noise),
//!   an IDR picture at least
//!   every [`KEYFRAME_INTERVAL`] frames and at scene changes, no reordering.
//! - ITU-R BT.709 in limited range, 4:2:0, signalled in the VUI and in `colr`. A chroma sample is
//!   the rounded mean of its 2×2 pixels (so sited at their centre, a quarter of a chroma sample
//!   right of where H.264 places it by default: the customary simplification). RGB values are
//!   taken as they are, gamma-coded; no transfer function is applied.

mod bitstream;
mod encoder;
mod error;
mod moov;
mod output;
mod spec;
mod writer;
mod yuv;

pub use encoder::KEYFRAME_INTERVAL;
pub use error::{Mp4Error, Result};
pub use spec::{DEFAULT_QUALITY, FrameRate, VideoSpec};
pub use writer::Writer;
