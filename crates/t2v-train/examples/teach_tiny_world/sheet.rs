//! A picture of clips before and after.

use std::{error::Error, path::Path};

use image::{Rgb, RgbImage, imageops};
use t2v_pipeline::Video;

/// Frames of each clip that are shown, evenly over its time.
const FRAMES: usize = 4;
/// Pixels between clips.
const GAP: u32 = 8;

/// Writes a row for each pair of clips: frames of the first, a gap, frames of the second.
///
/// # Errors
/// No clips, or a path that can't be written to.
pub(crate) fn save(before: &[Video], after: &[Video], path: &Path) -> Result<(), Box<dyn Error>> {
    let Some(first) = before.first() else {
        return Err("there are no clips to show; ask for some with --new-prompts or --old-prompts".into());
    };
    let (width, height) = (first.width() as u32, first.height() as u32);
    let half = FRAMES as u32 * width + GAP;
    let rows = before.len() as u32;
    let size = (2 * half - GAP, rows * (height + GAP) - GAP);
    let mut sheet = RgbImage::from_pixel(size.0, size.1, Rgb([255; 3]));
    for (row, pair) in before.iter().zip(after).enumerate() {
        for (side, video) in [pair.0, pair.1].into_iter().enumerate() {
            for i in 0..FRAMES {
                let frame = video.frame_rgb8(i * (video.num_frames() - 1) / (FRAMES - 1));
                let picture = RgbImage::from_raw(width, height, frame).ok_or("clips of several sizes")?;
                let x = side as u32 * half + i as u32 * width;
                imageops::replace(&mut sheet, &picture, x.into(), (row as u32 * (height + GAP)).into());
            }
        }
    }
    let bytes = {
        let mut png = std::io::Cursor::new(Vec::new());
        sheet.write_to(&mut png, image::ImageFormat::Png)?;
        png.into_inner()
    };
    Ok(t2v_mp4::write_file(path, &bytes)?)
}
