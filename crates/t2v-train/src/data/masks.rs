//! Masks beside clips: where the subject is, which counts more in the loss than what is around it.
//!
//! `ball.mask.png` is that of `ball.mp4` or of the folder `ball`: white where the subject is, for all frames. A subject that moves has a
//! folder of pictures `ball.mask`, or a video `ball.mask.mp4`, with a frame for each of the clip's.

use std::path::Path;

use burn::tensor::{DType, Device, Tensor, TensorData};
use image::{GrayImage, Rgb, RgbImage};
use t2v_media::InitMedia;

use super::{ClipSize, frames};
use crate::{TrainError, error::file};

/// How much of the subject there is in each pixel of a clip.
#[derive(Debug, Clone)]
pub(crate) struct Mask {
    /// `[frames, height, width]` of the clip that is trained, 0 to 255; one frame stands for all.
    pub(super) frames: Vec<Vec<u8>>,
}

/// A mask's frames as they are in its file: one, or one for each of the clip's.
pub(super) fn read(path: &Path, clip: &[RgbImage]) -> Result<Vec<RgbImage>, TrainError> {
    let frames = match is_picture(path) {
        true => vec![to_rgb(&t2v_media::open_mask(path).map_err(|e| file(path, e))?)],
        false => InitMedia::open_video(path)
            .map_err(|e| file(path, e))?
            .pictures()
            .to_vec(),
    };
    if frames.len() != 1 && frames.len() != clip.len() {
        let (has, needed) = (frames.len(), clip.len());
        let reason = format!("the mask has {has} frames, and its clip {needed}; it has one for all, or one for each");
        return Err(file(path, reason));
    }
    for (frame, picture) in frames.iter().zip(clip) {
        let (has, needed) = (frame.dimensions(), picture.dimensions());
        if has != needed {
            let reason = format!(
                "the mask has {}x{} pixels, and its clip {}x{}; they have the same size",
                has.0, has.1, needed.0, needed.1
            );
            return Err(file(path, reason));
        }
    }
    match frames.iter().flat_map(|frame| frame.as_raw()).any(|value| *value > 0) {
        true => Ok(frames),
        false => Err(file(path, "the mask is black everywhere; the subject is white in it")),
    }
}

fn is_picture(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or("");
    !path.is_dir() && super::entries::PICTURES.contains(&extension.to_ascii_lowercase().as_str())
}

fn to_rgb(mask: &GrayImage) -> RgbImage {
    RgbImage::from_fn(mask.width(), mask.height(), |x, y| Rgb([mask.get_pixel(x, y).0[0]; 3]))
}

impl Mask {
    /// Of frames that a part of a clip shows.
    pub(super) fn fitted<'a>(frames: impl Iterator<Item = &'a RgbImage>, size: &ClipSize) -> Self {
        let level = |rgb: &[u8]| ((u32::from(rgb[0]) + u32::from(rgb[1]) + u32::from(rgb[2])) / 3) as u8;
        let fitted = frames.map(|frame| {
            let pixels = frames::fitted(frame, size.width, size.height);
            pixels.chunks_exact(3).map(level).collect()
        });
        Self {
            frames: fitted.collect(),
        }
    }

    /// The share of the subject in what each latent stands for.
    ///
    /// # Shapes
    /// - output: `[1, 1, frames, height, width]` of `latents`, which are `[1, channels, frames, height, width]`
    pub(super) fn over_latents(&self, size: &ClipSize, latents: [usize; 5], device: &Device) -> Tensor<5> {
        let [_, _, frames, height, width] = latents;
        let (rows, columns) = (size.height / height, size.width / width);
        let mut values = Vec::with_capacity(frames * height * width);
        for frame in 0..frames {
            let shown = self.of_latent_frame(frame, frames, size.frames);
            for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
                let pixels =
                    (0..rows * columns).map(|i| (y * rows + i / columns) * size.width + x * columns + i % columns);
                let sum: u32 = pixels
                    .flat_map(|pixel| shown.iter().map(move |frame| u32::from(frame[pixel])))
                    .sum();
                values.push(sum as f32 / (255 * rows * columns * shown.len()) as f32);
            }
        }
        Tensor::from_data(
            TensorData::new(values, [1, 1, frames, height, width]),
            (device, DType::F32),
        )
    }

    /// The frames that a latent frame stands for: the first for one, the others for as many each as come out even.
    fn of_latent_frame(&self, frame: usize, latent_frames: usize, frames: usize) -> &[Vec<u8>] {
        if self.frames.len() == 1 {
            return &self.frames;
        }
        let of_each = match latent_frames {
            1 => 1,
            _ => (frames - 1) / (latent_frames - 1),
        };
        match frame {
            0 => &self.frames[..1],
            _ => &self.frames[(frame - 1) * of_each + 1..frame * of_each + 1],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: ClipSize = ClipSize {
        frames: 5,
        stride: 1,
        width: 8,
        height: 4,
    };

    fn values(mask: &Mask, latents: [usize; 5]) -> Vec<f32> {
        let places = mask.over_latents(&SIZE, latents, &Device::flex());
        assert_eq!(places.dims()[2..], latents[2..]);
        places.into_data().iter().collect()
    }

    #[test]
    fn a_latent_has_the_share_of_its_pixels() {
        // The left quarter of the clip is the subject's.
        let picture = RgbImage::from_fn(8, 4, |x, _| Rgb([if x < 2 { 255 } else { 0 }; 3]));
        let mask = Mask::fitted(std::iter::once(&picture), &SIZE);
        assert_eq!(values(&mask, [1, 4, 1, 1, 2]), [0.5, 0.0]);
        assert_eq!(values(&mask, [1, 4, 2, 1, 2]), [0.5, 0.0, 0.5, 0.0]);
    }

    #[test]
    fn frames_of_a_mask_go_to_their_latent_frames() {
        let frames: Vec<RgbImage> = [255, 255, 0, 0, 0]
            .map(|level| RgbImage::from_pixel(8, 4, Rgb([level; 3])))
            .into();
        let mask = Mask::fitted(frames.iter(), &SIZE);
        assert_eq!(values(&mask, [1, 4, 2, 1, 1]), [1.0, 0.25]);
        assert_eq!(values(&mask, [1, 4, 5, 1, 1]), [1.0, 1.0, 0.0, 0.0, 0.0]);
    }
}
