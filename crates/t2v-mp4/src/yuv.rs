//! RGB to Y'CbCr 4:2:0 by ITU-R BT.709 in limited range.
//!
//! Whole numbers throughout, rounded to nearest once: with `K = (0.2126, 0.7152, 0.0722)`,
//! luma is `16 + 219 * Y / 255`, and chroma is `128 + 224 * (B - Y) / (255 * 2 * (1 - Kb))` (with
//! `R` and `Kr` for the other one) of the mean of 2×2 pixels.

/// BT.709's luma weights, times [`SCALE`].
const K: [u32; 3] = [2126, 7152, 722];
const SCALE: u32 = 10_000;

const LUMA_DIVISOR: u32 = 255 * SCALE;
/// 255 · 2 · (1 − K), scaled: four pixels' worth, with the 4 cancelled against 224 = 4 · 56.
const CB_DIVISOR: i32 = 255 * 2 * (SCALE - K[2]) as i32;
const CR_DIVISOR: i32 = 255 * 2 * (SCALE - K[0]) as i32;
const CHROMA_FACTOR: i32 = 56;

/// A picture in three planes, with rows unpadded.
#[derive(Debug)]
pub(crate) struct Yuv420 {
    width: usize,
    height: usize,
    luma: Vec<u8>,
    cb: Vec<u8>,
    cr: Vec<u8>,
}

impl Yuv420 {
    /// A picture of this size, whose sides must be even and not zero.
    pub(crate) fn new(width: usize, height: usize) -> Self {
        let chroma = width / 2 * (height / 2);
        Self {
            width,
            height,
            luma: vec![16; width * height],
            cb: vec![128; chroma],
            cr: vec![128; chroma],
        }
    }

    /// The planes: luma, Cb, Cr.
    pub(crate) fn planes(&self) -> (&[u8], &[u8], &[u8]) {
        (&self.luma, &self.cb, &self.cr)
    }

    /// Width and height of the luma plane.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.width, self.height)
    }

    /// The distance of rows in each plane.
    pub(crate) fn strides(&self) -> (usize, usize, usize) {
        (self.width, self.width / 2, self.width / 2)
    }

    /// Fills the planes from RGB8 pixels, row by row, of the same size.
    pub(crate) fn fill_from_rgb(&mut self, rgb: &[u8]) {
        debug_assert_eq!(rgb.len(), self.width * self.height * 3);
        let width = self.width;
        let rows = rgb.chunks_exact(width * 6);
        let luma = self.luma.chunks_exact_mut(width * 2);
        let cb = self.cb.chunks_exact_mut(width / 2);
        let cr = self.cr.chunks_exact_mut(width / 2);
        for (((rgb, luma), cb), cr) in rows.zip(luma).zip(cb).zip(cr) {
            let (upper, lower) = rgb.split_at(width * 3);
            for (luma, pixel) in luma.iter_mut().zip(rgb.chunks_exact(3)) {
                *luma = luma_of(weigh(pixel));
            }
            let blocks = upper.chunks_exact(6).zip(lower.chunks_exact(6));
            for ((blocks, cb), cr) in blocks.zip(cb).zip(cr) {
                (*cb, *cr) = chroma_of(blocks.0, blocks.1);
            }
        }
    }
}

/// Luma between 0 and 255, times [`SCALE`].
fn weigh(pixel: &[u8]) -> u32 {
    K.iter().zip(pixel).map(|(k, &c)| k * u32::from(c)).sum()
}

fn luma_of(weighed: u32) -> u8 {
    (16 + (219 * weighed + LUMA_DIVISOR / 2) / LUMA_DIVISOR) as u8
}

/// Cb and Cr of two pixels above two pixels.
fn chroma_of(upper: &[u8], lower: &[u8]) -> (u8, u8) {
    let sum = |channel: usize| {
        [upper[channel], upper[channel + 3], lower[channel], lower[channel + 3]]
            .iter()
            .map(|&c| i32::from(c))
            .sum::<i32>()
    };
    let (red, green, blue) = (sum(0), sum(1), sum(2));
    let luma = K[0] as i32 * red + K[1] as i32 * green + K[2] as i32 * blue;
    let difference = |colour: i32, divisor: i32| {
        let scaled = CHROMA_FACTOR * (SCALE as i32 * colour - luma);
        // Positive before the division, so that it rounds down: |difference| is at most 112.
        ((scaled + 128 * divisor + divisor / 2) / divisor) as u8
    };
    (difference(blue, CB_DIVISOR), difference(red, CR_DIVISOR))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// BT.709's formulas in floating point.
    fn reference(rgb: [f64; 3]) -> [f64; 3] {
        let [r, g, b] = rgb.map(|c| c / 255.0);
        let y = 0.2126 * r + 0.7152 * g + 0.0722 * b;
        [
            16.0 + 219.0 * y,
            128.0 + 224.0 * (b - y) / 1.8556,
            128.0 + 224.0 * (r - y) / 1.5748,
        ]
    }

    fn convert(pixels: [[u8; 3]; 4]) -> ([u8; 4], u8, u8) {
        let mut yuv = Yuv420::new(2, 2);
        yuv.fill_from_rgb(pixels.as_flattened());
        let luma = [yuv.luma[0], yuv.luma[1], yuv.luma[2], yuv.luma[3]];
        (luma, yuv.cb[0], yuv.cr[0])
    }

    #[test]
    fn primaries_have_the_values_of_the_standard() {
        let flat = |rgb| {
            let (luma, cb, cr) = convert([rgb; 4]);
            assert!(luma.iter().all(|&y| y == luma[0]));
            [luma[0], cb, cr]
        };
        assert_eq!(flat([0, 0, 0]), [16, 128, 128]);
        assert_eq!(flat([255, 255, 255]), [235, 128, 128]);
        assert_eq!(flat([255, 0, 0]), [63, 102, 240]);
        assert_eq!(flat([0, 255, 0]), [173, 42, 26]);
        assert_eq!(flat([0, 0, 255]), [32, 240, 118]);
    }

    #[test]
    fn every_value_is_rounded_to_nearest() {
        let near = |actual: u8, exact: f64| (f64::from(actual) - exact).abs() <= 0.5 + 1e-9;
        let mut state = 1u32;
        let mut random = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        for _ in 0..50_000 {
            let pixels = [(); 4].map(|()| [random(), random(), random()]);
            let (luma, cb, cr) = convert(pixels);
            for (luma, pixel) in luma.into_iter().zip(pixels) {
                assert!(near(luma, reference(pixel.map(f64::from))[0]), "{pixel:?}");
            }
            let mean = [0, 1, 2].map(|c| pixels.iter().map(|p| f64::from(p[c])).sum::<f64>() / 4.0);
            let [_, exact_cb, exact_cr] = reference(mean);
            assert!(near(cb, exact_cb) && near(cr, exact_cr), "{pixels:?}");
        }
    }

    #[test]
    fn chroma_takes_the_mean_of_its_own_block() {
        let mut yuv = Yuv420::new(4, 4);
        let mut rgb = vec![0u8; 4 * 4 * 3];
        for (row, column) in [(2, 2), (2, 3), (3, 2), (3, 3)] {
            rgb[(row * 4 + column) * 3 + 2] = 255;
        }
        yuv.fill_from_rgb(&rgb);
        assert_eq!(yuv.cb, [128, 128, 128, 240]);
        assert_eq!(yuv.luma[10], 32);
    }
}
