//! H.264 in MP4, with the index in front of the samples.

use std::io::{Seek, Write};

use mp4::{FourCC, FtypBox, WriteBox};
use tempfile::SpooledTempFile;

use crate::encoder::FrameEncoder;
use crate::error::{Mp4Error, Result};
use crate::moov::SampleTable;
use crate::output::Output;
use crate::spec::VideoSpec;
use crate::writer::FrameSink;

/// Keeps the samples in a temporary file until the index is known, which goes in front of them ("fast start"): a player
/// can begin before it has the whole file.
pub(crate) struct Mp4Sink {
    spec: VideoSpec,
    output: Output,
    samples: SpooledTempFile,
    encoder: FrameEncoder,
    table: SampleTable,
}

impl Mp4Sink {
    pub(crate) fn new(output: Output, spec: &VideoSpec) -> Result<Self> {
        Ok(Self {
            spec: spec.clone(),
            samples: output.spool(),
            output,
            encoder: FrameEncoder::new(spec)?,
            table: SampleTable::default(),
        })
    }
}

impl FrameSink for Mp4Sink {
    fn push(&mut self, frame: u32, rgb: &[u8]) -> Result<()> {
        let unit = self.encoder.encode(rgb)?;
        let size = u32::try_from(unit.sample.len()).map_err(|_| Mp4Error::Bitstream {
            frame,
            reason: "a picture above 4 GiB",
        })?;
        let written = self.samples.write_all(&unit.sample);
        written.map_err(Mp4Error::io("write to", self.output.path()))?;
        self.table.push(size, unit.is_sync);
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        let Some(sets) = self.encoder.parameter_sets() else {
            return Err(Mp4Error::NoFrames {
                path: self.output.path().to_path_buf(),
            });
        };
        let ftyp = file_type()?;
        let mdat = mdat_header(self.table.bytes());
        let moov = self.table.moov(&self.spec, sets, (ftyp.len() + mdat.len()) as u64)?;
        for part in [&ftyp, &moov, &mdat] {
            self.output.write(part)?;
        }
        let rewound = self.samples.rewind();
        rewound.map_err(Mp4Error::io("write to", self.output.path()))?;
        self.output.copy_from(&mut self.samples)?;
        self.output.persist()
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

/// The header of an `mdat` box with so many bytes of samples.
fn mdat_header(bytes: u64) -> Vec<u8> {
    match u32::try_from(bytes + 8) {
        Ok(size) => [&size.to_be_bytes()[..], b"mdat"].concat(),
        Err(_) => [&b"\0\0\0\x01mdat"[..], &(bytes + 16).to_be_bytes()].concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_mdat_has_a_long_header() {
        assert_eq!(mdat_header(u64::from(u32::MAX) - 8), b"\xff\xff\xff\xffmdat");
        let large = mdat_header(u64::from(u32::MAX) - 7);
        assert_eq!(large, b"\0\0\0\x01mdat\0\0\0\x01\0\0\0\x08");
    }
}
