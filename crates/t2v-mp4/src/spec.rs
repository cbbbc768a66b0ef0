//! What the video to write is like.

use std::fmt;

use crate::error::{Mp4Error, Result};

/// The quality of [`VideoSpec::new`].
pub const DEFAULT_QUALITY: u8 = 90;

/// The encoder's smallest width and height.
const MIN_SIDE: u32 = 16;
/// The encoder's largest longer and shorter side.
const MAX_SIDES: (u32, u32) = (3840, 2160);

/// The quantisers of quality 0 and 100. The encoder accepts none below 12.
const QP_WORST: u32 = 51;
const QP_BEST: u32 = 12;

/// Whole frame rates are timed in thousandths of a frame, as most tools expect finer clocks
/// than one tick a frame.
const TICKS: u32 = 1000;

/// Frames a second, as an exact fraction in lowest terms.
///
/// ```
/// use t2v_mp4::FrameRate;
///
/// assert_eq!(FrameRate::from(24), FrameRate::new(48, 2));
/// assert_eq!(FrameRate::new(24_000, 1001).to_string(), "24000/1001");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FrameRate {
    num: u32,
    den: u32,
}

impl FrameRate {
    /// A rate of `num / den` frames a second.
    ///
    /// Zeros are found by [`VideoSpec::validate`].
    #[must_use]
    pub const fn new(num: u32, den: u32) -> Self {
        let divisor = gcd(num, den);
        if divisor == 0 {
            return Self { num, den };
        }
        Self {
            num: num / divisor,
            den: den / divisor,
        }
    }

    /// The numerator, in lowest terms.
    #[must_use]
    pub const fn num(self) -> u32 {
        self.num
    }

    /// The denominator, in lowest terms.
    #[must_use]
    pub const fn den(self) -> u32 {
        self.den
    }

    /// The nearest floating-point number.
    #[must_use]
    pub fn as_f64(self) -> f64 {
        f64::from(self.num) / f64::from(self.den)
    }

    /// The clock to time frames with, such that a frame lasts a whole number of ticks.
    pub(crate) const fn time_base(self) -> TimeBase {
        let fine = match self.den.checked_mul(TICKS) {
            Some(_) if self.num < TICKS => TICKS,
            _ => 1,
        };
        TimeBase {
            timescale: self.num * fine,
            frame_duration: self.den * fine,
        }
    }
}

impl From<u32> for FrameRate {
    fn from(frames_per_second: u32) -> Self {
        Self::new(frames_per_second, 1)
    }
}

impl fmt::Display for FrameRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.den {
            1 => write!(f, "{}", self.num),
            den => write!(f, "{}/{den}", self.num),
        }
    }
}

/// The clock of movie and track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimeBase {
    /// Ticks a second.
    pub(crate) timescale: u32,
    /// Ticks a frame.
    pub(crate) frame_duration: u32,
}

/// The size, rate and quality of a video.
///
/// Anything can be stated here; [`VideoSpec::validate`] tells whether it can be encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct VideoSpec {
    /// Pixels in a row: even, at least 16.
    pub width: u32,
    /// Rows: even, at least 16.
    pub height: u32,
    /// Frames a second.
    pub frame_rate: FrameRate,
    /// From 0 (smallest file) to 100 (best picture).
    ///
    /// It sets the H.264 quantiser of all frames alike, linearly from 51 at 0 to 12 at 100; the
    /// default of 90 gives 16, where coding artefacts are hardly ever visible.
    pub quality: u8,
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
        }
    }

    /// The same with another [`quality`](Self::quality).
    #[must_use]
    pub const fn with_quality(mut self, quality: u8) -> Self {
        self.quality = quality;
        self
    }

    /// The number of bytes in a frame: `width * height * 3`.
    #[must_use]
    pub const fn frame_len(&self) -> usize {
        self.width as usize * self.height as usize * 3
    }

    /// Whether such a video can be written.
    ///
    /// # Errors
    ///
    /// [`Mp4Error::Size`] for a side that is odd (4:2:0 video has even sides only), below 16, or
    /// beyond 3840×2160 (either way up); [`Mp4Error::FrameRate`] for a zero in the frame rate;
    /// [`Mp4Error::Quality`] above 100.
    pub fn validate(&self) -> Result<()> {
        if let Some(reason) = self.size_fault() {
            let Self { width, height, .. } = *self;
            return Err(Mp4Error::Size { width, height, reason });
        }
        let rate = self.frame_rate;
        if rate.num == 0 || rate.den == 0 {
            return Err(Mp4Error::FrameRate { rate });
        }
        if self.quality > 100 {
            let quality = self.quality;
            return Err(Mp4Error::Quality { quality });
        }
        Ok(())
    }

    fn size_fault(&self) -> Option<&'static str> {
        let long = self.width.max(self.height);
        let short = self.width.min(self.height);
        if short < MIN_SIDE {
            Some("both sides need at least 16 pixels")
        } else if long > MAX_SIDES.0 || short > MAX_SIDES.1 {
            Some("3840x2160 and 2160x3840 are the largest sizes")
        } else if !long.is_multiple_of(2) || !short.is_multiple_of(2) {
            Some("both sides must be even")
        } else {
            None
        }
    }

    /// The H.264 quantisation parameter of this quality.
    pub(crate) fn quantiser(&self) -> u8 {
        let steps = (QP_WORST - QP_BEST) * u32::from(self.quality.min(100));
        // At most 51, so the conversion cannot fail.
        u8::try_from(QP_WORST - (steps + 50) / 100).unwrap_or(u8::MAX)
    }
}

const fn gcd(mut a: u32, mut b: u32) -> u32 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frame_rates_reduce_and_print() {
        assert_eq!(FrameRate::new(50, 2), FrameRate::from(25));
        assert_eq!(FrameRate::from(25).to_string(), "25");
        assert_eq!(FrameRate::new(30_000, 1001).to_string(), "30000/1001");
        assert_eq!(FrameRate::new(0, 0).num(), 0);
    }

    #[test]
    fn a_frame_lasts_a_whole_number_of_ticks() {
        let extremes = [1, 2, 999, 1000, 1001, 65_536, u32::MAX - 1, u32::MAX];
        for num in extremes {
            for den in extremes {
                let rate = FrameRate::new(num, den);
                let TimeBase {
                    timescale,
                    frame_duration,
                } = rate.time_base();
                assert_eq!(
                    u64::from(timescale) * u64::from(rate.den()),
                    u64::from(frame_duration) * u64::from(rate.num()),
                    "{rate}"
                );
            }
        }
    }

    #[test]
    fn quality_sets_the_quantiser() {
        let qp = |quality| VideoSpec::new(16, 16, 24).with_quality(quality).quantiser();
        assert_eq!((qp(0), qp(90), qp(100)), (51, 16, 12));
        assert!((0..100).all(|quality| qp(quality) >= qp(quality + 1)));
    }

    #[test]
    fn sizes_are_checked() {
        let ok = |width, height| VideoSpec::new(width, height, 24).validate().is_ok();
        assert!(ok(16, 16) && ok(18, 16) && ok(3840, 2160) && ok(2160, 3840));
        assert!(!ok(14, 16) && !ok(16, 0) && !ok(17, 32) && !ok(32, 33));
        assert!(!ok(3842, 2160) && !ok(2162, 2162) && !ok(u32::MAX, u32::MAX));
    }
}
