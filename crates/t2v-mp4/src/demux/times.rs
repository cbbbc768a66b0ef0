//! When the samples are shown: `mdhd`, `stts` and `ctts`.

use super::fields::u32_at;
use super::{Clock, entries};
use crate::boxes::child;
use crate::fault::Fault;

/// Units a second of a `mdhd` or `mvhd` box.
pub(super) fn timescale(header: &[u8], too_short: &'static str) -> Result<u32, Fault> {
    let at = if header.first() == Some(&1) { 20 } else { 12 };
    u32_at(header, at).ok_or(Fault::Malformed(too_short))
}

/// A value for each of several samples.
struct Runs<'a> {
    rest: &'a [[u8; 8]],
    left: u32,
    value: u32,
}

impl<'a> Runs<'a> {
    fn parse(table: &'a [u8], too_short: &'static str) -> Result<Self, Fault> {
        let (rest, _) = entries(table, 8, too_short)?.as_chunks();
        let (left, value) = (0, 0);
        Ok(Self { rest, left, value })
    }
}

impl Iterator for Runs<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        while self.left == 0 {
            let (run, rest) = self.rest.split_first()?;
            (self.left, self.value) = (u32_at(run, 0)?, u32_at(run, 4)?);
            self.rest = rest;
        }
        self.left -= 1;
        Some(self.value)
    }
}

/// When each of so many samples is shown, in their order in the file, and for how long. The duration of the last one may be
/// missing: it is that of the one before.
pub(super) fn times(stbl: &[u8], stts: &[u8], samples: usize, clock: &mut Clock) -> Result<Vec<(i64, u32)>, Fault> {
    let mut durations = Runs::parse(stts, "its `stts` box is too short")?;
    let ctts = child(stbl, b"ctts").map_err(Fault::Malformed)?;
    let offsets = ctts.map(|ctts| Runs::parse(ctts, "its `ctts` box is too short"));
    let mut offsets = offsets.transpose()?;
    let (mut times, mut last) = (Vec::with_capacity(samples), None);
    for sample in 1..=samples {
        let duration = durations.next().or(last.filter(|_| sample == samples));
        let duration = duration.ok_or(Fault::Malformed("its frames have no duration (`mdhd`, `stts`)"))?;
        last = Some(duration);
        let offset = match &mut offsets {
            Some(offsets) => offsets.next().ok_or(Fault::Malformed(
                "its `ctts` box has fewer entries than there are samples",
            ))?,
            None => 0,
        };
        times.push((clock.shown(offset), duration));
        clock.advance(duration);
    }
    Ok(times)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    fn ctts(runs: &[u32]) -> Vec<u8> {
        [&words(&[8 + 4 * runs.len() as u32])[..], b"ctts", &words(runs)].concat()
    }

    fn of(stbl: &[u8], stts: &[u32], samples: usize) -> Option<Vec<(i64, u32)>> {
        times(stbl, &words(stts), samples, &mut Clock::default()).ok()
    }

    #[test]
    fn durations_add_up() {
        let expected = [(0, 25), (25, 25), (50, 1), (51, 1)];
        assert_eq!(of(&[], &[0, 2, 2, 25, 9, 1], 4).unwrap(), expected);
        let last = [(0, 25), (25, 25), (50, 25)];
        assert_eq!(of(&[], &[0, 1, 2, 25], 3).unwrap(), last);
        assert_eq!(of(&[], &[0, 1, 2, 25], 4), None);
        assert_eq!(of(&[], &[0, 0], 1), None);
        assert_eq!(of(&[], &[0, u32::MAX, 9, 25], 9), None);
        let long = of(&[], &[0, 1, u32::MAX, u32::MAX], 3).unwrap();
        assert_eq!(long[2].0, 2 * i64::from(u32::MAX));
    }

    #[test]
    fn offsets_move_samples_forth_and_back() {
        let shown = |runs: &[u32]| {
            let times = of(&ctts(runs), &[0, 1, 4, 10], 4)?;
            Some(times.into_iter().map(|(time, _)| time).collect::<Vec<_>>())
        };
        assert_eq!(shown(&[0, 3, 1, 10, 1, 30, 2, 0]).unwrap(), [10, 40, 20, 30]);
        let minus = (-10i32).cast_unsigned();
        assert_eq!(
            shown(&[1 << 24, 3, 1, 0, 0, 9, 3, minus]),
            shown(&[1 << 24, 2, 1, 0, 3, minus])
        );
        assert_eq!(shown(&[0, 2, 1, 0, 3, minus]).unwrap(), [0, 0, 10, 20]);
        assert_eq!(shown(&[0, 1, 3, 0]), None);
        assert_eq!(shown(&[0, 9, 4, 0]), None);
    }

    #[test]
    fn a_timescale_is_found_in_either_version() {
        let header = words(&[0, 1, 2, 600, 3, 4, 5]);
        assert_eq!(timescale(&header, "short").unwrap(), 600);
        assert_eq!(timescale(&[&[1][..], &header[1..]].concat(), "short").unwrap(), 4);
        assert!(timescale(&header[..15], "short").is_err());
    }
}
