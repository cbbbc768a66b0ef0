//! The formats that a video can be written in.

use std::fmt;
use std::path::Path;

use crate::error::{Mp4Error, Result};
use crate::rate::FrameRate;

/// How a video is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OutputFormat {
    /// H.264 in MP4.
    Mp4,
    /// GIF: 256 colours a frame, dithered; delays in hundredths of a second.
    Gif,
    /// Animated WebP, lossless; delays in thousandths of a second.
    WebP,
    /// Animated PNG, lossless.
    Apng,
    /// A folder of PNG files, lossless and without timing.
    PngSequence,
}

impl OutputFormat {
    /// All formats.
    pub const ALL: [Self; 5] = [Self::Mp4, Self::Gif, Self::WebP, Self::Apng, Self::PngSequence];

    /// The format that the extension of a path stands for: `mp4` or `m4v`, `gif`, `webp`, `png` or `apng`; none means a
    /// folder of PNG files.
    ///
    /// # Errors
    ///
    /// [`Mp4Error::UnknownFormat`] for any other extension.
    pub fn from_path(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let extension = path.extension().map(|extension| extension.to_string_lossy());
        match extension.map(|extension| extension.to_lowercase()).as_deref() {
            Some("mp4" | "m4v") => Ok(Self::Mp4),
            Some("gif") => Ok(Self::Gif),
            Some("webp") => Ok(Self::WebP),
            Some("png" | "apng") => Ok(Self::Apng),
            None => Ok(Self::PngSequence),
            Some(_) => Err(Mp4Error::UnknownFormat {
                path: path.to_path_buf(),
            }),
        }
    }

    /// The least and the greatest side in pixels.
    pub(crate) const fn sides(self) -> (u32, u32) {
        match self {
            Self::Mp4 => (16, 3840),
            Self::Gif => (1, 0xffff),
            Self::WebP => (1, 1 << 14),
            Self::Apng | Self::PngSequence => (1, i32::MAX as u32),
        }
    }

    /// The lowest and the highest frame rate: the one by the room for delays, the other by the browsers, which show a
    /// frame for a tenth of a second that should last less than 20 ms in GIF, or up to 10 ms in the others.
    pub(crate) const fn rates(self) -> Option<[FrameRate; 2]> {
        let (seconds, highest) = match self {
            Self::Gif => (600, 50),
            Self::WebP => (3600, 90),
            Self::Apng => (60, 90),
            Self::Mp4 | Self::PngSequence => return None,
        };
        Some([FrameRate::new(1, seconds), FrameRate::new(highest, 1)])
    }
}

impl fmt::Display for OutputFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mp4 => "MP4",
            Self::Gif => "GIF",
            Self::WebP => "WebP",
            Self::Apng => "animated PNG",
            Self::PngSequence => "PNG sequence",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_choose_the_format() {
        let of = |path: &str| OutputFormat::from_path(path).ok();
        assert_eq!(of("a.mp4"), Some(OutputFormat::Mp4));
        assert_eq!(of("b.c/a.GIF"), Some(OutputFormat::Gif));
        assert_eq!(of("a.webp"), Some(OutputFormat::WebP));
        assert_eq!(
            (of("a.png"), of("a.apng")),
            (Some(OutputFormat::Apng), Some(OutputFormat::Apng))
        );
        assert_eq!(of("frames/"), Some(OutputFormat::PngSequence));
        assert_eq!((of("a.avi"), of("a.mp4.part")), (None, None));
    }
}
