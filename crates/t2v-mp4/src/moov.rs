//! The index of the samples and the `moov` box made from it.
//!
//! `mp4` has most of the boxes. Its own writer is not used, since it buffers a second of video at a time, puts the index
//! last and leaves `next_track_ID`, the flags of `vmhd` and the reserved volume wrong. What it lacks (`colr`, `pasp`,
//! `clap`, tags) is appended here. There is no edit list: the first sample is shown at time 0, in decoding order.

use std::time::{SystemTime, UNIX_EPOCH};

use mp4::{FixedPointU8, FourCC, MoovBox, WriteBox};

use crate::append::{Way, append_child};
use crate::bitstream::{LENGTH_SIZE, ParameterSets};
use crate::error::{Mp4Error, Result};
use crate::rate::TimeBase;
use crate::spec::VideoSpec;
use crate::tags;

/// Samples are grouped into chunks for the index only: they follow one another in the file.
const SAMPLES_PER_CHUNK: u32 = 48;

const TRACK_ID: u32 = 1;
/// The track is enabled, and used in the presentation.
const TRACK_FLAGS: u32 = 0b11;
/// Seconds from 1904, where MP4 counts from, to 1970.
const EPOCH: u64 = 2_082_844_800;

/// The way to `moov`.
const MOOV: Way = &[(*b"moov", 0)];
/// The way to the sample entry.
const SAMPLE_ENTRY: Way = &[
    (*b"moov", 0),
    (*b"trak", 0),
    (*b"mdia", 0),
    (*b"minf", 0),
    (*b"stbl", 0),
    (*b"stsd", 8),
    (*b"avc1", 78),
];

/// Pixels are square.
const PASP: [u8; 16] = *b"\0\0\0\x10pasp\0\0\0\x01\0\0\0\x01";

/// Where each sample is.
#[derive(Debug, Default)]
pub(crate) struct SampleTable {
    sizes: Vec<u32>,
    /// Numbers of the samples at which decoding can start, from 1.
    sync: Vec<u32>,
    /// Counted from the first sample.
    chunk_offsets: Vec<u64>,
    bytes: u64,
}

impl SampleTable {
    /// The number of samples.
    pub(crate) fn len(&self) -> u32 {
        u32::try_from(self.sizes.len()).unwrap_or(u32::MAX)
    }

    /// The bytes of all samples.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds a sample right after the one before.
    pub(crate) fn push(&mut self, size: u32, is_sync: bool) {
        if self.len().is_multiple_of(SAMPLES_PER_CHUNK) {
            self.chunk_offsets.push(self.bytes);
        }
        self.sizes.push(size);
        self.bytes += u64::from(size);
        if is_sync {
            self.sync.push(self.len());
        }
    }

    /// The whole `moov` box, for a file with `others` more bytes before the first sample. There must be a sample.
    pub(crate) fn moov(&self, spec: &VideoSpec, sets: &ParameterSets, others: u64) -> Result<Vec<u8>> {
        let short = self.moov_at(spec, sets, 0, false)?;
        let start = others + short.len() as u64;
        if start + self.bytes <= u64::from(u32::MAX) {
            return self.moov_at(spec, sets, start, false);
        }
        let long = self.moov_at(spec, sets, 0, true)?;
        self.moov_at(spec, sets, others + long.len() as u64, true)
    }

    /// The whole `moov` box for samples that start at `start` in the file, with offsets of 64 or else 32 bits.
    fn moov_at(&self, spec: &VideoSpec, sets: &ParameterSets, start: u64, long_offsets: bool) -> Result<Vec<u8>> {
        let mut moov = MoovBox::default();
        // The types of the boxes inside cannot be named, but they can be made.
        moov.traks.push(Default::default());
        self.set_times(&mut moov, spec);
        self.set_media(&mut moov);
        set_format(&mut moov, spec, sets)?;
        self.set_samples(&mut moov);
        self.set_offsets(&mut moov, start, long_offsets);

        let mut bytes = Vec::new();
        moov.write_box(&mut bytes).map_err(|error| Mp4Error::Boxes {
            box_type: "moov",
            reason: error.to_string(),
        })?;
        append_child(&mut bytes, SAMPLE_ENTRY, &spec.colour.colr())?;
        append_child(&mut bytes, SAMPLE_ENTRY, &PASP)?;
        if let Some(clap) = clean_aperture(spec) {
            append_child(&mut bytes, SAMPLE_ENTRY, &clap)?;
        }
        append_child(&mut bytes, MOOV, &tags::udta(&spec.metadata))?;
        if !spec.metadata.is_empty() {
            append_child(&mut bytes, MOOV, &tags::meta(&spec.metadata))?;
        }
        Ok(bytes)
    }

    /// Movie, track and media share one timescale, so that all durations are exact.
    fn set_times(&self, moov: &mut MoovBox, spec: &VideoSpec) {
        let time: TimeBase = spec.frame_rate.time_base();
        let duration = u64::from(self.len()) * u64::from(time.frame_duration);
        let created = spec.created.map_or(0, since_1904);
        let version = u8::from(duration.max(created) > u64::from(u32::MAX));
        let (mvhd, trak) = (&mut moov.mvhd, &mut moov.traks[0]);
        (mvhd.version, mvhd.timescale, mvhd.duration) = (version, time.timescale, duration);
        (mvhd.creation_time, mvhd.modification_time) = (created, created);
        let tkhd = &mut trak.tkhd;
        (tkhd.version, tkhd.duration) = (version, duration);
        (tkhd.creation_time, tkhd.modification_time) = (created, created);
        let mdhd = &mut trak.mdia.mdhd;
        (mdhd.version, mdhd.timescale, mdhd.duration) = (version, time.timescale, duration);
        (mdhd.creation_time, mdhd.modification_time) = (created, created);

        let stts = &mut trak.mdia.minf.stbl.stts.entries;
        stts.push(Default::default());
        (stts[0].sample_count, stts[0].sample_delta) = (self.len(), time.frame_duration);
    }

    fn set_media(&self, moov: &mut MoovBox) {
        moov.mvhd.next_track_id = TRACK_ID + 1;
        let trak = &mut moov.traks[0];
        trak.tkhd.track_id = TRACK_ID;
        trak.tkhd.flags = TRACK_FLAGS;
        trak.tkhd.volume = FixedPointU8::new(0);
        trak.mdia.hdlr.handler_type = FourCC { value: *b"vide" };
        trak.mdia.hdlr.name = "VideoHandler".to_owned();
        trak.mdia.minf.vmhd.insert(Default::default()).flags = 1;
    }

    fn set_samples(&self, moov: &mut MoovBox) {
        let stbl = &mut moov.traks[0].mdia.minf.stbl;
        stbl.stsz.sample_count = self.len();
        stbl.stsz.sample_sizes.clone_from(&self.sizes);
        stbl.stss.insert(Default::default()).entries = self.sync.clone();

        let (full, rest) = (self.len() / SAMPLES_PER_CHUNK, self.len() % SAMPLES_PER_CHUNK);
        let runs = [(1, SAMPLES_PER_CHUNK, full > 0), (full + 1, rest, rest > 0)];
        for (first_chunk, samples, _) in runs.into_iter().filter(|&(_, _, exists)| exists) {
            stbl.stsc.entries.push(Default::default());
            if let Some(entry) = stbl.stsc.entries.last_mut() {
                (entry.first_chunk, entry.samples_per_chunk) = (first_chunk, samples);
                entry.sample_description_index = 1;
            }
        }
    }

    fn set_offsets(&self, moov: &mut MoovBox, start: u64, long: bool) {
        let stbl = &mut moov.traks[0].mdia.minf.stbl;
        let offsets = self.chunk_offsets.iter().map(|offset| start + offset);
        if long {
            stbl.co64.insert(Default::default()).entries = offsets.collect();
        } else {
            // Short offsets are chosen only where all fit.
            stbl.stco.insert(Default::default()).entries = offsets.map(|offset| offset as u32).collect();
        }
    }
}

/// Whole seconds; 0, which means unknown, for times before 1904.
fn since_1904(time: SystemTime) -> u64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => after.as_secs() + EPOCH,
        Err(before) => EPOCH.saturating_sub(before.duration().as_secs()),
    }
}

/// The `clap` box for odd sizes, which H.264 cannot crop to in 4:2:0: the part of the picture to show, from the upper left.
fn clean_aperture(spec: &VideoSpec) -> Option<Vec<u8>> {
    if spec.width.is_multiple_of(2) && spec.height.is_multiple_of(2) {
        return None;
    }
    // The middle of the part lies half a pixel before that of the coded picture, in odd directions.
    let offset = |side: u32| (0u32.wrapping_sub(side % 2), 2u32);
    let fractions = [
        (spec.width, 1),
        (spec.height, 1),
        offset(spec.width),
        offset(spec.height),
    ];
    let mut clap = b"\0\0\0\x28clap".to_vec();
    for (num, den) in fractions {
        clap.extend(num.to_be_bytes());
        clap.extend(den.to_be_bytes());
    }
    Some(clap)
}

/// The picture's size, in track and sample entry, and `avcC`.
fn set_format(moov: &mut MoovBox, spec: &VideoSpec, sets: &ParameterSets) -> Result<()> {
    // What is coded: even sides.
    let side = |side: u32| {
        u16::try_from(side.next_multiple_of(2)).map_err(|_| Mp4Error::Boxes {
            box_type: "tkhd",
            reason: format!("a side of {side} pixels has more than 16 bits"),
        })
    };
    let [_, profile, compatibility, level, ..] = sets.sps[..] else {
        return Err(Mp4Error::Boxes {
            box_type: "avcC",
            reason: "the sequence parameter set is too short".to_owned(),
        });
    };
    let trak = &mut moov.traks[0];
    trak.tkhd.set_width(side(spec.width)?);
    trak.tkhd.set_height(side(spec.height)?);

    let avc1 = trak.mdia.minf.stbl.stsd.avc1.insert(Default::default());
    avc1.data_reference_index = 1;
    avc1.width = side(spec.width)?;
    avc1.height = side(spec.height)?;
    avc1.avcc.configuration_version = 1;
    avc1.avcc.avc_profile_indication = profile;
    avc1.avcc.profile_compatibility = compatibility;
    avc1.avcc.avc_level_indication = level;
    avc1.avcc.length_size_minus_one = LENGTH_SIZE as u8 - 1;
    avc1.avcc.sequence_parameter_sets = vec![sets.sps.as_slice().into()];
    avc1.avcc.picture_parameter_sets = vec![sets.pps.as_slice().into()];
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sets() -> ParameterSets {
        ParameterSets {
            sps: vec![0x67, 66, 0xc0, 10, 0],
            pps: vec![0x68, 0],
        }
    }

    /// The payloads of all boxes of this type, found by their names.
    fn find<'a>(bytes: &'a [u8], kind: &[u8]) -> Option<&'a [u8]> {
        let at = bytes.windows(4).position(|name| name == kind)?;
        let size = u32::from_be_bytes(*bytes[at - 4..].first_chunk()?) as usize;
        Some(&bytes[at + 4..at - 4 + size])
    }

    #[test]
    fn files_above_4_gib_have_long_offsets() {
        let spec = VideoSpec::new(16, 16, 24);
        let mut table = SampleTable::default();
        for _ in 0..SAMPLES_PER_CHUNK + 1 {
            table.push(100_000_000, true);
        }
        let moov = table.moov(&spec, &sets(), 48).unwrap();
        assert!(find(&moov, b"stco").is_none());
        let start = 48 + moov.len() as u64;
        let second = start + 100_000_000 * u64::from(SAMPLES_PER_CHUNK);
        let expected = [
            &[0, 0, 0, 0, 0, 0, 0, 2],
            &start.to_be_bytes()[..],
            &second.to_be_bytes(),
        ]
        .concat();
        assert_eq!(find(&moov, b"co64").unwrap(), expected);
    }

    #[test]
    fn times_are_counted_from_1904() {
        assert_eq!(since_1904(UNIX_EPOCH), EPOCH);
        let second = std::time::Duration::from_secs(1);
        assert_eq!(since_1904(UNIX_EPOCH + second), EPOCH + 1);
        assert_eq!(since_1904(UNIX_EPOCH - second), EPOCH - 1);
    }
}
