//! RGB to Y'CbCr 4:2:0 by ITU-R BT.709, in limited or full range.
//!
//! Whole numbers throughout, rounded to nearest once. With `K = (0.2126, 0.7152, 0.0722)` and `Y = K · RGB`, in limited
//! range luma is `16 + 219 Y / 255`, and chroma `128 + 224 (B - Y) / (255 · 2 (1 - Kb))` (with `R` and `Kr` for the other
//! one); in full range luma is `Y`, and chroma `128 + (B - Y) / (2 (1 - Kb))`.
//!
//! A chroma sample lies on the left column of its 2×2 pixels and between their rows, where H.264 places it unless it is
//! told otherwise (`chroma_sample_loc_type` 0): it is the mean of six pixels, weighed 1 2 1 across and 1 1 down.
//!
//! Each step is a loop over plain slices of one type, which the compiler vectorises.

use crate::matrix::{Full, K, Limited, Range};

/// A picture in three planes, with rows unpadded.
#[derive(Debug)]
pub(crate) struct Yuv420 {
    /// Of the source.
    width: usize,
    height: usize,
    luma: Vec<u8>,
    cb: Vec<u8>,
    cr: Vec<u8>,
    rows: [Planar; 2],
    sums: Sums,
}

impl Yuv420 {
    /// A picture for sources of this size, which must not be zero. Odd sides become even: the last column or row is
    /// repeated.
    pub(crate) fn new(width: usize, height: usize) -> Self {
        let (even_width, even_height) = (width.next_multiple_of(2), height.next_multiple_of(2));
        let chroma = even_width / 2 * (even_height / 2);
        Self {
            width,
            height,
            luma: vec![16; even_width * even_height],
            cb: vec![128; chroma],
            cr: vec![128; chroma],
            rows: [Planar::new(even_width), Planar::new(even_width)],
            sums: Sums::new(even_width),
        }
    }

    /// The planes: luma, Cb, Cr.
    pub(crate) fn planes(&self) -> (&[u8], &[u8], &[u8]) {
        (&self.luma, &self.cb, &self.cr)
    }

    /// Width and height of the luma plane.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.width.next_multiple_of(2), self.height.next_multiple_of(2))
    }

    /// The distance of rows in each plane.
    pub(crate) fn strides(&self) -> (usize, usize, usize) {
        let (width, _) = self.size();
        (width, width / 2, width / 2)
    }

    /// Fills the planes from RGB8 pixels, row by row, of the source's size.
    pub(crate) fn fill_from_rgb(&mut self, rgb: &[u8], full_range: bool) {
        debug_assert_eq!(rgb.len(), self.width * self.height * 3);
        match full_range {
            false => self.fill::<Limited>(rgb),
            true => self.fill::<Full>(rgb),
        }
    }

    fn fill<R: Range>(&mut self, rgb: &[u8]) {
        let (width, _) = self.size();
        let pairs = rgb.chunks(self.width * 6);
        let luma = self.luma.chunks_exact_mut(width * 2);
        let cb = self.cb.chunks_exact_mut(width / 2);
        let cr = self.cr.chunks_exact_mut(width / 2);
        let [upper, lower] = &mut self.rows;
        for (((pair, luma), cb), cr) in pairs.zip(luma).zip(cb).zip(cr) {
            let (first, second) = pair.split_at(self.width * 3);
            upper.fill(first);
            lower.fill(if second.is_empty() { first } else { second });
            let (luma_upper, luma_lower) = luma.split_at_mut(width);
            luma_row::<R>(upper, luma_upper);
            luma_row::<R>(lower, luma_lower);
            self.sums.fill(upper, lower);
            self.sums.chroma_row::<R>(cb, cr);
        }
    }
}

/// A row of pixels, a channel after the other.
#[derive(Debug)]
struct Planar([Vec<u8>; 3]);

impl Planar {
    fn new(width: usize) -> Self {
        Self([(); 3].map(|()| vec![0; width]))
    }

    /// Takes interleaved pixels, repeating the last one where they are too few.
    fn fill(&mut self, rgb: &[u8]) {
        let [red, green, blue] = &mut self.0;
        let channels = red.iter_mut().zip(green.iter_mut()).zip(blue.iter_mut());
        for (((r, g), b), pixel) in channels.zip(rgb.chunks_exact(3)) {
            (*r, *g, *b) = (pixel[0], pixel[1], pixel[2]);
        }
        for (channel, plane) in self.0.iter_mut().enumerate() {
            plane[rgb.len() / 3..].fill(rgb[rgb.len() - 3 + channel]);
        }
    }
}

/// Weighed sums of pixels: what a row of chroma is made from.
#[derive(Debug)]
struct Sums {
    /// Of two rows, with the first column repeated in front and room for one behind.
    columns: [Vec<u16>; 3],
    /// Of six pixels, eight times their mean.
    blocks: [Vec<u16>; 3],
}

impl Sums {
    fn new(width: usize) -> Self {
        Self {
            columns: [(); 3].map(|()| vec![0; width + 2]),
            blocks: [(); 3].map(|()| vec![0; width / 2]),
        }
    }

    fn fill(&mut self, upper: &Planar, lower: &Planar) {
        let rows = upper.0.iter().zip(&lower.0);
        for ((columns, blocks), (upper, lower)) in self.columns.iter_mut().zip(&mut self.blocks).zip(rows) {
            for ((sum, &a), &b) in columns[1..].iter_mut().zip(upper).zip(lower) {
                *sum = u16::from(a) + u16::from(b);
            }
            columns[0] = columns[1];
            let (left, right) = (columns.chunks_exact(2), columns[2..].chunks_exact(2));
            for ((sum, left), right) in blocks.iter_mut().zip(left).zip(right) {
                *sum = left[0] + 2 * left[1] + right[0];
            }
        }
    }

    fn chroma_row<R: Range>(&self, cb: &mut [u8], cr: &mut [u8]) {
        let [red, green, blue] = &self.blocks;
        let pixels = red.iter().zip(green).zip(blue);
        for ((cb, cr), ((&r, &g), &b)) in cb.iter_mut().zip(cr).zip(pixels) {
            let (r, g, b) = (u32::from(r), u32::from(g), u32::from(b));
            let luma = K[0] * r + K[1] * g + K[2] * b;
            *cb = R::chroma::<0>(b, luma);
            *cr = R::chroma::<1>(r, luma);
        }
    }
}

fn luma_row<R: Range>(pixels: &Planar, luma: &mut [u8]) {
    let [red, green, blue] = &pixels.0;
    for (((luma, &r), &g), &b) in luma.iter_mut().zip(red).zip(green).zip(blue) {
        *luma = R::luma(K[0] * u32::from(r) + K[1] * u32::from(g) + K[2] * u32::from(b));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// BT.709's formulas in floating point.
    fn reference(rgb: [f64; 3], full_range: bool) -> [f64; 3] {
        let [r, g, b] = rgb.map(|c| c / 255.0);
        let y = 0.2126 * r + 0.7152 * g + 0.0722 * b;
        let (black, luma, chroma) = if full_range {
            (0.0, 255.0, 255.0)
        } else {
            (16.0, 219.0, 224.0)
        };
        let (cb, cr) = ((b - y) / 1.8556, (r - y) / 1.5748);
        [black + luma * y, 128.0 + chroma * cb, 128.0 + chroma * cr]
    }

    fn random() -> impl FnMut() -> u8 {
        let mut state = 1u32;
        move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        }
    }

    #[test]
    fn primaries_have_the_values_of_the_standard() {
        let flat = |rgb: [u8; 3], full_range| {
            let mut yuv = Yuv420::new(2, 2);
            yuv.fill_from_rgb(&rgb.repeat(4), full_range);
            assert!(yuv.luma.iter().all(|&y| y == yuv.luma[0]));
            [yuv.luma[0], yuv.cb[0], yuv.cr[0]]
        };
        assert_eq!(flat([0, 0, 0], false), [16, 128, 128]);
        assert_eq!(flat([255, 255, 255], false), [235, 128, 128]);
        assert_eq!(flat([255, 0, 0], false), [63, 102, 240]);
        assert_eq!(flat([0, 255, 0], false), [173, 42, 26]);
        assert_eq!(flat([0, 0, 255], false), [32, 240, 118]);
        assert_eq!(flat([0, 0, 0], true), [0, 128, 128]);
        assert_eq!(flat([255, 255, 255], true), [255, 128, 128]);
        assert_eq!(flat([255, 0, 0], true), [54, 99, 255]);
        assert_eq!(flat([0, 0, 255], true), [18, 255, 116]);
        assert_eq!(flat([255, 255, 0], true)[1], 1);
    }

    #[test]
    fn chroma_is_the_rounded_mean_of_six_pixels() {
        let mut random = random();
        for full_range in [false, true] {
            for _ in 0..500 {
                let (width, height) = (1 + usize::from(random()) % 9, 1 + usize::from(random()) % 5);
                let rgb: Vec<u8> = (0..width * height * 3).map(|_| random()).collect();
                let mut yuv = Yuv420::new(width, height);
                yuv.fill_from_rgb(&rgb, full_range);
                for index in 0..yuv.cb.len() {
                    let (x, y) = (index % width.div_ceil(2), index / width.div_ceil(2));
                    let exact = reference(mean(&rgb, width, height, x, y), full_range);
                    for (actual, exact) in [yuv.cb[index], yuv.cr[index]].into_iter().zip(&exact[1..]) {
                        let error = (f64::from(actual) - exact.min(255.0)).abs();
                        assert!(error <= 0.5 + 1e-9, "{width}x{height} at {x}, {y}: {error}");
                    }
                }
            }
        }
    }

    /// Of the pixels around column 2x and between rows 2y and 2y + 1, those at the edge repeated.
    fn mean(rgb: &[u8], width: usize, height: usize, x: usize, y: usize) -> [f64; 3] {
        let mut mean = [0.0; 3];
        for row in [2 * y, 2 * y + 1] {
            for (column, weight) in [(2 * x).saturating_sub(1), 2 * x, 2 * x + 1]
                .into_iter()
                .zip([1.0, 2.0, 1.0])
            {
                let pixel = row.min(height - 1) * width + column.min(width - 1);
                for (mean, &value) in mean.iter_mut().zip(&rgb[pixel * 3..]) {
                    *mean += f64::from(value) * weight / 8.0;
                }
            }
        }
        mean
    }

    #[test]
    fn odd_sides_repeat_the_edge() {
        let mut yuv = Yuv420::new(3, 1);
        yuv.fill_from_rgb(&[0, 0, 0, 255, 255, 255, 0, 0, 255], false);
        assert_eq!(yuv.size(), (4, 2));
        assert_eq!(yuv.luma, [16, 235, 32, 32, 16, 235, 32, 32]);
    }
}
