//! What the video to write is like.

use std::time::SystemTime;

use crate::colour::Colour;
use crate::error::{Mp4Error, Result};
use crate::format::OutputFormat;
use crate::metadata::Metadata;
use crate::rate::FrameRate;

/// The quality of [`VideoSpec::new`].
pub const DEFAULT_QUALITY: u8 = 90;
/// The keyframe interval of [`VideoSpec::new`], in frames.
pub const DEFAULT_KEYFRAME_INTERVAL: u32 = 48;

/// The H.264 encoder's largest shorter side.
const MAX_SHORT_SIDE: u32 = 2160;

/// The quantisers of quality 0 and 100. The encoder accepts none below 12.
const QP_WORST: u32 = 51;
const QP_BEST: u32 = 12;

/// The size, rate, quality, colour and description of a video.
///
/// Anything can be stated here; [`VideoSpec::validate`] tells whether it can be written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct VideoSpec {
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Frames a second.
    pub frame_rate: FrameRate,
    /// From 0 (smallest file) to 100 (best picture), for MP4; the other formats are lossless or, like GIF, have one
    /// quality only.
    ///
    /// It sets the H.264 quantiser (QP) of all frames alike, linearly from 51 at 0 to 12 at 100:
    ///
    /// | quality | 0 | 25 | 50 | 60 | 70 | 80 | 90 | 100 |
    /// | --- | --- | --- | --- | --- | --- | --- | --- | --- |
    /// | QP | 51 | 41 | 31 | 28 | 24 | 20 | 16 | 12 |
    ///
    /// At the default of 90 coding artefacts are hardly ever visible.
    pub quality: u8,
    /// The largest distance of keyframes in MP4, in frames, at least 1. A scene change starts a new interval early.
    pub keyframe_interval: u32,
    /// The colour coding in MP4. The other formats keep RGB.
    pub colour: Colour,
    /// What the file says about the video.
    pub metadata: Metadata,
    /// When the video was made, for MP4. Not stated by default, so that the same frames give the same bytes.
    pub created: Option<SystemTime>,
}

impl VideoSpec {
    /// A video of this size and rate with the quality [`DEFAULT_QUALITY`].
    #[must_use]
    pub fn new(width: u32, height: u32, frame_rate: impl Into<FrameRate>) -> Self {
        Self {
            width,
            height,
            frame_rate: frame_rate.into(),
            quality: DEFAULT_QUALITY,
            keyframe_interval: DEFAULT_KEYFRAME_INTERVAL,
            colour: Colour::default(),
            metadata: Metadata::new(),
            created: None,
        }
    }

    /// The same with another [`quality`](Self::quality).
    #[must_use]
    pub const fn with_quality(mut self, quality: u8) -> Self {
        self.quality = quality;
        self
    }

    /// The same with another [`keyframe_interval`](Self::keyframe_interval).
    #[must_use]
    pub const fn with_keyframe_interval(mut self, frames: u32) -> Self {
        self.keyframe_interval = frames;
        self
    }

    /// The same with another [`colour`](Self::colour) coding.
    #[must_use]
    pub const fn with_colour(mut self, colour: Colour) -> Self {
        self.colour = colour;
        self
    }

    /// The same with other [`metadata`](Self::metadata).
    #[must_use]
    pub fn with_metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = metadata;
        self
    }

    /// The same with a time of [creation](Self::created).
    #[must_use]
    pub const fn with_created(mut self, created: SystemTime) -> Self {
        self.created = Some(created);
        self
    }

    /// The number of values in a frame: `width * height * 3`.
    #[must_use]
    pub const fn frame_len(&self) -> usize {
        (self.width as usize)
            .saturating_mul(self.height as usize)
            .saturating_mul(3)
    }

    /// Whether such a video can be written in this format.
    ///
    /// # Errors
    ///
    /// [`Mp4Error::Size`] for a side that is too small (for MP4, below 16) or too large (for MP4, beyond 3840×2160 either
    /// way up; for GIF, 65535; for WebP, 16384); [`Mp4Error::FrameRate`] for a zero in the frame rate;
    /// [`Mp4Error::FrameRateRange`] outside what the format and its players can show (up to 50 for GIF, 90 for WebP and
    /// animated PNG); [`Mp4Error::Quality`] above 100; [`Mp4Error::KeyframeInterval`] for 0; [`Mp4Error::Metadata`] as
    /// [told there](Metadata::validate).
    pub fn validate(&self, format: OutputFormat) -> Result<()> {
        self.validate_size(format)?;
        let rate = self.frame_rate;
        if rate.num() == 0 || rate.den() == 0 {
            return Err(Mp4Error::FrameRate { rate });
        }
        if let Some([lowest, highest]) = format.rates()
            && !(lowest.as_f64()..=highest.as_f64()).contains(&rate.as_f64())
        {
            return Err(Mp4Error::FrameRateRange {
                rate,
                format,
                lowest,
                highest,
            });
        }
        if self.quality > 100 {
            let quality = self.quality;
            return Err(Mp4Error::Quality { quality });
        }
        if self.keyframe_interval == 0 {
            return Err(Mp4Error::KeyframeInterval);
        }
        self.metadata.validate()
    }

    fn validate_size(&self, format: OutputFormat) -> Result<()> {
        let (long, short) = (self.width.max(self.height), self.width.min(self.height));
        let (least, most) = format.sides();
        let most_short = match format {
            OutputFormat::Mp4 => MAX_SHORT_SIDE,
            _ => most,
        };
        if short < least || long > most || short > most_short {
            return Err(Mp4Error::Size {
                width: self.width,
                height: self.height,
                format,
                least,
                most: (most, most_short),
            });
        }
        Ok(())
    }

    /// The H.264 quantisation parameter of this quality.
    pub(crate) fn quantiser(&self) -> u8 {
        let steps = (QP_WORST - QP_BEST) * u32::from(self.quality.min(100));
        // At most 51, so the conversion cannot fail.
        u8::try_from(QP_WORST - (steps + 50) / 100).unwrap_or(u8::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quality_sets_the_quantiser() {
        let qp = |quality| VideoSpec::new(16, 16, 24).with_quality(quality).quantiser();
        let qualities = [0, 25, 50, 60, 70, 80, 90, 100];
        assert_eq!(qualities.map(qp), [51, 41, 31, 28, 24, 20, 16, 12]);
        assert!((0..100).all(|quality| qp(quality) >= qp(quality + 1)));
    }

    #[test]
    fn sizes_are_checked() {
        let ok = |width, height, format| VideoSpec::new(width, height, 24).validate(format).is_ok();
        let sizes = [(16, 16), (17, 16), (3840, 2160), (2160, 3840)];
        assert!(sizes.iter().all(|&(w, h)| ok(w, h, OutputFormat::Mp4)));
        let sizes = [(15, 16), (16, 0), (3841, 32), (2161, 2161), (u32::MAX, u32::MAX)];
        assert!(!sizes.iter().any(|&(w, h)| ok(w, h, OutputFormat::Mp4)));
        for format in [OutputFormat::Gif, OutputFormat::WebP, OutputFormat::Apng] {
            assert!(ok(1, 1, format) && !ok(0, 1, format) && !ok(1, u32::MAX, format));
        }
        assert!(!ok(16_385, 1, OutputFormat::WebP) && ok(16_385, 1, OutputFormat::Gif));
    }

    #[test]
    fn rates_are_checked() {
        let ok = |rate: FrameRate, format| VideoSpec::new(16, 16, rate).validate(format).is_ok();
        assert!(ok(FrameRate::from(50), OutputFormat::Gif));
        assert!(!ok(FrameRate::new(50_001, 1000), OutputFormat::Gif));
        assert!(!ok(FrameRate::new(1, 601), OutputFormat::Gif));
        assert!(ok(FrameRate::from(240), OutputFormat::Mp4));
        assert!(!ok(FrameRate::from(0), OutputFormat::Mp4));
    }
}
