//! Which part of the video is shown: the edit list `elst` (ISO/IEC 14496-12 8.6.6).

use super::entries;
use super::fields::{u32_at, u64_at};
use crate::fault::Fault;

/// The most edits: a video is cut, but not into thousands of parts.
const MAX_EDITS: usize = 1024;
/// `media_time` of an edit that shows nothing: the video starts later than the movie.
const NOTHING: i64 = -1;

/// The parts that are shown, in units of the track's timescale, in order: start and end.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Edits(Vec<(i64, i64)>);

impl Edits {
    /// Without a list, all is shown. `movie` and `media` are the timescales.
    pub(super) fn parse(elst: Option<&[u8]>, movie: u32, media: u32) -> Result<Self, Fault> {
        let everything = (i64::MIN, i64::MAX);
        let Some(elst) = elst else {
            return Ok(Self(vec![everything]));
        };
        let size = if elst.first() == Some(&1) { 20 } else { 12 };
        let list = entries(elst, size, "its `elst` box is too short")?;
        if list.len() > MAX_EDITS * size {
            return Err(Fault::Malformed("its edit list has more than 1024 entries (`elst`)"));
        }
        // A duration in whole units of the movie may be off by one of them.
        let tick = i64::from(media / movie.max(1)) + 1;
        let mut parts: Vec<(i64, i64)> = Vec::new();
        for edit in list.chunks_exact(size) {
            let (duration, start) = times(edit).ok_or(Fault::Malformed("its `elst` box is too short"))?;
            if start == NOTHING {
                continue;
            }
            if u32_at(edit, size - 4) != Some(0x1_0000) {
                return Err(Fault::unsupported(
                    "a part of it is shown faster, slower or as a still picture (`elst`)",
                ));
            }
            if parts.last().is_some_and(|&(_, end)| start < end.saturating_sub(tick)) {
                return Err(Fault::unsupported(
                    "its parts are shown in another order, or more than once (`elst`)",
                ));
            }
            parts.push((start, end(start, duration, movie, media)));
        }
        Ok(Self(if parts.is_empty() { vec![everything] } else { parts }))
    }

    /// Whether a frame that starts at this time is shown.
    pub(super) fn show(&self, time: i64) -> bool {
        let started = self.0.partition_point(|&(start, _)| start <= time);
        // Adjacent parts may overlap by a rounding error, which hides nothing.
        self.0[..started].iter().rev().take(2).any(|&(_, end)| time < end)
    }
}

/// Duration and start of an edit, of either version.
fn times(edit: &[u8]) -> Option<(u64, i64)> {
    match edit.len() {
        20 => Some((u64_at(edit, 0)?, u64_at(edit, 8)?.cast_signed())),
        _ => Some((u32_at(edit, 0)?.into(), u32_at(edit, 4)?.cast_signed().into())),
    }
}

/// Where a part ends; one without a duration lasts to the end of the video.
fn end(start: i64, duration: u64, movie: u32, media: u32) -> i64 {
    let movie = u128::from(movie.max(1));
    let length = (u128::from(duration) * u128::from(media) + movie / 2) / movie;
    match i64::try_from(length) {
        Ok(0) | Err(_) => i64::MAX,
        Ok(length) => start.saturating_add(length),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A list of duration, start and rate.
    fn list(edits: &[(u32, i32, u32)]) -> Vec<u8> {
        let words = edits
            .iter()
            .flat_map(|&(duration, start, rate)| [duration, start.cast_unsigned(), rate]);
        let words = [0, edits.len() as u32].into_iter().chain(words);
        words.flat_map(u32::to_be_bytes).collect()
    }

    fn shown(edits: &[(u32, i32, u32)], times: impl IntoIterator<Item = i64>) -> Vec<i64> {
        let edits = Edits::parse(Some(&list(edits)), 1000, 24_000).unwrap();
        times.into_iter().filter(|&time| edits.show(time)).collect()
    }

    const NORMAL: u32 = 0x1_0000;

    #[test]
    fn frames_within_an_edit_are_shown() {
        let all = || (0..6).map(|frame| frame * 1000);
        assert_eq!(shown(&[(0, 0, NORMAL)], all()).len(), 6);
        assert_eq!(shown(&[(125, 2000, NORMAL)], all()), [2000, 3000, 4000]);
        assert_eq!(
            shown(&[(500, -1, NORMAL), (125, 2000, NORMAL)], all()),
            [2000, 3000, 4000]
        );
        assert_eq!(shown(&[(500, -1, NORMAL)], all()).len(), 6);
        // Two parts, the first of which is rounded up.
        assert_eq!(
            shown(&[(84, 0, NORMAL), (42, 5000, NORMAL)], all()),
            [0, 1000, 2000, 5000]
        );
        assert_eq!(
            shown(&[(84, 0, NORMAL), (84, 2000, NORMAL)], all()),
            [0, 1000, 2000, 3000, 4000]
        );
    }

    #[test]
    fn long_numbers_are_read() {
        let words: [u64; 2] = [125, 2000];
        let edit = [words.map(u64::to_be_bytes).concat(), NORMAL.to_be_bytes().to_vec()].concat();
        let elst = [&[1, 0, 0, 0, 0, 0, 0, 1][..], &edit].concat();
        let edits = Edits::parse(Some(&elst), 1000, 24_000).unwrap();
        assert_eq!(edits, Edits(vec![(2000, 5000)]));
        let short = Edits::parse(Some(&elst[..27]), 1000, 24_000);
        assert!(matches!(short, Err(Fault::Malformed(_))), "{short:?}");
    }

    #[test]
    fn what_cannot_be_followed_is_refused() {
        let refusal = |edits: &[(u32, i32, u32)]| match Edits::parse(Some(&list(edits)), 1000, 24_000) {
            Err(Fault::Unsupported(what, _)) => what,
            other => panic!("{other:?}"),
        };
        assert!(refusal(&[(100, 0, 0)]).contains("still picture"));
        assert!(refusal(&[(100, 0, 2 * NORMAL)]).contains("faster"));
        assert!(refusal(&[(100, 2400, NORMAL), (100, 0, NORMAL)]).contains("another order"));
        assert!(refusal(&[(100, 0, NORMAL), (100, 0, NORMAL)]).contains("more than once"));
    }

    #[test]
    fn lying_lists_are_found() {
        let many = list(&vec![(1, 0, NORMAL); 1025]);
        let malformed = |elst: &[u8]| matches!(Edits::parse(Some(elst), 0, u32::MAX), Err(Fault::Malformed(_)));
        assert!(malformed(&many));
        assert!(malformed(&[]));
        assert!(malformed(&[0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]));
        let mut long = [1; 28].to_vec();
        long[..8].copy_from_slice(&[1, 0, 0, 0, 0, 0, 0, 1]);
        long[8..16].fill(0xff);
        long[24..].copy_from_slice(&NORMAL.to_be_bytes());
        let edits = Edits::parse(Some(&long), 0, u32::MAX).unwrap();
        assert!(edits.show(i64::MAX - 1) && !edits.show(0));
    }
}
