//! Delays in whole units of time that never drift from the frame rate.

use crate::rate::FrameRate;

/// How long frame number `index` (from 0) is shown, in units of `1 / units` seconds: between the nearest units to its
/// start and to its end, so that errors do not add up.
pub(crate) fn delay(index: u32, rate: FrameRate, units: u32) -> u64 {
    boundary(u64::from(index) + 1, rate, units) - boundary(u64::from(index), rate, units)
}

/// When frame number `index` starts, rounded to the nearest unit.
fn boundary(index: u64, rate: FrameRate, units: u32) -> u64 {
    let (num, den) = (u128::from(rate.num().max(1)), u128::from(rate.den()));
    let exact = u128::from(index) * den * u128::from(units);
    u64::try_from((exact + num / 2) / num).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_add_up_to_the_duration() {
        let rates = [(24, 1), (24_000, 1001), (30, 1), (7, 1), (50, 1), (25, 2), (1, 3)];
        for (num, den) in rates {
            let rate = FrameRate::new(num, den);
            let mut total = 0;
            for index in 0..1000 {
                total += delay(index, rate, 100);
                let exact = f64::from(index + 1) * 100.0 / rate.as_f64();
                assert!((total as f64 - exact).abs() <= 0.5 + 1e-6, "{rate}, frame {index}");
            }
        }
        let first: Vec<u64> = (0..6).map(|index| delay(index, FrameRate::from(24), 100)).collect();
        assert_eq!(first, [4, 4, 5, 4, 4, 4]);
    }
}
