//! When the samples are shown: `mdhd`, `stts` and `ctts`.

use super::entries;
use super::fields::u32_at;
use crate::boxes::child;
use crate::fault::Fault;
use crate::rate::FrameRate;

/// The mean rate from the first frame to the last one, whose own duration is often arbitrary and does not count, unless it
/// is the only one.
pub(super) fn frame_rate(mdhd: &[u8], stts: &[u8], samples: usize) -> Result<FrameRate, Fault> {
    let timescale = u32_at(mdhd, if mdhd.first() == Some(&1) { 20 } else { 12 });
    let timescale = timescale.ok_or(Fault::Malformed("its `mdhd` box is too short"))?;
    let (runs, _) = entries(stts, 8, "its `stts` box is too short")?.as_chunks::<8>();
    let intervals = (samples as u64).saturating_sub(1).max(1);
    let (mut left, mut duration) = (intervals, 0u64);
    for run in runs {
        let (count, delta) = (u32_at(run, 0).unwrap_or(0), u32_at(run, 4).unwrap_or(0));
        let count = left.min(u64::from(count));
        duration = duration.saturating_add(count * u64::from(delta));
        left -= count;
        if left == 0 {
            break;
        }
    }
    match rate_of(intervals.saturating_mul(u64::from(timescale)), duration) {
        Some(rate) if left == 0 => Ok(rate),
        _ => Err(Fault::Malformed("its frames have no duration (`mdhd`, `stts`)")),
    }
}

/// The fraction, made coarser where it has more than 32 bits. None if there is a zero in it.
fn rate_of(num: u64, den: u64) -> Option<FrameRate> {
    if num == 0 || den == 0 {
        return None;
    }
    let (mut a, mut b) = (num, den);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    let (mut num, mut den) = (num / a, den / a);
    while num.max(den) > u64::from(u32::MAX) {
        (num, den) = (num / 2, den / 2);
    }
    let (num, den) = (u32::try_from(num).ok()?, u32::try_from(den).ok()?);
    (num > 0 && den > 0).then(|| FrameRate::new(num, den))
}

/// Where offsets from decoding to showing differ, the order differs as well: there are B-frames.
pub(super) fn refuse_reordering(stbl: &[u8], samples: usize) -> Result<(), Fault> {
    let Some(ctts) = child(stbl, b"ctts").map_err(Fault::Malformed)? else {
        return Ok(());
    };
    let (runs, _) = entries(ctts, 8, "its `ctts` box is too short")?.as_chunks::<8>();
    let used = runs.iter().filter(|run| u32_at(&run[..], 0) != Some(0));
    let mut offsets = used.take(samples).map(|run| u32_at(run, 4));
    let first = offsets.next();
    match offsets.all(|offset| Some(offset) == first) {
        true => Ok(()),
        false => Err(Fault::Unsupported("it has B-frames (`ctts`)".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    fn rate(timescale: u32, stts: &[u32], samples: usize) -> Option<FrameRate> {
        frame_rate(&words(&[0, 0, 0, timescale, 0]), &words(stts), samples).ok()
    }

    #[test]
    fn the_rate_is_that_of_the_intervals() {
        assert_eq!(rate(12288, &[0, 1, 9, 512], 9), Some(FrameRate::from(24)));
        assert_eq!(rate(24_000, &[0, 1, 9, 1001], 9), Some(FrameRate::new(24_000, 1001)));
        assert_eq!(rate(600, &[0, 2, 8, 25, 1, 1], 9), Some(FrameRate::from(24)));
        assert_eq!(rate(1000, &[0, 2, 1, 33, 2, 34], 3), Some(FrameRate::new(2000, 67)));
        assert_eq!(rate(30, &[0, 1, 1, 2], 1), Some(FrameRate::from(15)));
        let long = rate(u32::MAX, &[0, 1, u32::MAX, u32::MAX - 1], 1 << 20);
        assert!((long.unwrap().as_f64() - 1.0).abs() < 1e-6);
    }

    #[test]
    fn times_without_a_rate_are_refused() {
        assert_eq!(rate(0, &[0, 1, 9, 512], 9), None);
        assert_eq!(rate(600, &[0, 1, 9, 0], 9), None);
        assert_eq!(rate(600, &[0, 1, 7, 25], 9), None);
        assert_eq!(rate(600, &[0, u32::MAX, 9, 25], 9), None);
        assert_eq!(rate(u32::MAX, &[0, 0], 1), None);
    }

    #[test]
    fn differing_offsets_are_b_frames() {
        let ctts = |runs: &[u32]| [&words(&[8 + 4 * runs.len() as u32])[..], b"ctts", &words(runs)].concat();
        assert!(refuse_reordering(&[], 3).is_ok());
        assert!(refuse_reordering(&ctts(&[0, 2, 1, 512, 2, 512]), 3).is_ok());
        assert!(refuse_reordering(&ctts(&[0, 2, 1, 512, 2, 0]), 3).is_err());
        assert!(refuse_reordering(&ctts(&[0, 9, 1, 512]), 3).is_err());
    }
}
