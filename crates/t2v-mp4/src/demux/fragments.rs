//! The samples of fragments: `moof`, `traf`, `trun` (ISO/IEC 14496-12 8.8).

#[cfg(test)]
mod tests;

use std::io::{Read, Seek};

use super::fields::{u32_at, u64_at};
use super::presentation::TimedSample;
use super::samples::Place;
use super::{Clock, Table, need};
use crate::boxes::{Walk, boxes, child, read_range};
use crate::fault::Fault;

/// The most bytes of all `moof` boxes together.
const MAX_MOOFS: u64 = 16 << 20;

/// `tf_flags` and `tr_flags`: what is there.
const BASE_DATA_OFFSET: u32 = 0x1;
const SAMPLE_DESCRIPTION: u32 = 0x2;
const DEFAULT_DURATION: u32 = 0x8;
const DEFAULT_SIZE: u32 = 0x10;
const BASE_IS_MOOF: u32 = 0x2_0000;
const DATA_OFFSET: u32 = 0x1;
const FIRST_FLAGS: u32 = 0x4;
const DURATION: u32 = 0x100;
const SIZE: u32 = 0x200;
const FLAGS: u32 = 0x400;
const OFFSET: u32 = 0x800;

/// What holds for samples that say nothing else.
#[derive(Debug, Clone, Copy, Default)]
struct Defaults {
    duration: u32,
    size: u32,
}

/// Adds the samples of a track that are in fragments. `mvex` is the box in `moov` that announces them.
pub(super) fn add(
    reader: &mut (impl Read + Seek),
    mvex: &[u8],
    track: u32,
    clock: &mut Clock,
    table: &mut Table,
) -> Result<(), Fault> {
    let mut walk = Walk::new(table.file_length);
    let mut read = 0;
    while let Some(found) = walk.find(reader, b"moof")? {
        read += found.payload.1 - found.payload.0;
        if read > MAX_MOOFS {
            return Err(Fault::Malformed("its `moof` boxes are larger than 16 MiB"));
        }
        let moof = read_range(reader, found.payload)?;
        let mut fragment = Fragment {
            mvex,
            track,
            start: found.start,
            end: found.start,
        };
        for child in boxes(&moof) {
            match child.map_err(Fault::Malformed)? {
                (kind, traf) if kind == *b"traf" => fragment.add(traf, clock, table)?,
                _ => {}
            }
        }
    }
    Ok(())
}

/// A `moof` box.
struct Fragment<'a> {
    mvex: &'a [u8],
    /// Which one is read.
    track: u32,
    start: u64,
    /// Of the data of the last track in it: where that of the next one starts, unless it says something else.
    end: u64,
}

impl Fragment<'_> {
    fn add(&mut self, traf: &[u8], clock: &mut Clock, table: &mut Table) -> Result<(), Fault> {
        let short = || Fault::Malformed("a `tfhd` box is too short");
        let tfhd = need(traf, b"tfhd")?;
        let (flags, track) = u32_at(tfhd, 0).zip(u32_at(tfhd, 4)).ok_or_else(short)?;
        let mut fields = Fields {
            bytes: &tfhd[8..],
            short: "a `tfhd` box is too short",
        };
        let base = match flags & BASE_DATA_OFFSET {
            0 if flags & BASE_IS_MOOF != 0 => self.start,
            0 => self.end,
            _ => fields.long()?,
        };
        if fields
            .optional(flags, SAMPLE_DESCRIPTION)?
            .is_some_and(|entry| entry != 1)
        {
            return Err(Fault::unsupported("its video changes its coding on the way (`tfhd`)"));
        }
        let mut defaults = self.defaults(track)?;
        defaults.duration = fields.optional(flags, DEFAULT_DURATION)?.unwrap_or(defaults.duration);
        defaults.size = fields.optional(flags, DEFAULT_SIZE)?.unwrap_or(defaults.size);
        let wanted = track == self.track;
        if wanted && let Some(tfdt) = child(traf, b"tfdt").map_err(Fault::Malformed)? {
            clock.set(decode_time(tfdt)?);
        }
        self.end = base;
        for child in boxes(traf) {
            let (kind, trun) = child.map_err(Fault::Malformed)?;
            if kind == *b"trun" {
                let mut run = Run::parse(trun, base, self.end, defaults)?;
                match wanted {
                    true => run.add(clock, table)?,
                    false => run.pass()?,
                }
                self.end = run.position;
            }
        }
        Ok(())
    }

    /// Those of a track's `trex` box.
    fn defaults(&self, track: u32) -> Result<Defaults, Fault> {
        for child in boxes(self.mvex) {
            let (kind, trex) = child.map_err(Fault::Malformed)?;
            if kind == *b"trex" && u32_at(trex, 4) == Some(track) {
                let short = Fault::Malformed("a `trex` box is too short");
                let (duration, size) = u32_at(trex, 12).zip(u32_at(trex, 16)).ok_or(short)?;
                return Ok(Defaults { duration, size });
            }
        }
        Ok(Defaults::default())
    }
}

fn decode_time(tfdt: &[u8]) -> Result<u64, Fault> {
    let time = match tfdt.first() {
        Some(1) => u64_at(tfdt, 4),
        _ => u32_at(tfdt, 4).map(u64::from),
    };
    time.ok_or(Fault::Malformed("a `tfdt` box is too short"))
}

/// A `trun` box: samples that follow one another.
struct Run<'a> {
    flags: u32,
    count: u32,
    fields: Fields<'a>,
    defaults: Defaults,
    /// In the file, of the next sample.
    position: u64,
}

impl<'a> Run<'a> {
    /// `base` is what offsets count from, `follows` the end of what is in front.
    fn parse(trun: &'a [u8], base: u64, follows: u64, defaults: Defaults) -> Result<Self, Fault> {
        let short = "a `trun` box is too short";
        let (flags, count) = u32_at(trun, 0).zip(u32_at(trun, 4)).ok_or(Fault::Malformed(short))?;
        let mut fields = Fields {
            bytes: &trun[8..],
            short,
        };
        let position = match fields.optional(flags, DATA_OFFSET)? {
            Some(offset) => base.checked_add_signed(offset.cast_signed().into()),
            None => Some(follows),
        };
        fields.optional(flags, FIRST_FLAGS)?;
        // Each sample has so many fields of four bytes.
        let each = u64::from((flags & (DURATION | SIZE | FLAGS | OFFSET)).count_ones());
        if (fields.bytes.len() as u64) / 4 < each * u64::from(count) {
            return Err(Fault::Malformed(short));
        }
        Ok(Self {
            flags,
            count,
            fields,
            defaults,
            position: position.ok_or(Fault::Malformed("a `trun` box points before the start of the file"))?,
        })
    }

    /// Adds the samples to those of the track.
    fn add(&mut self, clock: &mut Clock, table: &mut Table) -> Result<(), Fault> {
        for _ in 0..table.count(self.count) {
            let (duration, size, offset) = self.next()?;
            let place = Place {
                offset: self.position,
                size,
            };
            self.position = self.position.saturating_add(size.into());
            if self.position > table.file_length {
                return Err(Fault::Malformed("a sample reaches over the end of the file"));
            }
            let time = clock.shown(offset);
            table.samples.push(TimedSample { place, time, duration });
            clock.advance(duration);
        }
        Ok(())
    }

    /// Goes over the samples of another track.
    fn pass(&mut self) -> Result<(), Fault> {
        if self.flags & SIZE == 0 {
            let length = u64::from(self.defaults.size) * u64::from(self.count);
            self.position = self.position.saturating_add(length);
            return Ok(());
        }
        for _ in 0..self.count {
            let (_, size, _) = self.next()?;
            self.position = self.position.saturating_add(size.into());
        }
        Ok(())
    }

    /// Duration, size and offset in time of the next sample.
    fn next(&mut self) -> Result<(u32, u32, u32), Fault> {
        let duration = self
            .fields
            .optional(self.flags, DURATION)?
            .unwrap_or(self.defaults.duration);
        let size = self.fields.optional(self.flags, SIZE)?.unwrap_or(self.defaults.size);
        self.fields.optional(self.flags, FLAGS)?;
        let offset = self.fields.optional(self.flags, OFFSET)?.unwrap_or(0);
        Ok((duration, size, offset))
    }
}

/// Fields one after the other.
struct Fields<'a> {
    bytes: &'a [u8],
    short: &'static str,
}

impl Fields<'_> {
    fn take(&mut self, length: usize) -> Result<&[u8], Fault> {
        let (field, rest) = self
            .bytes
            .split_at_checked(length)
            .ok_or(Fault::Malformed(self.short))?;
        self.bytes = rest;
        Ok(field)
    }

    fn long(&mut self) -> Result<u64, Fault> {
        let short = Fault::Malformed(self.short);
        u64_at(self.take(8)?, 0).ok_or(short)
    }

    /// A field of four bytes that is there if the flag is set.
    fn optional(&mut self, flags: u32, flag: u32) -> Result<Option<u32>, Fault> {
        match flags & flag {
            0 => Ok(None),
            _ => Ok(u32_at(self.take(4)?, 0)),
        }
    }
}
