//! Pictures at another size, as Pillow 13 resizes them for diffusers, to the bit: a filter by rows and by columns, on bytes,
//! with weights of 22 binary places (`Resample.c` of Pillow). Libraries round elsewhere, which a few denoising steps make
//! visible.

use image::{GrayImage, ImageBuffer, Luma, Pixel, Rgb, RgbImage};

const PLACES: u32 = 22;
/// Lobes of the Lanczos filter on each side.
const LOBES: f64 = 3.0;
/// The slope of Pillow's bicubic filter.
const SLOPE: f64 = -0.5;

/// What pixels of the source are weighted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Filter {
    Lanczos,
    Bicubic,
}

impl Filter {
    /// Pixels on each side that it looks at, where it does not make the picture smaller.
    fn support(self) -> f64 {
        match self {
            Self::Lanczos => LOBES,
            Self::Bicubic => 2.0,
        }
    }

    fn weight(self, x: f64) -> f64 {
        match self {
            Self::Lanczos => lanczos(x),
            Self::Bicubic => bicubic(x.abs()),
        }
    }
}

/// A row or column of the result: the first source pixel, and the weights of it and those after it.
struct Taps {
    first: usize,
    weights: Vec<i32>,
}

pub(crate) fn resize_rgb(picture: &RgbImage, width: u32, height: u32, filter: Filter) -> RgbImage {
    resize::<Rgb<u8>>(picture, width, height, filter)
}

pub(crate) fn resize_grey(picture: &GrayImage, width: u32, height: u32) -> GrayImage {
    resize::<Luma<u8>>(picture, width, height, Filter::Lanczos)
}

type Picture<P> = ImageBuffer<P, Vec<u8>>;

fn resize<P: Pixel<Subpixel = u8>>(picture: &Picture<P>, width: u32, height: u32, filter: Filter) -> Picture<P> {
    let [lost_height, lost_width] =
        [(picture.height(), height), (picture.width(), width)].map(|(from, to)| i64::from(from) - i64::from(to));
    // Found by trial: which pass comes first shows where one of them is cut to bytes.
    match lost_height > 0 && lost_height > 2 * lost_width {
        true => by_row(by_column(picture.clone(), height, filter), width, filter),
        false => by_column(by_row(picture.clone(), width, filter), height, filter),
    }
}

fn by_row<P: Pixel<Subpixel = u8>>(picture: Picture<P>, width: u32, filter: Filter) -> Picture<P> {
    if picture.width() == width {
        return picture;
    }
    let taps = taps(picture.width(), width, filter);
    filtered(&picture, width, picture.height(), |x, y| {
        (&taps[x as usize], move |i| (i, y))
    })
}

fn by_column<P: Pixel<Subpixel = u8>>(picture: Picture<P>, height: u32, filter: Filter) -> Picture<P> {
    if picture.height() == height {
        return picture;
    }
    let taps = taps(picture.height(), height, filter);
    filtered(&picture, picture.width(), height, |x, y| {
        (&taps[y as usize], move |i| (x, i))
    })
}

/// Each pixel is a weighted sum of the pixels that `at` names for it.
fn filtered<'a, P: Pixel<Subpixel = u8>, F: Fn(u32) -> (u32, u32)>(
    picture: &Picture<P>,
    width: u32,
    height: u32,
    at: impl Fn(u32, u32) -> (&'a Taps, F),
) -> Picture<P> {
    ImageBuffer::from_fn(width, height, |x, y| {
        let (taps, place) = at(x, y);
        let mut pixel = *picture.get_pixel(0, 0);
        for (channel, value) in pixel.channels_mut().iter_mut().enumerate() {
            let products = taps.weights.iter().zip(taps.first as u32..).map(|(weight, i)| {
                let (x, y) = place(i);
                weight * i32::from(picture.get_pixel(x, y).channels()[channel])
            });
            let sum = (1 << (PLACES - 1)) + products.sum::<i32>();
            *value = (sum >> PLACES).clamp(0, 255) as u8;
        }
        pixel
    })
}

fn taps(from: u32, to: u32, filter: Filter) -> Vec<Taps> {
    let scale = f64::from(from) / f64::from(to);
    let stretch = scale.max(1.0);
    let support = filter.support() * stretch;
    let taps = |i| {
        let centre = (f64::from(i) + 0.5) * scale;
        let first = ((centre - support + 0.5) as i64).max(0) as usize;
        let end = ((centre + support + 0.5) as usize).min(from as usize);
        let weights: Vec<f64> = (first..end)
            .map(|x| filter.weight((x as f64 - centre + 0.5) / stretch))
            .collect();
        let sum: f64 = weights.iter().sum();
        let fixed = |weight: &f64| (weight / sum * f64::from(1 << PLACES)).round() as i32;
        Taps {
            first,
            weights: weights.iter().map(fixed).collect(),
        }
    };
    (0..to).map(taps).collect()
}

fn lanczos(x: f64) -> f64 {
    let sinc = |x: f64| match x * std::f64::consts::PI {
        0.0 => 1.0,
        angle => angle.sin() / angle,
    };
    if (-LOBES..LOBES).contains(&x) {
        sinc(x) * sinc(x / LOBES)
    } else {
        0.0
    }
}

/// Of the distance from the centre: two polynomials of the third degree.
fn bicubic(x: f64) -> f64 {
    if x < 1.0 {
        ((SLOPE + 2.0) * x - (SLOPE + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * SLOPE
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use t2v_test_support::Fixture;

    use super::*;

    /// `scripts/make_t2v_pipeline_sd_fixtures.py` and `scripts/make_t2v_pipeline_wan_pictures_fixtures.py`.
    #[test]
    fn equals_pillow() {
        for (name, filter) in [("lanczos", Filter::Lanczos), ("bicubic", Filter::Bicubic)] {
            check(name, filter);
        }
    }

    fn check(name: &str, filter: Filter) {
        let fixture = Fixture::open(&format!(
            "{}/tests/fixtures/{name}.safetensors",
            env!("CARGO_MANIFEST_DIR")
        ));
        for i in 0..8 {
            let (shape, values) = fixture.values(&format!("input.{i}"));
            let (to, expected) = fixture.values(&format!("output.{i}"));
            let bytes: Vec<u8> = values.iter().map(|value| *value as u8).collect();
            let picture = RgbImage::from_raw(shape[1] as u32, shape[0] as u32, bytes).unwrap();
            let resized = resize_rgb(&picture, to[1] as u32, to[0] as u32, filter);
            let off = resized
                .as_raw()
                .iter()
                .zip(&expected)
                .map(|(a, b)| (f32::from(*a) - b).abs());
            assert_eq!(off.fold(0.0, f32::max), 0.0, "{name}: {shape:?} to {to:?}");
        }
    }
}
