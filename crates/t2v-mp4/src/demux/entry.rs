//! How the samples are coded: `stsd`, `avc1` and the boxes in it.

use super::fields::{u16_at, u32s};
use super::{codings, need};
use crate::boxes::{boxes, child};
use crate::fault::Fault;

/// Bytes of `avc1` before the boxes in it.
const AVC1_FIELDS: usize = 78;

/// The only sample entry.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SampleEntry {
    /// Bytes of the length in front of each NAL unit: 1, 2 or 4.
    pub(crate) length_size: usize,
    /// Sequence, then picture parameter sets, without lengths.
    pub(crate) parameter_sets: Vec<Vec<u8>>,
    pub(crate) colour: Option<ContainerColour>,
    pub(crate) clean_aperture: Option<CleanAperture>,
}

/// The `colr` box: what it says about matrix (ITU-T H.273) and range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ContainerColour {
    pub(crate) matrix: u16,
    /// Not said in QuickTime's form.
    pub(crate) full_range: Option<bool>,
}

/// The `clap` box: width, height, and the distances of the middles, as fractions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CleanAperture {
    fractions: [(i64, i64); 4],
}

impl SampleEntry {
    pub(super) fn parse(stsd: &[u8]) -> Result<Self, Fault> {
        let mut found = boxes(stsd.get(8..).ok_or(Fault::Malformed("its `stsd` box is too short"))?);
        let Some(first) = found.next() else {
            return Err(Fault::Malformed("its `stsd` box is empty"));
        };
        let (kind, avc1) = first.map_err(Fault::Malformed)?;
        if kind != *b"avc1" {
            return Err(codings::refusal(kind));
        }
        let inside = avc1
            .get(AVC1_FIELDS..)
            .ok_or(Fault::Malformed("its `avc1` box is too short"))?;
        let (length_size, parameter_sets) = avc_configuration(need(inside, b"avcC")?)?;
        let optional = |kind| child(inside, kind).map_err(Fault::Malformed);
        Ok(Self {
            length_size,
            parameter_sets,
            colour: optional(b"colr")?.and_then(container_colour),
            clean_aperture: optional(b"clap")?.map(CleanAperture::parse).transpose()?,
        })
    }
}

/// The length's size and the parameter sets (ISO/IEC 14496-15 5.3.3).
fn avc_configuration(avcc: &[u8]) -> Result<(usize, Vec<Vec<u8>>), Fault> {
    let short = || Fault::Malformed("its `avcC` box is too short");
    let [1, _, _, _, length_size, sps_count, rest @ ..] = avcc else {
        return Err(Fault::Malformed("its `avcC` box is too short, or not of version 1"));
    };
    let length_size = usize::from(length_size & 3) + 1;
    if length_size == 3 {
        return Err(Fault::Malformed("its `avcC` box tells of lengths of 3 bytes"));
    }
    let mut sets = Vec::new();
    let rest = take_sets(rest, sps_count & 0x1f, &mut sets).ok_or_else(short)?;
    let (pps_count, rest) = rest.split_first().ok_or_else(short)?;
    if sets.is_empty() || *pps_count == 0 {
        return Err(Fault::Malformed("its `avcC` box lacks a parameter set"));
    }
    take_sets(rest, *pps_count, &mut sets).ok_or_else(short)?;
    Ok((length_size, sets))
}

/// Takes NAL units, each after its length, and returns what follows.
fn take_sets<'a>(mut rest: &'a [u8], count: u8, sets: &mut Vec<Vec<u8>>) -> Option<&'a [u8]> {
    for _ in 0..count {
        let length = usize::from(u16_at(rest, 0)?);
        let (set, after) = rest[2..].split_at_checked(length)?;
        sets.push(set.to_vec());
        rest = after;
    }
    Some(rest)
}

/// None for other kinds of `colr`, such as an ICC profile.
fn container_colour(colr: &[u8]) -> Option<ContainerColour> {
    let matrix = u16_at(colr, 8)?;
    match colr.first_chunk::<4>()? {
        b"nclx" => Some(ContainerColour {
            matrix,
            full_range: Some(colr.get(10)? & 0x80 != 0),
        }),
        b"nclc" => Some(ContainerColour {
            matrix,
            full_range: None,
        }),
        _ => None,
    }
}

impl CleanAperture {
    fn parse(clap: &[u8]) -> Result<Self, Fault> {
        let wrong = || Fault::Malformed("its `clap` box is too short, or divides by zero");
        let numbers = <[u32; 8]>::try_from(u32s(clap.get(..32).ok_or_else(wrong)?)).map_err(|_| wrong())?;
        let mut fractions = [(0, 0); 4];
        for (fraction, pair) in fractions.iter_mut().zip(numbers.as_chunks::<2>().0) {
            // Distances may be negative; sizes and denominators are not.
            *fraction = (pair[0].cast_signed().into(), pair[1].cast_signed().into());
            if fraction.1 <= 0 {
                return Err(wrong());
            }
        }
        Ok(Self { fractions })
    }

    /// Left, top, width and height of what is to be shown of a coded picture, in whole pixels.
    pub(crate) fn window(&self, (width, height): (u32, u32)) -> Result<[u32; 4], Fault> {
        let [w, h, x, y] = self.fractions;
        let outside = || Fault::Malformed("its `clap` box asks for more than the picture");
        let (left, width) = span(width, w, x).ok_or_else(outside)?;
        let (top, height) = span(height, h, y).ok_or_else(outside)?;
        Ok([left, top, width, height])
    }
}

/// Start and length of a part of a side. `size` and `offset` are fractions with positive denominators; the start is
/// `(side - size) / 2 + offset`, rounded down.
fn span(side: u32, size: (i64, i64), offset: (i64, i64)) -> Option<(u32, u32)> {
    let length = size.0.div_euclid(size.1);
    let twice_den = 2 * offset.1;
    let start = ((i64::from(side) - length) * offset.1 + 2 * offset.0).div_euclid(twice_den);
    let fits = length > 0 && start >= 0 && start + length <= i64::from(side);
    fits.then_some((u32::try_from(start).ok()?, u32::try_from(length).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clap(numbers: [i32; 8]) -> Result<CleanAperture, Fault> {
        CleanAperture::parse(
            &numbers
                .iter()
                .flat_map(|number| number.to_be_bytes())
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn a_clean_aperture_is_a_window() {
        let window = |numbers| clap(numbers).unwrap().window((34, 20)).ok();
        assert_eq!(window([33, 1, 20, 1, -1, 2, 0, 2]), Some([0, 0, 33, 20]));
        assert_eq!(window([34, 1, 19, 1, 0, 1, -1, 2]), Some([0, 0, 34, 19]));
        assert_eq!(window([10, 1, 10, 1, 0, 1, 0, 1]), Some([12, 5, 10, 10]));
        assert_eq!(window([10, 1, 10, 1, 12, 1, -5, 1]), Some([24, 0, 10, 10]));
        assert_eq!(window([10, 1, 10, 1, 13, 1, 0, 1]), None);
        assert_eq!(window([0, 1, 10, 1, 0, 1, 0, 1]), None);
        assert_eq!(window([35, 1, 20, 1, 0, 1, 0, 1]), None);
        assert_eq!(
            window([i32::MAX, 1, i32::MIN, i32::MAX, i32::MIN, i32::MAX, 0, 1]),
            None
        );
        assert!(clap([33, 0, 20, 1, 0, 1, 0, 1]).is_err());
        assert!(clap([33, 1, 20, 1, 0, -1, 0, 1]).is_err());
    }

    #[test]
    fn parameter_sets_are_counted_and_measured() {
        let good = [1, 66, 0xc0, 10, 0xff, 0xe1, 0, 2, 0x67, 66, 1, 0, 1, 0x68];
        let expected = (4, vec![vec![0x67, 66], vec![0x68]]);
        assert_eq!(avc_configuration(&good).unwrap(), expected);
        for end in 0..good.len() {
            assert!(avc_configuration(&good[..end]).is_err(), "{end} bytes");
        }
        for (place, value) in [(0, 0), (4, 0xfe), (5, 0xe0), (7, 0xff), (10, 0)] {
            let mut bad = good;
            bad[place] = value;
            assert!(avc_configuration(&bad).is_err(), "{value} at {place}");
        }
    }
}
