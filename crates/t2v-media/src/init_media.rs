//! Pictures to start from: an image, a folder of pictures, a GIF, an MP4.

use std::path::Path;

use image::{GrayImage, RgbImage};

use crate::{MediaError, clips, limits, open_mask, open_picture};

/// Pictures that denoising starts from; `strength` says how much of them is replaced.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum InitMedia {
    /// One picture, repeated over the frames.
    Image(RgbImage),
    /// One picture, of which only a part is painted anew.
    Masked {
        /// The picture.
        picture: RgbImage,
        /// Where it is painted anew: where this is white, or at least half grey. Of the picture's size, or resized to it.
        mask: GrayImage,
    },
    /// The picture that a video begins with and the one that it ends with, of any sizes; for models that are shown both.
    Ends([RgbImage; 2]),
    /// The frames of a video, 1 to 128, all of one size; their number is that of the result.
    Video(Vec<RgbImage>),
}

impl InitMedia {
    /// A PNG, JPEG, WebP, GIF, BMP or TIFF picture, as its orientation says that it is to be shown.
    ///
    /// # Errors
    /// The file is missing, has a side of more than 8192 pixels, or is no picture.
    pub fn open_image(path: impl AsRef<Path>) -> Result<Self, MediaError> {
        open_picture(path).map(Self::Image)
    }

    /// A picture, and a mask of where it is painted anew: where the mask is white.
    ///
    /// # Errors
    /// As for [`open_image`](Self::open_image), for either file.
    pub fn open_masked(picture: impl AsRef<Path>, mask: impl AsRef<Path>) -> Result<Self, MediaError> {
        Ok(Self::Masked {
            picture: open_picture(picture)?,
            mask: open_mask(mask)?,
        })
    }

    /// The picture that a video begins with, and the one that it ends with.
    ///
    /// # Errors
    /// As for [`open_image`](Self::open_image), for either file.
    pub fn open_ends(first: impl AsRef<Path>, last: impl AsRef<Path>) -> Result<Self, MediaError> {
        Ok(Self::Ends([open_picture(first)?, open_picture(last)?]))
    }

    /// A folder of pictures in the order of [`picture_files`](crate::picture_files), an animated GIF, or an MP4 or QuickTime
    /// file that [`t2v_mp4::Reader`] can read: H.264, as cameras and `ffmpeg` write it. Every frame of a video is taken once,
    /// whatever its duration.
    ///
    /// # Errors
    /// Nothing of the kind at `path`, frames of different sizes, more than 128 of them, or pixels of more than 2 GiB in all,
    /// which is found out before they are decoded.
    pub fn open_video(path: impl AsRef<Path>) -> Result<Self, MediaError> {
        clips::open(path.as_ref()).map(Self::Video)
    }

    /// What is wrong with pictures that come from anywhere, as a sentence.
    ///
    /// # Errors
    /// There are none or too many, one of them is empty, or their sizes differ.
    pub fn check(&self) -> Result<(), String> {
        let frames = self.pictures();
        let Some(first) = frames.first() else {
            return Err("The init video has no frames.".into());
        };
        if frames.len() > limits::MAX_FRAMES {
            let (count, most) = (frames.len(), limits::MAX_FRAMES);
            return Err(format!(
                "The init video has {count} frames, and at most {most} are allowed."
            ));
        }
        let (width, height) = first.dimensions();
        if let Some(empty) = frames.iter().find(|frame| frame.is_empty()) {
            let (width, height) = empty.dimensions();
            return Err(format!(
                "The init media has {width}x{height} pixels: there is nothing in it."
            ));
        }
        if self.mask().is_some_and(|mask| mask.is_empty()) {
            return Err("The mask has no pixels: there is nothing in it.".into());
        }
        if matches!(self, Self::Ends(_)) {
            return Ok(());
        }
        match (0..)
            .zip(frames)
            .find(|(_, frame)| frame.dimensions() != (width, height))
        {
            Some((number, frame)) => {
                let (w, h) = frame.dimensions();
                Err(format!(
                    "The frames of the init video must have one size, but frame {number} has {w}x{h} pixels and the first \
                     one {width}x{height}."
                ))
            }
            None => Ok(()),
        }
    }

    /// The picture, or the frames.
    #[must_use]
    pub fn pictures(&self) -> &[RgbImage] {
        match self {
            Self::Image(picture) | Self::Masked { picture, .. } => std::slice::from_ref(picture),
            Self::Ends(pictures) => pictures,
            Self::Video(frames) => frames,
        }
    }

    /// What of the picture is painted anew, where that is not all.
    #[must_use]
    pub fn mask(&self) -> Option<&GrayImage> {
        match self {
            Self::Masked { mask, .. } => Some(mask),
            _ => None,
        }
    }

    /// How many frames the result has, where the pictures decide it.
    #[must_use]
    pub fn num_frames(&self) -> Option<u32> {
        match self {
            Self::Image(_) | Self::Masked { .. } | Self::Ends(_) => None,
            Self::Video(frames) => u32::try_from(frames.len()).ok(),
        }
    }
}
