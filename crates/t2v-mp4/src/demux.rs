//! Finds the video of an MP4 file that may be anything (ISO/IEC 14496-12 and -15): where its samples are, how they are coded
//! and timed. Nothing is allocated by a count or a size that has not been checked.

mod codings;
mod edits;
mod entry;
mod fields;
mod fragments;
mod presentation;
mod samples;
mod times;

use std::io::{Read, Seek, SeekFrom};

pub(crate) use entry::{ContainerColour, SampleEntry};
pub(crate) use presentation::{MOST_HELD, Sample};

use crate::boxes::{boxes, child, find, read_range};
use crate::fault::{Fault, Remedy};
use crate::limits::ReadLimits;
use crate::orientation::Orientation;
use crate::rate::FrameRate;
use edits::Edits;
use fields::{u32_at, u32s};
use presentation::TimedSample;

/// The largest `moov` box.
const MAX_MOOV: u64 = 16 << 20;
/// As many samples as this for each frame that may be shown: an edit list can hide some.
const HIDDEN: u32 = 16;

/// The video of a file.
#[derive(Debug)]
pub(crate) struct VideoTrack {
    pub(crate) entry: SampleEntry,
    pub(crate) orientation: Orientation,
    /// In the order of decoding: one or more, all within the file.
    pub(crate) samples: Vec<Sample>,
    /// How many of them are shown.
    pub(crate) frames: u32,
    pub(crate) frame_rate: FrameRate,
}

impl VideoTrack {
    /// Reads the `moov` box, and the `moof` boxes of a fragmented file.
    pub(crate) fn read(reader: &mut (impl Read + Seek), limits: &ReadLimits) -> Result<Self, Fault> {
        let length = reader.seek(SeekFrom::End(0))?;
        let Some((start, end)) = find(reader, (0, length), b"moov")? else {
            return Err(Fault::Malformed("it has no `moov` box"));
        };
        if end - start > MAX_MOOV {
            return Err(Fault::Malformed("its `moov` box is larger than 16 MiB"));
        }
        let moov = read_range(reader, (start, end))?;
        let optional = |payload, kind| child(payload, kind).map_err(Fault::Malformed);
        if optional(&moov, b"cmov")?.is_some() {
            return Err(Fault::unsupported("its index is compressed (`cmov`)"));
        }
        let trak = video_track(&moov)?;
        let (mvhd, tkhd, mdia) = (need(&moov, b"mvhd")?, need(trak, b"tkhd")?, need(trak, b"mdia")?);
        let (mdhd, stbl) = (need(mdia, b"mdhd")?, need(need(mdia, b"minf")?, b"stbl")?);
        let entry = SampleEntry::parse(need(stbl, b"stsd")?)?;
        let mut table = Table::new(length, limits.frames);
        let mut clock = Clock::default();
        table.add(stbl, &mut clock)?;
        if let Some(mvex) = optional(&moov, b"mvex")? {
            fragments::add(reader, mvex, track_id(tkhd)?, &mut clock, &mut table)?;
        }
        let timescale = times::timescale(mdhd, "its `mdhd` box is too short")?;
        let movie = times::timescale(mvhd, "its `mvhd` box is too short")?;
        let elst = optional(trak, b"edts")?.map(|edts| optional(edts, b"elst"));
        let edits = Edits::parse(elst.transpose()?.flatten(), movie, timescale)?;
        let (samples, frames, frame_rate) = presentation::arrange(&table.finish()?, &edits, timescale)?;
        if frames > limits.frames {
            return Err(too_many(frames.into(), limits.frames));
        }
        Ok(Self {
            entry,
            orientation: orientation(mvhd, tkhd)?,
            samples,
            frames,
            frame_rate,
        })
    }
}

/// The time of decoding, in units of the track's timescale.
#[derive(Debug, Default)]
struct Clock(i64);

impl Clock {
    fn set(&mut self, time: u64) {
        self.0 = i64::try_from(time).unwrap_or(i64::MAX);
    }

    /// When a sample is shown. Offsets are signed, whatever the box's version says, as writers and readers take them.
    fn shown(&self, offset: u32) -> i64 {
        self.0.saturating_add(offset.cast_signed().into())
    }

    fn advance(&mut self, duration: u32) {
        self.0 = self.0.saturating_add(duration.into());
    }
}

/// The samples, of which no more are kept than allowed.
#[derive(Debug)]
struct Table {
    file_length: u64,
    limit: u32,
    /// How many there are, kept or not.
    count: u64,
    samples: Vec<TimedSample>,
}

impl Table {
    /// Of a file of this length, for at most so many frames to be shown.
    fn new(file_length: u64, limit: u32) -> Self {
        Self {
            file_length,
            limit,
            count: 0,
            samples: Vec::new(),
        }
    }

    /// Counts more samples, and returns how many of them there is room for.
    fn count(&mut self, more: u32) -> u32 {
        let most = u64::from(self.limit) * u64::from(HIDDEN);
        let room = most.saturating_sub(self.count).min(more.into());
        self.count += u64::from(more);
        room as u32
    }

    /// Adds the samples of a `stbl` box.
    fn add(&mut self, stbl: &[u8], clock: &mut Clock) -> Result<(), Fault> {
        let places = samples::locate(stbl, self)?;
        let times = times::times(stbl, need(stbl, b"stts")?, places.len(), clock)?;
        let timed = places.into_iter().zip(times);
        self.samples
            .extend(timed.map(|(place, (time, duration))| TimedSample { place, time, duration }));
        Ok(())
    }

    /// All samples: at least one.
    fn finish(self) -> Result<Vec<TimedSample>, Fault> {
        match self.count {
            0 => Err(Fault::Malformed("its video has no samples")),
            count if count > self.samples.len() as u64 => Err(too_many(count, self.limit)),
            _ => Ok(self.samples),
        }
    }
}

fn too_many(actual: u64, limit: u32) -> Fault {
    Fault::Limit {
        what: "frames",
        actual,
        limit: limit.into(),
    }
}

/// The payload of the first track that is a video, of those that are switched on if there are any.
fn video_track(moov: &[u8]) -> Result<&[u8], Fault> {
    let mut off = None;
    for found in boxes(moov) {
        let (kind, trak) = found.map_err(Fault::Malformed)?;
        if kind == *b"trak" {
            let handler = need(need(trak, b"mdia")?, b"hdlr")?;
            if handler.get(8..12) == Some(b"vide") {
                match need(trak, b"tkhd")?.get(3) {
                    Some(flags) if flags & 1 == 1 => return Ok(trak),
                    _ => off = off.or(Some(trak)),
                }
            }
        }
    }
    off.ok_or_else(|| Fault::Unsupported("it has no video track".to_owned(), Remedy::None))
}

/// The payload of a box that must be there.
fn need<'a>(payload: &'a [u8], kind: &[u8; 4]) -> Result<&'a [u8], Fault> {
    let missing = match kind {
        b"mvhd" => "its `moov` box has no `mvhd` box",
        b"tfhd" => "a `traf` box has no `tfhd` box",
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

/// Number of a track.
fn track_id(tkhd: &[u8]) -> Result<u32, Fault> {
    let at = if tkhd.first() == Some(&1) { 20 } else { 12 };
    u32_at(tkhd, at).ok_or(Fault::Malformed("its `tkhd` box is too short"))
}

/// How the track is turned, and then the movie.
fn orientation(mvhd: &[u8], tkhd: &[u8]) -> Result<Orientation, Fault> {
    let read = |header: &[u8], at: usize, too_short| {
        let at = if header.first() == Some(&1) { at + 12 } else { at };
        let numbers = header.get(at..at + 20).map(|bytes| <[u32; 5]>::try_from(u32s(bytes)));
        match numbers {
            Some(Ok(numbers)) => Orientation::of_matrix(numbers),
            _ => Err(Fault::Malformed(too_short)),
        }
    };
    let track = read(tkhd, 40, "its `tkhd` box is too short")?;
    Ok(track.then(read(mvhd, 36, "its `mvhd` box is too short")?))
}

/// Entries of so many bytes each after version, flags and their number.
fn entries<'a>(payload: &'a [u8], size: usize, too_short: &'static str) -> Result<&'a [u8], Fault> {
    let fault = || Fault::Malformed(too_short);
    let count = u32_at(payload, 4).ok_or_else(fault)? as usize;
    let length = count.checked_mul(size).ok_or_else(fault)?;
    payload[8..].get(..length).ok_or_else(fault)
}
