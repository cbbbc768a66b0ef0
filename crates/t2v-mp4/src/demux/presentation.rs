//! In which order the samples are shown, and at which rate.

use super::edits::Edits;
use super::samples::Place;
use crate::fault::Fault;
use crate::rate::FrameRate;

/// The most pictures that H.264 lets a decoder hold back for their order.
pub(crate) const MOST_HELD: usize = 16;

/// A sample in its order in the file, which is that of decoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TimedSample {
    pub(super) place: Place,
    /// When it is shown, in units of the track's timescale.
    pub(super) time: i64,
    pub(super) duration: u32,
}

/// A coded picture in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) offset: u64,
    pub(crate) size: u32,
    /// Its number among the frames that are shown, from 0; none if it is only needed to decode others.
    pub(crate) number: Option<u32>,
}

/// Numbers the samples that are shown, and returns as many as must be decoded, the number of frames and their mean rate.
pub(super) fn arrange(
    timed: &[TimedSample],
    edits: &Edits,
    timescale: u32,
) -> Result<(Vec<Sample>, u32, FrameRate), Fault> {
    let mut order: Vec<usize> = (0..timed.len())
        .filter(|&sample| edits.show(timed[sample].time))
        .collect();
    order.sort_by_key(|&sample| timed[sample].time);
    if order.is_empty() {
        return Err(Fault::Malformed("its edit list shows none of its frames (`elst`)"));
    }
    let rate = frame_rate(timed, &order, timescale)?;
    let unnumbered = timed.iter().map(|sample| Sample {
        offset: sample.place.offset,
        size: sample.place.size,
        number: None,
    });
    let mut samples: Vec<Sample> = unnumbered.collect();
    for (number, &sample) in (0..).zip(&order) {
        samples[sample].number = Some(number);
    }
    let last = samples.iter().rposition(|sample| sample.number.is_some());
    samples.truncate(last.map_or(0, |last| last + 1));
    check_order(&samples)?;
    Ok((samples, order.len() as u32, rate))
}

/// The mean rate from the first frame to the last one, whose own duration is often arbitrary and does not count, unless it
/// is the only one.
fn frame_rate(timed: &[TimedSample], order: &[usize], timescale: u32) -> Result<FrameRate, Fault> {
    let intervals = order.len() as u64 - 1;
    let (first, last) = (timed[order[0]], timed[order[order.len() - 1]]);
    let (count, duration) = match intervals {
        0 => (1, first.duration.into()),
        _ => (intervals, last.time.abs_diff(first.time)),
    };
    rate_of(count.saturating_mul(timescale.into()), duration)
        .ok_or(Fault::Malformed("its frames have no duration (`mdhd`, `stts`)"))
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

/// Whoever shows the frames must not have to hold back more of them than a decoder does.
fn check_order(samples: &[Sample]) -> Result<(), Fault> {
    let mut held = std::collections::BTreeSet::new();
    let mut next = 0;
    for number in samples.iter().filter_map(|sample| sample.number) {
        held.insert(number);
        while held.remove(&next) {
            next += 1;
        }
        if held.len() > MOST_HELD {
            return Err(Fault::Malformed(
                "its frames are reordered further than H.264 allows (`ctts`)",
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timed(times: &[i64]) -> Vec<TimedSample> {
        let place = Place { offset: 9, size: 7 };
        let timed = times.iter().map(|&time| TimedSample {
            place,
            time,
            duration: 25,
        });
        timed.collect()
    }

    fn everything() -> Edits {
        Edits::parse(None, 0, 0).unwrap()
    }

    /// Numbers and rate.
    fn arranged(times: &[i64], timescale: u32) -> (Vec<Option<u32>>, FrameRate) {
        let (samples, frames, rate) = arrange(&timed(times), &everything(), timescale).unwrap();
        assert_eq!(frames as usize, times.len());
        (samples.iter().map(|sample| sample.number).collect(), rate)
    }

    #[test]
    fn samples_are_numbered_by_their_times() {
        let (numbers, rate) = arranged(&[50, 200, 100, 150], 600);
        assert_eq!(numbers, [0, 3, 1, 2].map(Some));
        assert_eq!(rate, FrameRate::from(12));
        // Negative times, and equal ones in the order of decoding.
        assert_eq!(arranged(&[-25, 50, 0, 0], 600).0, [0, 3, 1, 2].map(Some));
    }

    #[test]
    fn the_rate_is_that_of_the_intervals() {
        assert_eq!(arranged(&[0, 1001, 2002], 24_000).1, FrameRate::new(24_000, 1001));
        assert_eq!(arranged(&[0, 33, 67], 1000).1, FrameRate::new(2000, 67));
        assert_eq!(arranged(&[7], 50).1, FrameRate::from(2));
        let long = arranged(&[0, (1 << 40) - 1], u32::MAX).1.as_f64();
        assert!((long * 256.0 - 1.0).abs() < 1e-6, "{long}");
        for (times, timescale) in [(&[3, 3][..], 600), (&[0, 25], 0)] {
            assert!(arrange(&timed(times), &everything(), timescale).is_err(), "{times:?}");
        }
    }

    #[test]
    fn hidden_samples_are_decoded_where_others_need_them() {
        let elst = [0, 1, 50, 50, 0x1_0000].map(u32::to_be_bytes).concat();
        let edits = Edits::parse(Some(&elst), 600, 600).unwrap();
        let (samples, frames, _) = arrange(&timed(&[0, 75, 25, 50, 150, 100]), &edits, 600).unwrap();
        let numbers: Vec<_> = samples.iter().map(|sample| sample.number).collect();
        assert_eq!((frames, &numbers[..]), (2, &[None, Some(1), None, Some(0)][..]));
        let nothing = arrange(&timed(&[0, 25]), &edits, 600).unwrap_err();
        assert!(matches!(nothing, Fault::Malformed(reason) if reason.contains("none of its frames")));
    }

    #[test]
    fn no_more_frames_are_held_back_than_by_a_decoder() {
        let last_first = |count: i64| (1..=count).chain([0]).collect::<Vec<_>>();
        assert!(arrange(&timed(&last_first(16)), &everything(), 1).is_ok());
        let fault = arrange(&timed(&last_first(17)), &everything(), 1).unwrap_err();
        assert!(matches!(fault, Fault::Malformed(reason) if reason.contains("reordered")));
    }
}
