//! The [`Writer`]: takes frames, leaves a file.

use std::fmt;
use std::path::Path;

use mp4::{FourCC, FtypBox, WriteBox};

use crate::encoder::FrameEncoder;
use crate::error::{Mp4Error, Result};
use crate::moov::SampleTable;
use crate::output::Output;
use crate::spec::VideoSpec;

/// A `free` box without content, then the header of `mdat`: together the room for the longer
/// header of an `mdat` above 4 GiB.
const MDAT_START: [u8; 16] = *b"\0\0\0\x08free\0\0\0\x08mdat";

/// Writes a video, a frame at a time.
///
/// The file appears under its name in [`finish`](Self::finish), in the place of any older one.
/// Until then it is a hidden temporary file in the same folder, which goes when the writer is
/// dropped.
pub struct Writer {
    spec: VideoSpec,
    output: Output,
    encoder: FrameEncoder,
    table: SampleTable,
    /// The position of [`MDAT_START`] in the file.
    mdat: u64,
    /// A frame was half written, or lost.
    broken: bool,
}

impl Writer {
    /// Starts a video that will be at `path`.
    ///
    /// # Errors
    ///
    /// If `spec` is not [valid](VideoSpec::validate), or `path` cannot be written to: it is
    /// empty, its folder is missing, it names a folder, a device or a write-protected file, or
    /// no file can be made in its folder.
    pub fn create(path: impl AsRef<Path>, spec: VideoSpec) -> Result<Self> {
        spec.validate()?;
        let mut output = Output::create(path.as_ref())?;
        output.write(&file_type()?)?;
        let mdat = output.position();
        output.write(&MDAT_START)?;
        Ok(Self {
            spec,
            encoder: FrameEncoder::new(&spec)?,
            output,
            table: SampleTable::default(),
            mdat,
            broken: false,
        })
    }

    /// What the video is like.
    #[must_use]
    pub fn spec(&self) -> &VideoSpec {
        &self.spec
    }

    /// The number of frames so far.
    #[must_use]
    pub fn frames(&self) -> u32 {
        self.table.len()
    }

    /// Adds a frame: RGB8, row by row from the top, `width * height * 3` bytes.
    ///
    /// # Errors
    ///
    /// [`Mp4Error::FrameLength`] for another number of bytes, which changes nothing. Any other
    /// error (of the encoder, of the file system) ends the video: all later calls fail, too.
    pub fn push(&mut self, rgb: &[u8]) -> Result<()> {
        self.check_not_broken()?;
        let frame = self.frames();
        if rgb.len() != self.spec.frame_len() {
            return Err(Mp4Error::FrameLength {
                frame,
                width: self.spec.width,
                height: self.spec.height,
                expected: self.spec.frame_len(),
                actual: rgb.len(),
            });
        }
        if frame == u32::MAX {
            return Err(Mp4Error::TooManyFrames { limit: frame });
        }
        self.broken = true;
        let unit = self.encoder.encode(rgb)?;
        let size = u32::try_from(unit.sample.len()).map_err(|_| Mp4Error::Bitstream {
            frame,
            reason: "a picture above 4 GiB",
        })?;
        let position = self.output.position();
        self.output.write(&unit.sample)?;
        self.table.push(position, size, unit.is_sync);
        self.broken = false;
        Ok(())
    }

    /// Completes the file and gives it its name.
    ///
    /// # Errors
    ///
    /// If no frame was pushed, an earlier call failed, or the file system refuses. No file is
    /// left then; an older one under the name stays as it was.
    pub fn finish(mut self) -> Result<()> {
        self.check_not_broken()?;
        let Some(sets) = self.encoder.parameter_sets() else {
            return Err(Mp4Error::NoFrames {
                path: self.output.path().to_path_buf(),
            });
        };
        let moov = self.table.moov(&self.spec, sets)?;
        let end = self.output.position();
        let header = mdat_header(end - self.mdat);
        self.output.patch(self.mdat, &header)?;
        self.output.write(&moov)?;
        self.output.persist()
    }

    fn check_not_broken(&self) -> Result<()> {
        if self.broken {
            return Err(Mp4Error::Broken {
                path: self.output.path().to_path_buf(),
            });
        }
        Ok(())
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer")
            .field("path", &self.output.path())
            .field("spec", &self.spec)
            .field("frames", &self.frames())
            .finish_non_exhaustive()
    }
}

/// The `ftyp` box.
fn file_type() -> Result<Vec<u8>> {
    let brand = |value: &[u8; 4]| FourCC { value: *value };
    let ftyp = FtypBox {
        major_brand: brand(b"isom"),
        minor_version: 512,
        compatible_brands: [b"isom", b"iso2", b"avc1", b"mp41"].map(brand).to_vec(),
    };
    let mut bytes = Vec::new();
    match ftyp.write_box(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(error) => Err(Mp4Error::Boxes {
            box_type: "ftyp",
            reason: error.to_string(),
        }),
    }
}

/// The final form of [`MDAT_START`], which together with the samples takes `length` bytes.
fn mdat_header(length: u64) -> [u8; 16] {
    let mut header = MDAT_START;
    match u32::try_from(length - 8) {
        Ok(size) => header[8..12].copy_from_slice(&size.to_be_bytes()),
        Err(_) => {
            header[..8].copy_from_slice(b"\0\0\0\x01mdat");
            header[8..].copy_from_slice(&length.to_be_bytes());
        }
    }
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_mdat_takes_the_room_of_free() {
        let small = mdat_header(8 + u64::from(u32::MAX));
        assert_eq!(&small, b"\0\0\0\x08free\xff\xff\xff\xffmdat");
        let large = mdat_header(9 + u64::from(u32::MAX));
        assert_eq!(&large, b"\0\0\0\x01mdat\0\0\0\x01\0\0\0\x08");
    }

    #[test]
    fn a_writer_can_move_to_another_thread() {
        fn is_send<T: Send>() {}
        is_send::<Writer>();
    }
}
