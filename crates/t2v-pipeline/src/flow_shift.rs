//! How far the schedule of a flow is moved towards noise.

use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};

/// The least and the greatest shift that is sense.
pub(crate) const MIN: f64 = 0.01;
pub(crate) const MAX: f64 = 100.0;

/// How far the schedule of a model that predicts a flow (Wan's) is moved towards noise: sigmas become
/// `shift * sigma / (1 + (shift - 1) * sigma)`, so that a greater one spends more steps on what a clip shows, and fewer on its details
/// ([Esser et al., 2024](https://arxiv.org/abs/2403.03206), section 5.3.2). It takes the place of the checkpoint's own `flow_shift` or `shift`, of
/// which a scheduler reads the one that it calls so, as in diffusers: without, `FlowMatchEulerDiscrete` has 1 where the checkpoint names a `flow_shift`. Not as
/// in diffusers, solvers on a checkpoint of `FlowMatchEulerDiscrete` take its `shift`, and follow its flow.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum FlowShift {
    /// As Wan's authors have it: 3 for clips of at most 480x832 pixels, 5 for larger ones.
    BySize,
    /// This one, 0.01 to 100.
    Of(f64),
}

impl FlowShift {
    /// The shift for a clip of a size.
    ///
    /// ```
    /// use t2v_pipeline::FlowShift;
    ///
    /// assert_eq!(FlowShift::BySize.of_size(832, 480), 3.0);
    /// assert_eq!(FlowShift::BySize.of_size(1280, 720), 5.0);
    /// assert_eq!(FlowShift::Of(8.0).of_size(1280, 720), 8.0);
    /// ```
    #[must_use]
    pub fn of_size(self, width: u32, height: u32) -> f64 {
        match self {
            Self::Of(shift) => shift,
            Self::BySize if u64::from(width) * u64::from(height) <= 480 * 832 => 3.0,
            Self::BySize => 5.0,
        }
    }
}

impl fmt::Display for FlowShift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BySize => f.write_str("size"),
            Self::Of(shift) => write!(f, "{shift}"),
        }
    }
}

impl FromStr for FlowShift {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.trim().eq_ignore_ascii_case("size") {
            return Ok(Self::BySize);
        }
        let shift = text.trim().parse().ok().filter(|shift| (MIN..=MAX).contains(shift));
        shift
            .map(Self::Of)
            .ok_or_else(|| format!("`{text}` is neither a number from {MIN} to {MAX} nor \"size\""))
    }
}

impl Serialize for FlowShift {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::BySize => serializer.collect_str(self),
            Self::Of(shift) => serializer.serialize_f64(*shift),
        }
    }
}
