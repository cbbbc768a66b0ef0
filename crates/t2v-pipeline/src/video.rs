//! The result: frames, and how they came about.

use std::{fmt, path::Path};

use t2v_mp4::{FrameRate, OutputFormat, VideoSpec, Writer};

use crate::{PipelineError, Report, progress::StageTimes};

/// What H.264 as written here can hold.
const SMALLEST_SIDE: usize = 16;

/// A generated video.
#[derive(Clone)]
pub struct Video {
    pub(crate) frames: Vec<f32>,
    pub(crate) size: [usize; 2],
    pub(crate) frame_rate: FrameRate,
    pub(crate) report: Report,
    pub(crate) stage_times: StageTimes,
}

impl fmt::Debug for Video {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Video")
            .field("report", &self.report)
            .finish_non_exhaustive()
    }
}

impl Video {
    /// RGB values in 0..1: `[frames, height, width, 3]`, row by row.
    #[must_use]
    pub fn frames(&self) -> &[f32] {
        &self.frames
    }

    /// Number of frames.
    #[must_use]
    pub fn num_frames(&self) -> usize {
        self.frames.len() / (self.size[0] * self.size[1] * 3)
    }

    /// Pixels.
    #[must_use]
    pub fn width(&self) -> usize {
        self.size[0]
    }

    /// Pixels.
    #[must_use]
    pub fn height(&self) -> usize {
        self.size[1]
    }

    /// Frames a second.
    #[must_use]
    pub fn frame_rate(&self) -> FrameRate {
        self.frame_rate
    }

    /// What was really used.
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// How long each stage took.
    #[must_use]
    pub fn stage_times(&self) -> &StageTimes {
        &self.stage_times
    }

    /// One frame as 8-bit RGB, row by row.
    ///
    /// # Panics
    /// `index` is not less than [`num_frames`](Self::num_frames).
    #[must_use]
    pub fn frame_rgb8(&self, index: usize) -> Vec<u8> {
        let len = self.size[0] * self.size[1] * 3;
        let frame = &self.frames[index * len..(index + 1) * len];
        frame.iter().map(|v| (v * 255.0).round() as u8).collect()
    }

    /// Writes the video, complete or not at all, with the [report](Self::report) as metadata.
    ///
    /// The extension chooses the format: `mp4` for H.264, `gif`, `webp`, `png` or `apng` for an animated PNG, none for a
    /// folder of PNG files. H.264 needs sides of at least 16 pixels: smaller frames are enlarged by the least whole factor
    /// that gives them.
    ///
    /// # Errors
    /// An unknown extension, a path that can't be written to, a size or frame rate beyond the format's.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), PipelineError> {
        let format = OutputFormat::from_path(&path)?;
        let factor = match format {
            OutputFormat::Mp4 => h264_factor(self.size),
            _ => 1,
        };
        let [width, height] = self.size.map(|side| side * factor);
        let spec = VideoSpec::new(width as u32, height as u32, self.frame_rate).with_metadata(self.report.metadata());
        let mut writer = Writer::create_as(format, path, spec)?;
        for index in 0..self.num_frames() {
            let frame = self.frame_rgb8(index);
            match factor {
                1 => writer.push(&frame)?,
                _ => writer.push(&enlarge(&frame, self.size, factor))?,
            }
        }
        Ok(writer.finish()?)
    }
}

/// The least factor by which both sides become at least [`SMALLEST_SIDE`].
fn h264_factor([width, height]: [usize; 2]) -> usize {
    SMALLEST_SIDE.div_ceil(width.min(height).max(1))
}

/// Each pixel as a square of `factor` times `factor`.
fn enlarge(frame: &[u8], [width, height]: [usize; 2], factor: usize) -> Vec<u8> {
    let pixel = |x: usize, y: usize| {
        let at = (y / factor * width + x / factor) * 3;
        [frame[at], frame[at + 1], frame[at + 2]]
    };
    (0..height * factor)
        .flat_map(|y| (0..width * factor).flat_map(move |x| pixel(x, y)))
        .collect()
}

/// Whether a video, or another file, can be written at `path`, found out by creating one beside it and removing it again: to ask before a
/// generation rather than after it.
///
/// # Errors
/// As for [`Video::save`].
pub fn check_output(path: impl AsRef<Path>) -> Result<(), PipelineError> {
    let side = SMALLEST_SIDE as u32;
    let format = OutputFormat::from_path(&path).unwrap_or(OutputFormat::Mp4);
    drop(Writer::create_as(format, path, VideoSpec::new(side, side, 1))?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_frames_are_enlarged() {
        assert_eq!(h264_factor([64, 48]), 1);
        assert_eq!(h264_factor([8, 16]), 2);
        assert_eq!(h264_factor([17, 64]), 1);
        assert_eq!(h264_factor([1, 1]), 16);
        let frame = [1, 2, 3, 4, 5, 6];
        let rows = [[1, 2, 3, 1, 2, 3, 4, 5, 6, 4, 5, 6]; 2].concat();
        assert_eq!(enlarge(&frame, [2, 1], 2), rows);
    }
}
