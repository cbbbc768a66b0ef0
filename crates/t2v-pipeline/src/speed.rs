//! How much of a generation's exactness is given for its speed.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use t2v_kernels::Products;

/// What a call that does not run the whole network takes of the time of one that does, as it was measured
/// ([`speeds`](crate::speeds)).
const PARTIAL: f64 = 1.0 / 8.0;

/// How much of a generation's exactness is given for its speed.
///
/// Anything but [`Exact`](Self::Exact) lets calls of the denoiser leave out most of its layers, with features and a guidance
/// that go on from earlier calls, and [`Fast`](Self::Fast) multiplies 8-bit integers on top of that
/// ([`speeds`](crate::speeds) has how, and what it costs). A denoiser that can do neither runs exactly, and so
/// does the inversion of pictures; the [report](crate::Report) says how it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Speed {
    /// Every call runs the whole network: the frames are those of diffusers.
    #[default]
    Exact,
    /// About half of the time, and frames that hardly differ.
    Balanced,
    /// About a third of the time, and frames that differ.
    Fast,
}

impl Speed {
    /// Every mode, the slowest first.
    pub const ALL: [Self; 3] = [Self::Exact, Self::Balanced, Self::Fast];

    /// Whether nothing is given.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        *self == Self::Exact
    }

    /// What is expected of the time of a schedule of so many calls of the denoiser, where exact ones take 1: what reusing
    /// features saves, of denoisers that can. What faster products save differs by model and is not in it.
    ///
    /// ```
    /// use t2v_pipeline::Speed;
    ///
    /// assert_eq!(Speed::Exact.expected_share(50), 1.0);
    /// assert_eq!(Speed::Fast.expected_share(50), (10.0 + 40.0 / 8.0) / 50.0);
    /// assert_eq!(Speed::Fast.expected_share(4), 1.0, "every call of so few runs the whole network");
    /// ```
    #[must_use]
    pub fn expected_share(self, calls: usize) -> f64 {
        let whole = calls.div_ceil(self.interval(calls));
        match calls {
            0 => 1.0,
            _ => (whole as f64 + (calls - whole) as f64 * PARTIAL) / calls as f64,
        }
    }

    /// What the denoiser's transformer blocks multiply in.
    pub(crate) fn products(self) -> Products {
        match self {
            Self::Exact | Self::Balanced => Products::Exact,
            Self::Fast => Products::Int8,
        }
    }

    /// The calls from one that runs the whole network to the next, of so many: the more there are, the less changes in between.
    pub(crate) fn interval(self, calls: usize) -> usize {
        match self {
            Self::Balanced if calls >= 20 => (calls / 8).clamp(2, 3),
            Self::Fast if calls >= 10 => (calls / 6).clamp(2, 5),
            _ => 1,
        }
    }
}

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exact => "exact",
            Self::Balanced => "balanced",
            Self::Fast => "fast",
        })
    }
}

impl FromStr for Speed {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let name = name.trim();
        let found = Self::ALL
            .into_iter()
            .find(|speed| speed.to_string().eq_ignore_ascii_case(name));
        found.ok_or_else(|| {
            let known = Self::ALL.map(|speed| speed.to_string()).join(", ");
            format!("there is no speed `{}`; known are {known}", name.escape_debug())
        })
    }
}

/// Calls of the denoiser, without those that inverted pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ModelCalls {
    /// All of them.
    pub total: usize,
    /// Those that ran the whole network.
    pub whole: usize,
}
