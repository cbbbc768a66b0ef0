//! Where the samples are: `stsz`, `stsc`, and `stco` or `co64`.

use super::fields::{u32_at, u64_at};
use super::{Table, entries, need};
use crate::boxes::child;
use crate::fault::Fault;

/// Where a sample is in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) offset: u64,
    pub(crate) size: u32,
}

/// Finds all samples, all within the file; or as many as the table takes, if there are more.
pub(super) fn locate(stbl: &[u8], table: &mut Table) -> Result<Vec<Place>, Fault> {
    let sizes = Sizes::parse(need(stbl, b"stsz")?)?;
    let count = table.count(sizes.count);
    let mut runs = Runs::parse(need(stbl, b"stsc")?)?;
    let offsets = ChunkOffsets::parse(stbl)?;
    let mut samples = Vec::with_capacity(count as usize);
    for chunk in 0.. {
        if samples.len() == count as usize {
            break;
        }
        let mut offset = offsets
            .get(chunk)
            .ok_or(Fault::Malformed("it has fewer chunks than its samples take"))?;
        let left = count - samples.len() as u32;
        for _ in 0..runs.samples_in(chunk)?.min(left) {
            let size = sizes.get(samples.len());
            let end = size.and_then(|size| offset.checked_add(u64::from(size)));
            let (Some(size), Some(end)) = (size, end.filter(|&end| end <= table.file_length)) else {
                return Err(Fault::Malformed("a sample reaches over the end of the file"));
            };
            samples.push(Place { offset, size });
            offset = end;
        }
    }
    Ok(samples)
}

/// `stsz`: one size for all, or a table.
struct Sizes<'a> {
    count: u32,
    uniform: u32,
    table: &'a [u8],
}

impl<'a> Sizes<'a> {
    fn parse(stsz: &'a [u8]) -> Result<Self, Fault> {
        let short = || Fault::Malformed("its `stsz` box is too short");
        let uniform = u32_at(stsz, 4).ok_or_else(short)?;
        let count = u32_at(stsz, 8).ok_or_else(short)?;
        let table = &stsz[12..];
        if uniform == 0 && table.len() / 4 < count as usize {
            return Err(short());
        }
        Ok(Self { count, uniform, table })
    }

    fn get(&self, sample: usize) -> Option<u32> {
        match self.uniform {
            0 => u32_at(self.table, 4 * sample),
            size => Some(size),
        }
    }
}

/// `stsc`: from which chunk on there are how many samples in each.
struct Runs<'a> {
    rest: &'a [[u8; 12]],
    samples: u32,
}

impl<'a> Runs<'a> {
    fn parse(stsc: &'a [u8]) -> Result<Self, Fault> {
        let (rest, _) = entries(stsc, 12, "its `stsc` box is too short")?.as_chunks();
        Ok(Self { rest, samples: 0 })
    }

    /// The number of samples in a chunk, counted from 0: never none. Chunks must be asked for in order.
    fn samples_in(&mut self, chunk: u32) -> Result<u32, Fault> {
        while let Some((run, rest)) = self.rest.split_first()
            && u32_at(run, 0).is_some_and(|first| first <= chunk.saturating_add(1))
        {
            if u32_at(run, 8) != Some(1) {
                return Err(Fault::unsupported("its video changes its coding on the way (`stsc`)"));
            }
            self.samples = u32_at(run, 4).unwrap_or(0);
            self.rest = rest;
        }
        match self.samples {
            0 => Err(Fault::Malformed("a chunk has no samples (`stsc`)")),
            samples => Ok(samples),
        }
    }
}

/// `stco` or `co64`.
enum ChunkOffsets<'a> {
    Short(&'a [u8]),
    Long(&'a [u8]),
}

impl<'a> ChunkOffsets<'a> {
    fn parse(stbl: &'a [u8]) -> Result<Self, Fault> {
        if let Some(stco) = child(stbl, b"stco").map_err(Fault::Malformed)? {
            return Ok(Self::Short(entries(stco, 4, "its `stco` box is too short")?));
        }
        match child(stbl, b"co64").map_err(Fault::Malformed)? {
            Some(co64) => Ok(Self::Long(entries(co64, 8, "its `co64` box is too short")?)),
            None => Err(Fault::Malformed(
                "its video track has neither a `stco` nor a `co64` box",
            )),
        }
    }

    fn get(&self, chunk: u32) -> Option<u64> {
        let chunk = chunk as usize;
        match self {
            Self::Short(offsets) => u32_at(offsets, chunk.checked_mul(4)?).map(u64::from),
            Self::Long(offsets) => u64_at(offsets, chunk.checked_mul(8)?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full_box(kind: &[u8; 4], words: &[u32]) -> Vec<u8> {
        let payload: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        [&(payload.len() as u32 + 8).to_be_bytes()[..], kind, &payload].concat()
    }

    fn locate_in(boxes: &[Vec<u8>], length: u64) -> Result<Vec<(u64, u32)>, Fault> {
        let samples = locate(&boxes.concat(), &mut Table::new(length, 1024))?;
        Ok(samples.iter().map(|sample| (sample.offset, sample.size)).collect())
    }

    #[test]
    fn samples_follow_one_another_in_their_chunks() {
        let stsz = full_box(b"stsz", &[0, 0, 5, 10, 20, 30, 40, 50]);
        let stsc = full_box(b"stsc", &[0, 2, 1, 2, 1, 3, 1, 1]);
        let stco = full_box(b"stco", &[0, 3, 100, 200, 300]);
        let expected = [(100, 10), (110, 20), (200, 30), (230, 40), (300, 50)];
        assert_eq!(
            locate_in(&[stsz.clone(), stsc.clone(), stco.clone()], 350).unwrap(),
            expected
        );
        let co64 = full_box(b"co64", &[0, 3, 0, 100, 0, 200, 0, 300]);
        assert_eq!(locate_in(&[stsz.clone(), stsc.clone(), co64], 350).unwrap(), expected);
        let uniform = full_box(b"stsz", &[0, 7, 3]);
        assert_eq!(
            locate_in(&[uniform, stsc.clone(), stco.clone()], 350).unwrap(),
            [(100, 7), (107, 7), (200, 7)]
        );
        let over = locate_in(&[stsz, stsc, stco], 349).unwrap_err();
        assert!(
            matches!(over, Fault::Malformed(reason) if reason.contains("over the end")),
            "{over:?}"
        );
    }

    #[test]
    fn lying_tables_are_found() {
        let good = [
            full_box(b"stsz", &[0, 7, 2]),
            full_box(b"stsc", &[0, 1, 1, 2, 1]),
            full_box(b"stco", &[0, 1, 0]),
        ];
        assert!(locate_in(&good, 14).is_ok());
        let lies = [
            (0, full_box(b"stsz", &[0, 0, u32::MAX]), "too short"),
            (0, full_box(b"stsz", &[0, 7]), "too short"),
            (1, full_box(b"stsc", &[0, u32::MAX, 1, 2, 1]), "too short"),
            (1, full_box(b"stsc", &[0, 1, 1, 0, 1]), "no samples"),
            (1, full_box(b"stsc", &[0, 1, 2, 1, 1]), "no samples"),
            (2, full_box(b"stco", &[0, 0]), "fewer chunks"),
            (2, full_box(b"stco", &[0, 9, 0]), "too short"),
            (2, full_box(b"co64", &[0, 1, u32::MAX, u32::MAX]), "over the end"),
        ];
        for (which, lie, expected) in lies {
            let mut boxes = good.clone();
            boxes[which] = lie;
            let fault = locate_in(&boxes, 14).unwrap_err();
            assert!(
                matches!(fault, Fault::Malformed(reason) if reason.contains(expected)),
                "{fault:?}"
            );
        }
        let mut table = Table::new(1000, 2);
        let boxes = [
            full_box(b"stsz", &[0, 7, u32::MAX]),
            full_box(b"stsc", &[0, 1, 1, 1 << 20, 1]),
            full_box(b"stco", &[0, 1, 0]),
        ];
        assert_eq!(locate(&boxes.concat(), &mut table).unwrap().len(), 32);
        let many = table.finish().unwrap_err();
        assert!(
            matches!(
                many,
                Fault::Limit {
                    what: "frames",
                    actual: 0xffff_ffff,
                    limit: 2
                }
            ),
            "{many:?}"
        );
        assert!(matches!(Table::new(14, 2).finish(), Err(Fault::Malformed(reason)) if reason.contains("no samples")));
    }
}
