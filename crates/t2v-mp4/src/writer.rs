//! The [`Writer`]: takes frames, leaves a file.

use std::fmt;
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};

use crate::apng::ApngSink;
use crate::error::{Mp4Error, Result};
use crate::format::OutputFormat;
use crate::gif::GifSink;
use crate::mp4_file::Mp4Sink;
use crate::output::Output;
use crate::png_sequence::PngSequenceSink;
use crate::spec::VideoSpec;
use crate::webp::WebpSink;

/// What a format does with frames. Their lengths are right, their numbers follow one another, and there is at least one
/// before `finish`.
pub(crate) trait FrameSink: Send {
    /// Adds frame number `frame`: RGB8, row by row.
    fn push(&mut self, frame: u32, rgb: &[u8]) -> Result<()>;

    /// Completes the file and gives it its name.
    fn finish(self: Box<Self>) -> Result<()>;
}

/// Writes a video, a frame at a time.
///
/// A file appears under its name in [`finish`](Self::finish), in the place of any older one. Until then it is a hidden
/// temporary file in the same folder, which goes when the writer is dropped.
pub struct Writer {
    spec: VideoSpec,
    path: PathBuf,
    sink: Box<dyn FrameSink>,
    /// Frames that came as other numbers.
    rgb: Vec<u8>,
    frames: u32,
    /// A frame was half written, or lost.
    broken: bool,
}

impl Writer {
    /// Starts an MP4 file that will be at `path`, whatever its extension.
    ///
    /// # Errors
    ///
    /// If `spec` is not [valid](VideoSpec::validate), or `path` cannot be written to: it is empty, its folder is missing,
    /// it names a folder, a device or a write-protected file, or no file can be made in its folder.
    pub fn create(path: impl AsRef<Path>, spec: VideoSpec) -> Result<Self> {
        Self::create_as(OutputFormat::Mp4, path, spec)
    }

    /// Starts a video in any format: a file, or the folder of a [`PngSequence`](OutputFormat::PngSequence), that will be
    /// at `path`. [`OutputFormat::from_path`] tells the format of an extension.
    ///
    /// # Errors
    ///
    /// As for [`create`](Self::create); [`Mp4Error::FolderInUse`] for a PNG sequence where there is something already.
    pub fn create_as(format: OutputFormat, path: impl AsRef<Path>, spec: VideoSpec) -> Result<Self> {
        let path = path.as_ref();
        spec.validate(format)?;
        let sink = match format {
            OutputFormat::PngSequence => Box::new(PngSequenceSink::create(path, &spec)?),
            _ => sink(format, Output::create(path)?, &spec)?,
        };
        Ok(Self::new(path, sink, spec))
    }

    /// Starts a video in a stream, from where the stream stands: that is what positions in the file count from.
    ///
    /// MP4 is written all at once in [`finish`](Self::finish), the other formats from the start.
    ///
    /// # Errors
    ///
    /// If `spec` is not [valid](VideoSpec::validate), or the stream cannot be written to; [`Mp4Error::NotAFile`] for
    /// [`PngSequence`](OutputFormat::PngSequence), which is more than one file.
    pub fn stream(format: OutputFormat, stream: impl Write + Seek + Send + 'static, spec: VideoSpec) -> Result<Self> {
        spec.validate(format)?;
        let output = Output::stream(Box::new(stream))?;
        let path = output.path().to_path_buf();
        let sink = sink(format, output, &spec)?;
        Ok(Self::new(&path, sink, spec))
    }

    fn new(path: &Path, sink: Box<dyn FrameSink>, spec: VideoSpec) -> Self {
        Self {
            spec,
            path: path.to_path_buf(),
            sink,
            rgb: Vec::new(),
            frames: 0,
            broken: false,
        }
    }

    /// What the video is like.
    #[must_use]
    pub fn spec(&self) -> &VideoSpec {
        &self.spec
    }

    /// The number of frames so far.
    #[must_use]
    pub fn frames(&self) -> u32 {
        self.frames
    }

    /// Adds a frame: RGB8, row by row from the top, `width * height * 3` values.
    ///
    /// # Errors
    ///
    /// [`Mp4Error::FrameLength`] for another number of values, which changes nothing. Any other error (of the encoder, of
    /// the file system) ends the video: all later calls fail, too.
    pub fn push(&mut self, rgb: &[u8]) -> Result<()> {
        self.check(rgb.len())?;
        self.broken = true;
        self.sink.push(self.frames, rgb)?;
        self.frames += 1;
        self.broken = false;
        Ok(())
    }

    /// Adds a frame: red, green and blue from 0 to 1, row by row from the top, `width * height * 3` values. Values outside
    /// are clamped to 0 or 1, NaN counts as 0.
    ///
    /// # Errors
    ///
    /// As for [`push`](Self::push).
    pub fn push_f32(&mut self, rgb: &[f32]) -> Result<()> {
        self.check(rgb.len())?;
        let mut bytes = std::mem::take(&mut self.rgb);
        bytes.clear();
        // The conversion to an integer clamps, and makes NaN 0.
        bytes.extend(rgb.iter().map(|value| (value * 255.0).round() as u8));
        let result = self.push(&bytes);
        self.rgb = bytes;
        result
    }

    /// Completes the file and gives it its name.
    ///
    /// # Errors
    ///
    /// If no frame was pushed, an earlier call failed, or the file system refuses. No file is left then; an older one
    /// under the name stays as it was.
    pub fn finish(self) -> Result<()> {
        self.check_not_broken()?;
        if self.frames == 0 {
            return Err(Mp4Error::NoFrames { path: self.path });
        }
        self.sink.finish()
    }

    /// Whether a frame with so many values can be added.
    fn check(&self, actual: usize) -> Result<()> {
        self.check_not_broken()?;
        let (frame, expected) = (self.frames, self.spec.frame_len());
        if actual != expected {
            return Err(Mp4Error::FrameLength {
                frame,
                width: self.spec.width,
                height: self.spec.height,
                expected,
                actual,
            });
        }
        if frame == u32::MAX {
            return Err(Mp4Error::TooManyFrames { limit: frame });
        }
        Ok(())
    }

    fn check_not_broken(&self) -> Result<()> {
        if self.broken {
            return Err(Mp4Error::Broken {
                path: self.path.clone(),
            });
        }
        Ok(())
    }
}

/// The sink of a format that makes one file.
fn sink(format: OutputFormat, output: Output, spec: &VideoSpec) -> Result<Box<dyn FrameSink>> {
    Ok(match format {
        OutputFormat::Mp4 => Box::new(Mp4Sink::new(output, spec)?),
        OutputFormat::Gif => Box::new(GifSink::new(output, spec)?),
        OutputFormat::WebP => Box::new(WebpSink::new(output, spec)?),
        OutputFormat::Apng => Box::new(ApngSink::new(output, spec)?),
        OutputFormat::PngSequence => {
            return Err(Mp4Error::NotAFile {
                path: output.path().to_path_buf(),
            });
        }
    })
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer")
            .field("path", &self.path)
            .field("spec", &self.spec)
            .field("frames", &self.frames)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writer_can_move_to_another_thread() {
        fn is_send<T: Send>() {}
        is_send::<Writer>();
    }
}
