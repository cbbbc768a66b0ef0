//! Sizes of pictures in a configuration.

use serde::Deserialize;

/// Height and width given as one number or two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "expected one whole number, or [height, width]")]
pub enum SampleSize {
    /// The height, which is also the width.
    Square(usize),
    /// Each by itself.
    HeightWidth([usize; 2]),
}

impl SampleSize {
    /// Height and width.
    #[must_use]
    pub fn height_width(self) -> [usize; 2] {
        match self {
            Self::Square(side) => [side, side],
            Self::HeightWidth(size) => size,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_number_or_two() {
        let size = |text| serde_json::from_str(text).map(SampleSize::height_width);
        assert_eq!(size("40").unwrap(), [40, 40]);
        assert_eq!(size("[40, 72]").unwrap(), [40, 72]);
        let message = size("[40]").unwrap_err().to_string();
        assert!(message.contains("one whole number, or [height, width]"), "{message}");
    }
}
