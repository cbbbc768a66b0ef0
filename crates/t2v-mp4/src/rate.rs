//! Frames a second as an exact fraction, and the clock that times them.

use std::fmt;
use std::str::FromStr;

use crate::error::{Mp4Error, Result};

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
    /// Zeros are found by [`VideoSpec::validate`](crate::VideoSpec::validate).
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

/// Reads `24`, `24000/1001` or `23.976` (which is 23976/1000, not 24000/1001).
impl FromStr for FrameRate {
    type Err = Mp4Error;

    fn from_str(text: &str) -> Result<Self> {
        let rate = match (text.split_once('/'), text.split_once('.')) {
            (Some((num, den)), _) => number(num).zip(number(den)),
            (None, Some((whole, decimals))) => decimal(whole, decimals),
            (None, None) => number(text).map(|whole| (whole, 1)),
        };
        match rate {
            Some((num, den)) if num > 0 && den > 0 => Ok(Self::new(num, den)),
            _ => Err(Mp4Error::FrameRateText { text: text.to_owned() }),
        }
    }
}

fn number(digits: &str) -> Option<u32> {
    let digits_only = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| digits_only)
}

/// `whole.decimals` as a fraction.
fn decimal(whole: &str, decimals: &str) -> Option<(u32, u32)> {
    let den = 10u32.checked_pow(u32::try_from(decimals.len()).ok()?)?;
    let num = number(whole)?.checked_mul(den)?.checked_add(number(decimals)?)?;
    Some((num, den))
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
    fn frame_rates_are_read() {
        let read = |text: &str| text.parse::<FrameRate>().ok();
        assert_eq!(read("24"), Some(FrameRate::from(24)));
        assert_eq!(read("24000/1001"), Some(FrameRate::new(24_000, 1001)));
        assert_eq!(read("12.5"), Some(FrameRate::new(25, 2)));
        let wrong = [
            "",
            "0",
            "24/0",
            "-24",
            "+24",
            "24/",
            ".5.",
            "1.",
            "1e3",
            "99999999999",
            "nan",
        ];
        for text in wrong {
            assert_eq!(read(text), None, "{text}");
        }
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
}
