//! Frames of any size as frames of one size.

use image::{
    RgbImage,
    imageops::{self, FilterType},
};

use crate::{TrainError, error::setting};

/// The size of the clips that are trained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClipSize {
    /// Frames.
    pub frames: usize,
    /// Every how many-th frame of a file is shown; 1 for all.
    pub stride: usize,
    /// Pixels.
    pub width: usize,
    /// Pixels.
    pub height: usize,
}

impl ClipSize {
    /// Frames of a file that a clip takes.
    pub(crate) fn span(&self) -> usize {
        (self.frames - 1) * self.stride + 1
    }

    /// # Errors
    /// A size that no clip of the base can have.
    pub(crate) fn check(&self, limits: &ClipLimits) -> Result<(), TrainError> {
        for (name, count) in [("frames", self.frames), ("stride", self.stride)] {
            if count == 0 {
                return Err(setting(name, "is 0; it must be at least 1"));
            }
        }
        let (frames, every) = (self.frames, limits.frame_multiple);
        if !(frames - 1).is_multiple_of(every) {
            let nearest = (frames - 1) / every * every + 1;
            let reason = format!("is {frames}; it must be 1 more than a multiple of {every}, such as {nearest}");
            return Err(setting("frames", reason));
        }
        for (name, side) in [("width", self.width), ("height", self.height)] {
            if side == 0 || !side.is_multiple_of(limits.side_multiple) {
                let reason = format!("is {side}; it must be a multiple of {}", limits.side_multiple);
                return Err(setting(name, reason));
            }
        }
        Ok(())
    }
}

/// What clips a base takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClipLimits {
    /// What sides are multiples of.
    pub(crate) side_multiple: usize,
    /// What the frames after the first are a multiple of.
    pub(crate) frame_multiple: usize,
}

/// A picture scaled so that it covers the size, and cut to its middle, as RGB.
pub(super) fn fitted(picture: &RgbImage, width: usize, height: usize) -> Vec<u8> {
    let (from_width, from_height) = picture.dimensions();
    let (width, height) = (width as u32, height as u32);
    let scale = f64::max(
        f64::from(width) / f64::from(from_width),
        f64::from(height) / f64::from(from_height),
    );
    let scaled = |from: u32, to: u32| ((f64::from(from) * scale).round() as u32).max(to);
    let (wide, high) = (scaled(from_width, width), scaled(from_height, height));
    let resized;
    let picture = match (wide, high) == (from_width, from_height) {
        true => picture,
        false => {
            resized = imageops::resize(picture, wide, high, FilterType::Lanczos3);
            &resized
        }
    };
    let (left, top) = ((wide - width) / 2, (high - height) / 2);
    imageops::crop_imm(picture, left, top, width, height)
        .to_image()
        .into_raw()
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;

    #[test]
    fn the_middle_is_kept() {
        // Red, green and blue thirds, twice as high as the result.
        let picture = RgbImage::from_fn(12, 4, |x, _| {
            Rgb(if x < 4 {
                [255, 0, 0]
            } else if x < 8 {
                [0, 255, 0]
            } else {
                [0, 0, 255]
            })
        });
        let fitted = fitted(&picture, 2, 2);
        assert_eq!(fitted.len(), 12);
        assert!(fitted.chunks(3).all(|pixel| pixel[1] > 200), "{fitted:?}");
        let same = super::fitted(&picture, 12, 4);
        assert_eq!(same, picture.into_raw());
    }

    #[test]
    fn sizes_fit_the_autoencoder() {
        let size = ClipSize {
            frames: 8,
            stride: 2,
            width: 64,
            height: 60,
        };
        assert_eq!(size.span(), 15);
        let check = |side_multiple, frame_multiple| {
            size.check(&ClipLimits {
                side_multiple,
                frame_multiple,
            })
        };
        assert!(check(4, 1).is_ok());
        let message = check(4, 4).unwrap_err().to_string();
        assert!(
            message.contains("`frames` is 8") && message.contains("such as 5"),
            "{message}"
        );
        let message = check(8, 1).unwrap_err().to_string();
        assert!(
            message.contains("`height` is 60") && message.contains("multiple of 8"),
            "{message}"
        );
    }
}
