//! The index of the samples and the `moov` box made from it.
//!
//! `mp4` has the boxes. Its own writer is not used, since it buffers a second of video at a time
//! and leaves `next_track_ID`, the flags of `vmhd` and the reserved volume wrong.

use mp4::{FixedPointU8, FourCC, MoovBox, WriteBox};

use crate::bitstream::{LENGTH_SIZE, ParameterSets};
use crate::error::{Mp4Error, Result};
use crate::spec::{TimeBase, VideoSpec};

/// Samples are grouped into chunks for the index only: they follow one another in the file.
const SAMPLES_PER_CHUNK: u32 = 48;

const TRACK_ID: u32 = 1;
/// The track is enabled, and used in the presentation.
const TRACK_FLAGS: u32 = 0b11;

/// The way to the sample entry: box types, and the bytes between header and first child.
const SAMPLE_ENTRY: [([u8; 4], usize); 7] = [
    (*b"moov", 0),
    (*b"trak", 0),
    (*b"mdia", 0),
    (*b"minf", 0),
    (*b"stbl", 0),
    (*b"stsd", 8),
    (*b"avc1", 78),
];

/// ISO/IEC 14496-12 12.1.5: BT.709 primaries, transfer and matrix, limited range.
const COLR: [u8; 19] = *b"\0\0\0\x13colrnclx\0\x01\0\x01\0\x01\0";

/// Where each sample is.
#[derive(Debug, Default)]
pub(crate) struct SampleTable {
    sizes: Vec<u32>,
    /// Numbers of the samples at which decoding can start, from 1.
    sync: Vec<u32>,
    chunk_offsets: Vec<u64>,
}

impl SampleTable {
    /// The number of samples.
    pub(crate) fn len(&self) -> u32 {
        u32::try_from(self.sizes.len()).unwrap_or(u32::MAX)
    }

    /// Adds a sample that starts at `offset` in the file, right after the one before.
    pub(crate) fn push(&mut self, offset: u64, size: u32, is_sync: bool) {
        if self.len().is_multiple_of(SAMPLES_PER_CHUNK) {
            self.chunk_offsets.push(offset);
        }
        self.sizes.push(size);
        if is_sync {
            self.sync.push(self.len());
        }
    }

    /// The whole `moov` box. There must be a sample.
    pub(crate) fn moov(&self, spec: &VideoSpec, sets: &ParameterSets) -> Result<Vec<u8>> {
        let mut moov = MoovBox::default();
        // The types of the boxes inside cannot be named, but they can be made.
        moov.traks.push(Default::default());
        self.set_times(&mut moov, spec.frame_rate.time_base());
        self.set_media(&mut moov);
        set_format(&mut moov, spec, sets)?;
        self.set_samples(&mut moov);

        let mut bytes = Vec::new();
        moov.write_box(&mut bytes).map_err(|error| Mp4Error::Boxes {
            box_type: "moov",
            reason: error.to_string(),
        })?;
        append_child(&mut bytes, &SAMPLE_ENTRY, &COLR)?;
        Ok(bytes)
    }

    /// Movie, track and media share one timescale, so that all durations are exact.
    fn set_times(&self, moov: &mut MoovBox, time: TimeBase) {
        let duration = u64::from(self.len()) * u64::from(time.frame_duration);
        let version = u8::from(duration > u64::from(u32::MAX));
        let (mvhd, trak) = (&mut moov.mvhd, &mut moov.traks[0]);
        (mvhd.version, mvhd.timescale, mvhd.duration) = (version, time.timescale, duration);
        (trak.tkhd.version, trak.tkhd.duration) = (version, duration);
        let mdhd = &mut trak.mdia.mdhd;
        (mdhd.version, mdhd.timescale, mdhd.duration) = (version, time.timescale, duration);

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

        let short = |&offset: &u64| u32::try_from(offset).ok();
        match self.chunk_offsets.iter().map(short).collect() {
            Some(offsets) => stbl.stco.insert(Default::default()).entries = offsets,
            None => stbl.co64.insert(Default::default()).entries = self.chunk_offsets.clone(),
        }
    }
}

/// The picture's size, in track and sample entry, and `avcC`.
fn set_format(moov: &mut MoovBox, spec: &VideoSpec, sets: &ParameterSets) -> Result<()> {
    let side = |side: u32| {
        u16::try_from(side).map_err(|_| Mp4Error::Size {
            width: spec.width,
            height: spec.height,
            reason: "a side has more than 16 bits",
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

/// Adds a box that `mp4` lacks as the last child of the box that `way` leads to.
fn append_child(tree: &mut Vec<u8>, way: &[([u8; 4], usize)], child: &[u8]) -> Result<()> {
    let missing = || Mp4Error::Boxes {
        box_type: "moov",
        reason: "a box inside is missing or too large".to_owned(),
    };
    let mut headers = Vec::new();
    let (mut position, mut end) = (0, tree.len());
    for &(box_type, before_children) in way {
        let size = loop {
            let header = tree[position..end].first_chunk::<8>().ok_or_else(missing)?;
            let [size @ .., _, _, _, _] = *header;
            let size = u32::from_be_bytes(size) as usize;
            if size < 8 || size > end - position {
                return Err(missing());
            }
            if header[4..] == box_type {
                break size;
            }
            position += size;
        };
        headers.push((position, size));
        end = position + size;
        position = (position + 8 + before_children).min(end);
    }
    for (position, size) in headers {
        let size = u32::try_from(size + child.len()).map_err(|_| missing())?;
        tree[position..position + 4].copy_from_slice(&size.to_be_bytes());
    }
    tree.splice(end..end, child.iter().copied());
    Ok(())
}
