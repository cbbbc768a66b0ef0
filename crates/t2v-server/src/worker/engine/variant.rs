//! The files of a job, and what they are called.

use crate::job::OutputType;

/// A file of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Variant {
    /// H.264 in MP4.
    Video,
    /// A picture of the middle of the video, or the first picture: WebP.
    Thumbnail,
    /// Pictures of the whole video side by side, JPEG.
    Spritesheet,
    /// The video as an animated GIF, where it was asked for.
    Gif,
    /// A still picture, PNG, by its number from 0.
    Picture(u8),
}

/// The most pictures of a job.
pub const MOST_SAMPLES: u8 = 4;

impl Variant {
    /// Every variant.
    pub const ALL: [Self; 4 + MOST_SAMPLES as usize] = [
        Self::Video,
        Self::Thumbnail,
        Self::Spritesheet,
        Self::Gif,
        Self::Picture(0),
        Self::Picture(1),
        Self::Picture(2),
        Self::Picture(3),
    ];

    /// The files of a job; what its `output` has comes first.
    #[must_use]
    pub fn of(output_type: OutputType, samples: u8) -> Vec<Self> {
        let mut files = Self::answered(output_type, samples);
        files.extend(match output_type {
            OutputType::Mp4 => vec![Self::Thumbnail, Self::Spritesheet],
            OutputType::Gif => vec![Self::Video, Self::Thumbnail, Self::Spritesheet],
            OutputType::Png | OutputType::Base64 => vec![Self::Thumbnail],
        });
        files
    }

    /// The files of a job that its `output` has in the API of 2023.
    #[must_use]
    pub fn answered(output_type: OutputType, samples: u8) -> Vec<Self> {
        match output_type {
            OutputType::Mp4 => vec![Self::Video],
            OutputType::Gif => vec![Self::Gif],
            OutputType::Png | OutputType::Base64 => (0..samples).map(Self::Picture).collect(),
        }
    }

    /// As OpenAI's API calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Video => "video",
            Self::Thumbnail => "thumbnail",
            Self::Spritesheet => "spritesheet",
            Self::Gif => "gif",
            Self::Picture(_) => "picture",
        }
    }

    /// The extension of its files.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::Video => "mp4",
            Self::Thumbnail => "webp",
            Self::Spritesheet => "jpg",
            Self::Gif => "gif",
            Self::Picture(_) => "png",
        }
    }

    /// The name of its file, of a job whose files have a name in common.
    #[must_use]
    pub fn file(self, name: &str) -> String {
        match self {
            Self::Picture(number) => format!("{name}-{number}.png"),
            other => format!("{name}.{}", other.extension()),
        }
    }

    /// The common name and the variant of a file.
    #[must_use]
    pub fn of_file(file: &str) -> Option<(&str, Self)> {
        Self::ALL.into_iter().find_map(|variant| {
            let name = file.strip_suffix(variant.file("").as_str())?;
            Some((name, variant))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_lead_back_to_what_they_are() {
        for variant in Variant::ALL {
            assert_eq!(Variant::of_file(&variant.file("x")), Some(("x", variant)));
        }
        assert_eq!(Variant::Picture(1).file("x"), "x-1.png");
        for wrong in ["x.png", "x-4.png", "x", "x.mkv"] {
            assert_eq!(Variant::of_file(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_job_has_the_files_that_its_output_has() {
        for output_type in OutputType::ALL {
            let (files, answered) = (Variant::of(output_type, 2), Variant::answered(output_type, 2));
            assert!(files.starts_with(&answered) && files.contains(&Variant::Thumbnail));
        }
        assert!(Variant::of(OutputType::Gif, 1).contains(&Variant::Video));
    }
}
