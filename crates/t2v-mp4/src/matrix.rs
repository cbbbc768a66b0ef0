//! BT.709's matrix in whole numbers, for limited and full range.

/// BT.709's luma weights, times [`SCALE`].
pub(crate) const K: [u32; 3] = [2126, 7152, 722];
const SCALE: u32 = 10_000;
/// 2 (1 − K), scaled, for Cb and Cr.
const SPREAD: [u32; 2] = [2 * (SCALE - K[2]), 2 * (SCALE - K[0])];
/// The weights of the six pixels, added up.
const CHROMA_WEIGHTS: u32 = 8;

/// The numbers that differ between limited and full range.
pub(crate) trait Range {
    /// Luma is `LUMA[0] + Y · LUMA[1] / LUMA[2]`.
    const LUMA: [u32; 3];
    /// Chroma is `128 + (colour - Y) · CHROMA[0] / (CHROMA[1] · SPREAD)`, of eightfold values.
    const CHROMA: [u32; 2];

    /// From luma between 0 and 255, times [`SCALE`].
    fn luma(weighed: u32) -> u8 {
        let [black, factor, divisor] = Self::LUMA;
        (black + (factor * weighed + divisor / 2) / divisor) as u8
    }

    /// From blue (`WHICH` 0) or red (1) and scaled luma, both times [`CHROMA_WEIGHTS`].
    fn chroma<const WHICH: usize>(colour: u32, luma: u32) -> u8 {
        let [factor, divisor] = Self::CHROMA;
        let divisor = divisor * SPREAD[WHICH];
        // At least 128 - 127.5, so never negative, whatever wraps in between.
        let difference = (SCALE * colour).wrapping_sub(luma).wrapping_mul(factor);
        let value = difference.wrapping_add(128 * divisor + divisor / 2) / divisor;
        value.min(255) as u8
    }
}

/// Luma 16 to 235, chroma 16 to 240.
pub(crate) struct Limited;

impl Range for Limited {
    const LUMA: [u32; 3] = [16, 219, 255 * SCALE];
    const CHROMA: [u32; 2] = [224 / CHROMA_WEIGHTS, 255];
}

/// 0 to 255.
pub(crate) struct Full;

impl Range for Full {
    const LUMA: [u32; 3] = [0, 1, SCALE];
    const CHROMA: [u32; 2] = [1, CHROMA_WEIGHTS];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn luma_is_rounded_to_nearest_for_every_colour() {
        // All sums of weights that a colour can give are among these.
        for weighed in 0..=255 * SCALE {
            let y = f64::from(weighed) / f64::from(SCALE);
            let limited = 16.0 + y * 219.0 / 255.0;
            assert!((f64::from(Limited::luma(weighed)) - limited).abs() <= 0.5 + 1e-9);
            assert!((f64::from(Full::luma(weighed)) - y).abs() <= 0.5 + 1e-9);
        }
    }
}
