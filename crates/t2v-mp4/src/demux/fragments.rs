//! The samples of fragments: `moof`, `traf`, `trun` (ISO/IEC 14496-12 8.8).

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

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn boxed(kind: &[u8; 4], payload: &[u8]) -> Vec<u8> {
        [&(payload.len() as u32 + 8).to_be_bytes()[..], kind, payload].concat()
    }

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    /// A `trex` box of track 1 with duration 10 and size 5.
    fn trex() -> Vec<u8> {
        boxed(b"trex", &words(&[0, 1, 1, 10, 5, 0]))
    }

    /// Position, size, time and duration of the samples of a file of these `traf` boxes in a `moof` box each.
    fn samples(fragments: &[Vec<u8>], most: u32) -> Result<Vec<[u64; 4]>, Fault> {
        let file: Vec<u8> = fragments.iter().flat_map(|traf| boxed(b"moof", traf)).collect();
        let mut table = Table::new(1000, most);
        let mut padded = file.clone();
        padded.resize(1000, 0);
        let end = boxed(b"free", &vec![0; 1000 - file.len() - 8]);
        padded[file.len()..].copy_from_slice(&end);
        add(&mut Cursor::new(padded), &trex(), 1, &mut Clock::default(), &mut table)?;
        let samples = table.finish()?.into_iter().map(|sample| {
            let place = sample.place;
            [
                place.offset,
                place.size.into(),
                sample.time as u64,
                sample.duration.into(),
            ]
        });
        Ok(samples.collect())
    }

    fn traf(tfhd: &[u32], boxes: &[(&[u8; 4], &[u32])]) -> Vec<u8> {
        let inside = boxes.iter().flat_map(|(kind, fields)| boxed(kind, &words(fields)));
        let tfhd = boxed(b"tfhd", &words(tfhd));
        boxed(b"traf", &[tfhd, inside.collect()].concat())
    }

    #[test]
    fn runs_have_their_own_fields_or_the_defaults() {
        let first = traf(&[BASE_IS_MOOF, 1], &[(b"trun", &[DATA_OFFSET, 2, 100])]);
        let length = first.len() as u64 + 8;
        let flags = DURATION | SIZE | FLAGS | OFFSET | FIRST_FLAGS;
        let second = traf(
            &[
                DEFAULT_DURATION | DEFAULT_SIZE | BASE_IS_MOOF | SAMPLE_DESCRIPTION,
                1,
                1,
                20,
                6,
            ],
            &[
                (b"tfdt", &[0, 50]),
                (b"trun", &[DATA_OFFSET, 1, 100]),
                (b"trun", &[flags, 2, 0, 7, 8, 0, 3, 9, 10, 0, (-4i32).cast_unsigned()]),
            ],
        );
        let expected = [
            [100, 5, 0, 10],
            [105, 5, 10, 10],
            [length + 100, 6, 50, 20],
            [length + 106, 8, 73, 7],
            [length + 114, 10, 73, 9],
        ];
        assert_eq!(samples(&[first, second], 9).unwrap(), expected);
    }

    #[test]
    fn tracks_follow_one_another_where_they_have_no_base() {
        let others = traf(&[0, 2], &[(b"trun", &[DATA_OFFSET | SIZE, 2, 300, 30, 12])]);
        let ours = traf(&[0, 1], &[(b"trun", &[0, 1])]);
        let absolute = traf(&[BASE_DATA_OFFSET, 1, 0, 500], &[(b"trun", &[0, 1])]);
        let both = [others, ours].concat();
        assert_eq!(
            samples(&[both, absolute], 9).unwrap(),
            [[342, 5, 0, 10], [500, 5, 10, 10]]
        );
    }

    #[test]
    fn lying_runs_are_found() {
        let fault = |tfhd: &[u32], trun: &[u32]| samples(&[traf(tfhd, &[(b"trun", trun)])], 9).unwrap_err();
        let lies = [
            (&[0, 1][..], &[SIZE, u32::MAX, 1][..], "too short"),
            (&[0, 1], &[DATA_OFFSET, 1], "too short"),
            (&[0, 1], &[0], "too short"),
            (&[0], &[0, 1], "too short"),
            (&[BASE_DATA_OFFSET, 1, 9], &[0, 1], "too short"),
            (&[0, 1], &[DATA_OFFSET, 1, 1 << 31], "before the start"),
            (&[BASE_DATA_OFFSET, 1, u32::MAX, u32::MAX], &[0, 1], "over the end"),
            (&[0, 1], &[DATA_OFFSET | SIZE, 1, 996, 5], "over the end"),
        ];
        for (tfhd, trun, expected) in lies {
            let fault = fault(tfhd, trun);
            assert!(
                matches!(fault, Fault::Malformed(reason) if reason.contains(expected)),
                "{fault:?}"
            );
        }
        let other = fault(&[SAMPLE_DESCRIPTION, 1, 2], &[0, 1]);
        assert!(
            matches!(&other, Fault::Unsupported(what, _) if what.contains("coding")),
            "{other:?}"
        );
        // No bytes for any of them, of no size.
        let many = fault(&[DEFAULT_SIZE, 1, 0], &[0, u32::MAX]);
        assert!(
            matches!(
                many,
                Fault::Limit {
                    what: "frames",
                    actual: 0xffff_ffff,
                    ..
                }
            ),
            "{many:?}"
        );
    }
}
