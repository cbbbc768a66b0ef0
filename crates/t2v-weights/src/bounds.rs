//! Ranges of the numbers in a configuration.

use std::ops::RangeInclusive;

/// What is wrong with a size of a configuration that must lie in `range`, to follow its key in a message; none where it
/// does.
///
/// The upper ends are far above any model's: they keep damaged files from asking for more than all memory.
#[must_use]
pub fn size_fault(size: usize, range: RangeInclusive<usize>) -> Option<String> {
    let (least, most) = (range.start(), range.end());
    (!range.contains(&size)).then(|| format!("is {size}; it must be {least} to {most}"))
}

/// What is wrong with the epsilon of a normalisation; none where it is finite and not negative.
#[must_use]
pub fn epsilon_fault(epsilon: f64) -> Option<String> {
    let good = epsilon.is_finite() && epsilon >= 0.0;
    (!good).then(|| format!("is {epsilon}; it must be a small number of at least 0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_are_inside() {
        assert_eq!(size_fault(1, 1..=64), None);
        assert_eq!(size_fault(64, 1..=64), None);
        assert_eq!(size_fault(0, 1..=64).unwrap(), "is 0; it must be 1 to 64");
        assert_eq!(size_fault(65, 1..=64).unwrap(), "is 65; it must be 1 to 64");
        assert_eq!(epsilon_fault(0.0), None);
        assert!(epsilon_fault(-1e-5).is_some() && epsilon_fault(f64::NAN).is_some());
    }
}
