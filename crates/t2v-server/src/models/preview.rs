//! Rough looks at a video as pages can show them.

use std::io::Cursor;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use image::{ImageFormat, RgbImage};

/// Pixels of a side that a page needs no more than.
const MAX_SIDE: u32 = 320;

/// The middle one of some pictures as a `data:` URL of a PNG, made small where it is not.
pub(super) fn data_url(pictures: &[RgbImage]) -> Option<String> {
    let middle = pictures.get(pictures.len() / 2)?;
    let mut png = Cursor::new(Vec::new());
    if middle.width().max(middle.height()) > MAX_SIDE {
        let (width, height) = fitting(middle.dimensions());
        let small = image::imageops::thumbnail(middle, width, height);
        small.write_to(&mut png, ImageFormat::Png).ok()?;
    } else {
        middle.write_to(&mut png, ImageFormat::Png).ok()?;
    }
    Some(format!(
        "data:image/png;base64,{}",
        BASE64_STANDARD.encode(png.into_inner())
    ))
}

/// Sides in the same proportion, the longer one of which is as long as it may be.
fn fitting((width, height): (u32, u32)) -> (u32, u32) {
    let longest = u64::from(width.max(height));
    let scaled = |side: u32| {
        u32::try_from(u64::from(side) * u64::from(MAX_SIDE) / longest)
            .unwrap_or(MAX_SIDE)
            .max(1)
    };
    (scaled(width), scaled(height))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_picture_is_shown() {
        let pictures = [0, 100, 200].map(|grey| RgbImage::from_pixel(4, 2, image::Rgb([grey; 3])));
        let url = data_url(&pictures).unwrap();
        let png = BASE64_STANDARD
            .decode(url.strip_prefix("data:image/png;base64,").unwrap())
            .unwrap();
        assert_eq!(image::load_from_memory(&png).unwrap().into_rgb8(), pictures[1]);
        assert!(data_url(&[]).is_none());
        assert_eq!(fitting((1280, 720)), (320, 180));
        assert_eq!(fitting((1, 4000)), (1, 320));
    }
}
