//! Rough looks at a video as pages can show them.

use std::io::Cursor;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use image::{ImageFormat, RgbImage};

/// The middle one of some small pictures as a `data:` URL of a PNG.
pub(super) fn data_url(pictures: &[RgbImage]) -> Option<String> {
    let middle = pictures.get(pictures.len() / 2)?;
    let mut png = Cursor::new(Vec::new());
    middle.write_to(&mut png, ImageFormat::Png).ok()?;
    Some(format!(
        "data:image/png;base64,{}",
        BASE64_STANDARD.encode(png.into_inner())
    ))
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
    }
}
