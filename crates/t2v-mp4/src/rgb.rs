//! Y'CbCr 4:2:0 to RGB by ITU-R BT.709 or BT.601, in limited or full range: the way back of `yuv.rs`.
//!
//! Chroma is interpolated linearly from where its samples lie. Whole numbers, rounded to nearest once: interpolated chroma is
//! exact in sixteenths, and the matrix is held in 2⁻⁴⁰, so that only values within 2⁻²⁶ of the middle between two whole
//! numbers may go the other way.

use openh264::formats::YUVSource;

use crate::demux::ContainerColour;
use crate::fault::{Fault, Remedy};
use crate::sps::Sps;

/// Fractional bits of the matrix.
const BITS: u32 = 40;

/// Options that change the colour matrix.
const TO_BT709: &str = "-vf scale=out_color_matrix=bt709:out_range=tv -colorspace bt709 -color_range tv";

/// Converts pictures of one video.
#[derive(Debug)]
pub(crate) struct RgbConverter {
    matrix: Matrix,
    across: Siting,
    down: Siting,
}

/// Where the chroma sample of two pixels lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Siting {
    First,
    Between,
    Second,
}

/// Factors, times 2^[`BITS`].
#[derive(Debug, PartialEq, Eq)]
struct Matrix {
    black: i64,
    luma: i64,
    /// Of sixteenths of chroma: Cr in red, Cb and Cr in green, Cb in blue.
    red: i64,
    green: [i64; 2],
    blue: i64,
}

impl RgbConverter {
    /// By what the container says, else the stream; where neither does, BT.709 above standard definition, limited range.
    pub(crate) fn new(colour: Option<ContainerColour>, sps: &Sps) -> Result<Self, Fault> {
        const UNSPECIFIED: u16 = 2;
        let said = [colour.map(|colour| colour.matrix), sps.matrix];
        let matrix = said.into_iter().flatten().find(|&matrix| matrix != UNSPECIFIED);
        let [red, blue] = match matrix {
            Some(1) => BT709,
            Some(5 | 6) => BT601,
            None if sps.width >= 1280 || sps.height > 576 => BT709,
            None => BT601,
            Some(other) => {
                let what = format!("its colours are {}, not BT.709 or BT.601", matrix_name(other));
                return Err(Fault::Unsupported(what, Remedy::Convert(TO_BT709)));
            }
        };
        let full_range = colour.and_then(|colour| colour.full_range).unwrap_or(sps.full_range);
        let (across, down) = match sps.siting {
            0 => (Siting::First, Siting::Between),
            1 => (Siting::Between, Siting::Between),
            2 => (Siting::First, Siting::First),
            3 => (Siting::Between, Siting::First),
            4 => (Siting::First, Siting::Second),
            _ => (Siting::Between, Siting::Second),
        };
        Ok(Self {
            matrix: Matrix::new(red, blue, full_range),
            across,
            down,
        })
    }

    /// The pixels of a part of a picture (left, top, width, height), row by row. The part must lie within the picture.
    pub(crate) fn convert(&self, picture: &impl YUVSource, [left, top, width, height]: [u32; 4]) -> Vec<u8> {
        let (left, width) = (left as usize, width as usize);
        let (full_width, full_height) = picture.dimensions();
        let (luma_stride, cb_stride, cr_stride) = picture.strides();
        let mut rgb = Vec::with_capacity(width * height as usize * 3);
        let (mut cb, mut cr) = (vec![0; full_width / 2], vec![0; full_width / 2]);
        for row in top as usize..(top + height) as usize {
            let [(own, own_weight), (other, other_weight)] = self.down.taps(row, full_height / 2);
            for (blend, plane, stride) in [(&mut cb, picture.u(), cb_stride), (&mut cr, picture.v(), cr_stride)] {
                let rows = plane[own * stride..].iter().zip(&plane[other * stride..]);
                for (blend, (&own, &other)) in blend.iter_mut().zip(rows) {
                    *blend = own_weight * i32::from(own) + other_weight * i32::from(other);
                }
            }
            let luma = &picture.y()[row * luma_stride + left..][..width];
            for (&luma, column) in luma.iter().zip(left..) {
                let [(own, own_weight), (other, other_weight)] = self.across.taps(column, full_width / 2);
                let chroma = |blend: &[i32]| own_weight * blend[own] + other_weight * blend[other];
                rgb.extend(self.matrix.rgb(luma, chroma(&cb), chroma(&cr)));
            }
        }
        rgb
    }
}

impl Siting {
    /// The chroma samples that a pixel lies beside, and their weights, in quarters. Those at the edge are repeated.
    fn taps(self, pixel: usize, samples: usize) -> [(usize, i32); 2] {
        let own = pixel / 2;
        let (before, after) = (own.saturating_sub(1), (own + 1).min(samples - 1));
        match (self, pixel % 2) {
            (Self::First, 0) | (Self::Second, 1) => [(own, 4), (own, 0)],
            (Self::First, _) => [(own, 2), (after, 2)],
            (Self::Second, _) => [(own, 2), (before, 2)],
            (Self::Between, 0) => [(own, 3), (before, 1)],
            (Self::Between, _) => [(own, 3), (after, 1)],
        }
    }
}

/// What a code of ITU-T H.273 stands for.
fn matrix_name(code: u16) -> String {
    let name = match code {
        0 => "RGB without a matrix",
        4 => "FCC",
        7 => "SMPTE 240M",
        8 => "YCgCo",
        9 | 10 => "BT.2020",
        14 => "ICtCp",
        _ => return format!("of matrix {code}"),
    };
    format!("{name} (matrix {code})")
}

/// The weights of red and blue in luma.
const BT709: [f64; 2] = [0.2126, 0.0722];
const BT601: [f64; 2] = [0.299, 0.114];

impl Matrix {
    fn new(red: f64, blue: f64, full_range: bool) -> Self {
        let (black, luma, chroma) = match full_range {
            true => (0, 255.0, 255.0),
            false => (16, 219.0, 224.0),
        };
        let fixed = |factor: f64| (factor * f64::from(BITS).exp2()).round() as i64;
        let chroma = |factor: f64| fixed(255.0 * factor / (chroma * 16.0));
        let green = 1.0 - red - blue;
        let (red_spread, blue_spread) = (2.0 * (1.0 - red), 2.0 * (1.0 - blue));
        Self {
            black,
            luma: fixed(255.0 / luma),
            red: chroma(red_spread),
            green: [chroma(-blue * blue_spread / green), chroma(-red * red_spread / green)],
            blue: chroma(blue_spread),
        }
    }

    /// From luma, and chroma in sixteenths.
    fn rgb(&self, luma: u8, cb: i32, cr: i32) -> [u8; 3] {
        const HALF: i64 = 1 << (BITS - 1);
        const MIDDLE: i32 = 128 * 16;
        let luma = self.luma * (i64::from(luma) - self.black) + HALF;
        let (cb, cr) = (i64::from(cb - MIDDLE), i64::from(cr - MIDDLE));
        let sums = [self.red * cr, self.green[0] * cb + self.green[1] * cr, self.blue * cb];
        sums.map(|sum| ((luma + sum) >> BITS).clamp(0, 255) as u8)
    }
}
