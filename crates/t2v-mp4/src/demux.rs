//! Finds the video of an MP4 file that may be anything (ISO/IEC 14496-12 and -15): where its samples are, how they are coded
//! and timed. Nothing is allocated by a count or a size that has not been checked.

mod entry;
mod fields;
mod samples;
mod times;

use std::io::{Read, Seek, SeekFrom};

pub(crate) use entry::{ContainerColour, SampleEntry};
pub(crate) use samples::Sample;

use crate::boxes::{boxes, child, find, read_range};
use crate::fault::Fault;
use crate::limits::ReadLimits;
use crate::rate::FrameRate;
use fields::{u32_at, u32s};

/// The largest `moov` box.
const MAX_MOOV: u64 = 16 << 20;

/// The video of a file.
#[derive(Debug)]
pub(crate) struct VideoTrack {
    pub(crate) entry: SampleEntry,
    /// In the order of decoding, which is that of showing: one or more, all within the file.
    pub(crate) samples: Vec<Sample>,
    pub(crate) frame_rate: FrameRate,
}

impl VideoTrack {
    /// Reads the `moov` box.
    pub(crate) fn read(reader: &mut (impl Read + Seek), limits: &ReadLimits) -> Result<Self, Fault> {
        let length = reader.seek(SeekFrom::End(0))?;
        let Some((start, end)) = find(reader, (0, length), b"moov")? else {
            return Err(Fault::Malformed("it has no `moov` box"));
        };
        if end - start > MAX_MOOV {
            return Err(Fault::Malformed("its `moov` box is larger than 16 MiB"));
        }
        let moov = read_range(reader, (start, end))?;
        if child(&moov, b"mvex").map_err(Fault::Malformed)?.is_some() {
            return Err(Fault::Unsupported("it is fragmented (`mvex`)".to_owned()));
        }
        Self::parse(video_track(&moov)?, length, limits)
    }

    fn parse(trak: &[u8], file_length: u64, limits: &ReadLimits) -> Result<Self, Fault> {
        refuse_rotation(need(trak, b"tkhd")?)?;
        let mdia = need(trak, b"mdia")?;
        let stbl = need(need(mdia, b"minf")?, b"stbl")?;
        let entry = SampleEntry::parse(need(stbl, b"stsd")?)?;
        let samples = samples::locate(stbl, file_length, limits)?;
        times::refuse_reordering(stbl, samples.len())?;
        let frame_rate = times::frame_rate(need(mdia, b"mdhd")?, need(stbl, b"stts")?, samples.len())?;
        Ok(Self {
            entry,
            samples,
            frame_rate,
        })
    }
}

/// The payload of the first track that is a video.
fn video_track(moov: &[u8]) -> Result<&[u8], Fault> {
    for found in boxes(moov) {
        let (kind, trak) = found.map_err(Fault::Malformed)?;
        if kind == *b"trak" {
            let handler = need(need(trak, b"mdia")?, b"hdlr")?;
            if handler.get(8..12) == Some(b"vide") {
                return Ok(trak);
            }
        }
    }
    Err(Fault::Unsupported("it has no video track".to_owned()))
}

/// The payload of a box that must be there.
fn need<'a>(payload: &'a [u8], kind: &[u8; 4]) -> Result<&'a [u8], Fault> {
    let missing = match kind {
        b"tkhd" => "its video track has no `tkhd` box",
        b"mdia" => "a track has no `mdia` box",
        b"mdhd" => "its video track has no `mdhd` box",
        b"hdlr" => "a track has no `hdlr` box",
        b"minf" => "its video track has no `minf` box",
        b"stbl" => "its video track has no `stbl` box",
        b"stsd" => "its video track has no `stsd` box",
        b"stsz" => "its video track has no `stsz` box",
        b"stsc" => "its video track has no `stsc` box",
        b"stts" => "its video track has no `stts` box",
        b"avcC" => "its `avc1` sample entry has no `avcC` box",
        _ => "a box is missing",
    };
    let found = child(payload, kind).map_err(Fault::Malformed)?;
    found.ok_or(Fault::Malformed(missing))
}

/// A picture that is to be shown rotated or mirrored would come back as it lies in the file.
fn refuse_rotation(tkhd: &[u8]) -> Result<(), Fault> {
    let short = Fault::Malformed("its `tkhd` box is too short");
    let matrix = if tkhd.first() == Some(&1) { 52 } else { 40 };
    let Some(Ok([a, b, _, c, d])) = tkhd
        .get(matrix..matrix + 20)
        .map(|bytes| <[u32; 5]>::try_from(u32s(bytes)))
    else {
        return Err(short);
    };
    match a.cast_signed() > 0 && d.cast_signed() > 0 && b == 0 && c == 0 {
        true => Ok(()),
        false => Err(Fault::Unsupported(
            "its pictures are to be shown rotated or mirrored".to_owned(),
        )),
    }
}

/// Entries of so many bytes each after version, flags and their number.
fn entries<'a>(payload: &'a [u8], size: usize, too_short: &'static str) -> Result<&'a [u8], Fault> {
    let fault = || Fault::Malformed(too_short);
    let count = u32_at(payload, 4).ok_or_else(fault)? as usize;
    let length = count.checked_mul(size).ok_or_else(fault)?;
    payload[8..].get(..length).ok_or_else(fault)
}
