//! What another program's parser, `mp4-atom`, makes of the files.

use std::io::Cursor;
use std::time::{Duration, UNIX_EPOCH};

use mp4_atom::{Codec, Encode, FourCC, Ftyp, Header, Moov, ReadAtom, ReadFrom, StszSamples};
use proptest::prelude::*;
use t2v_mp4::{Colour, FrameRate, Metadata, OutputFormat, VideoSpec, Writer};

use crate::clip::{decode, psnr, smooth, to_memory};

const RATES: [(u32, u32); 12] = [
    (1, 1),
    (8, 1),
    (10, 1),
    (12, 1),
    (15, 2),
    (24_000, 1001),
    (24, 1),
    (25, 1),
    (30_000, 1001),
    (48, 1),
    (60_000, 1001),
    (120, 1),
];

/// A sample: where it is, when it is shown, and whether decoding can start with it.
#[derive(Debug, PartialEq)]
struct Sample {
    offset: u64,
    size: u64,
    time: u64,
    duration: u64,
    is_sync: bool,
}

struct Demuxed {
    moov: Moov,
    samples: Vec<Sample>,
    mdat: std::ops::Range<u64>,
}

impl Demuxed {
    fn new(bytes: &[u8]) -> Self {
        let mut reader = Cursor::new(bytes);
        let ftyp = Header::read_from(&mut reader).unwrap();
        assert_eq!(
            Ftyp::read_atom(&ftyp, &mut reader).unwrap().major_brand,
            FourCC::new(b"isom")
        );
        let header = Header::read_from(&mut reader).unwrap();
        let moov = Moov::read_atom(&header, &mut reader).unwrap();
        let header = Header::read_from(&mut reader).unwrap();
        assert_eq!(header.kind, FourCC::new(b"mdat"));
        let start = reader.position();
        let mdat = start..start + header.size.unwrap() as u64;
        assert_eq!(mdat.end, bytes.len() as u64, "nothing follows");
        let samples = samples(&moov);
        Self { moov, samples, mdat }
    }
}

fn samples(moov: &Moov) -> Vec<Sample> {
    let stbl = &moov.trak[0].mdia.minf.stbl;
    let StszSamples::Different { sizes } = &stbl.stsz.samples else {
        panic!("all sizes are the same");
    };
    let offsets = &stbl.stco.as_ref().unwrap().entries;
    let durations = stbl.stts.entries.iter();
    let mut durations = durations.flat_map(|run| (0..run.sample_count).map(|_| u64::from(run.sample_delta)));
    let (mut samples, mut time) = (Vec::new(), 0);
    for (chunk, &offset) in (1..).zip(offsets) {
        let run = stbl.stsc.entries.iter().rfind(|run| run.first_chunk <= chunk).unwrap();
        let mut offset = u64::from(offset);
        for _ in 0..run.samples_per_chunk {
            let (size, duration) = (u64::from(sizes[samples.len()]), durations.next().unwrap());
            let number = samples.len() as u32 + 1;
            let is_sync = stbl.stss.as_ref().unwrap().entries.contains(&number);
            samples.push(Sample {
                offset,
                size,
                time,
                duration,
                is_sync,
            });
            offset += size;
            time += duration;
        }
    }
    assert_eq!(
        (samples.len(), durations.next()),
        (sizes.len(), None),
        "the tables agree"
    );
    samples
}

/// Writes, demuxes, and checks all that must hold of any video.
fn check(spec: &VideoSpec, count: u32) -> Demuxed {
    let bytes = to_memory(OutputFormat::Mp4, spec, count, smooth);
    let file = Demuxed::new(&bytes);
    assert_eq!(file.samples.len(), count as usize, "as many frames as were pushed");
    assert_eq!(file.samples[0].offset, file.mdat.start);
    assert!(file.samples.is_sorted_by(|a, b| a.offset + a.size == b.offset));
    let last = &file.samples[count as usize - 1];
    assert_eq!(last.offset + last.size, file.mdat.end);
    assert!(file.samples[0].is_sync);

    let (mvhd, trak) = (&file.moov.mvhd, &file.moov.trak[0]);
    let timescale = u64::from(mvhd.timescale);
    assert_eq!(trak.mdia.mdhd.timescale, mvhd.timescale);
    let total = last.time + last.duration;
    assert_eq!([mvhd.duration, trak.tkhd.duration, trak.mdia.mdhd.duration], [total; 3]);
    for (index, sample) in (0u64..).zip(&file.samples) {
        // time / timescale == index * den / num
        let (num, den) = (u64::from(spec.frame_rate.num()), u64::from(spec.frame_rate.den()));
        assert_eq!(sample.time * num, index * den * timescale, "frame {index}");
        assert_eq!(sample.duration * num, den * timescale, "frame {index}");
    }
    assert!(trak.edts.is_none(), "the first frame is shown at 0");
    file
}

#[test]
fn timestamps_are_exact_at_twelve_rates() {
    for (num, den) in RATES {
        let spec = VideoSpec::new(32, 16, FrameRate::new(num, den));
        check(&spec, 61);
    }
}

#[test]
fn the_sample_entry_says_what_the_spec_says() {
    let spec = VideoSpec::new(34, 50, 24);
    let file = check(&spec, 3);
    let [Codec::Avc1(avc1)] = &file.moov.trak[0].mdia.minf.stbl.stsd.codecs[..] else {
        panic!("no avc1");
    };
    assert_eq!((avc1.visual.width, avc1.visual.height), (34, 50));
    assert_eq!(avc1.avcc.length_size, 4);
    assert_eq!(avc1.avcc.avc_profile_indication, 66);
    let pasp = avc1.pasp.as_ref().unwrap();
    assert_eq!((pasp.h_spacing, pasp.v_spacing), (1, 1));
    let colr = |spec: &VideoSpec| {
        let bytes = to_memory(OutputFormat::Mp4, spec, 1, smooth);
        let at = bytes.windows(4).position(|kind| kind == b"colr").unwrap();
        bytes[at + 4..at + 15].to_vec()
    };
    assert_eq!(colr(&spec), b"nclx\0\x01\0\x01\0\x01\0");
    assert_eq!(
        colr(&spec.clone().with_colour(Colour::Bt709Full)),
        b"nclx\0\x01\0\x01\0\x01\x80"
    );
}

#[test]
fn creation_times_are_kept_where_they_are_given() {
    let spec = VideoSpec::new(16, 16, 24);
    assert_eq!(check(&spec, 1).moov.mvhd.creation_time, 0);
    let created = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let file = check(&spec.with_created(created), 1);
    let expected = 1_700_000_000 + 2_082_844_800;
    assert_eq!(file.moov.mvhd.creation_time, expected);
    assert_eq!(file.moov.trak[0].tkhd.creation_time, expected);
    assert_eq!(file.moov.trak[0].mdia.mdhd.creation_time, expected);
}

#[test]
fn metadata_boxes_survive_another_reader() {
    let metadata = Metadata::new().with_prompt("a red ball").with_seed(7);
    let file = check(&VideoSpec::new(16, 16, 24).with_metadata(metadata), 1);
    let meta = file.moov.meta.unwrap();
    assert_eq!(meta.hdlr.handler, FourCC::new(b"mdta"));
    let mut bytes = Vec::new();
    meta.encode(&mut bytes).unwrap();
    for text in ["prompt", "a red ball", "seed", "7"] {
        let found = bytes.windows(text.len()).any(|window| window == text.as_bytes());
        assert!(found, "{text}");
    }
    assert!(file.moov.udta.unwrap().meta.is_some());
}

#[test]
fn keyframes_come_as_often_as_asked() {
    for interval in [1, 2, 5, 30] {
        let spec = VideoSpec::new(32, 32, 24).with_keyframe_interval(interval);
        let file = check(&spec, 31);
        let sync: Vec<usize> = (0..31).filter(|&index| file.samples[index].is_sync).collect();
        let expected: Vec<usize> = (0..31).step_by(interval as usize).collect();
        assert_eq!(sync, expected, "every {interval}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_size_rate_and_length_is_right(
        (width, height) in (16u32..257, 16u32..257),
        (num, den) in (1u32..100_000, 1u32..5_000),
        count in 1u32..200,
        full_range in any::<bool>(),
    ) {
        let colour = if full_range { Colour::Bt709Full } else { Colour::Bt709 };
        let spec = VideoSpec::new(width, height, FrameRate::new(num, den)).with_colour(colour);
        // Large and long at once takes too long.
        let count = count.min(1 + 2_000_000 / (width * height));
        let file = check(&spec, count);
        let visual = file.moov.trak[0].mdia.minf.stbl.stsd.codecs[0].visual().unwrap();
        let coded = (width.next_multiple_of(2), height.next_multiple_of(2));
        prop_assert_eq!((u32::from(visual.width), u32::from(visual.height)), coded);

        let bytes = to_memory(OutputFormat::Mp4, &spec, count.min(3), smooth);
        let movie = crate::boxes::Movie::parse(bytes);
        for (time, picture) in (0..).zip(decode(&movie)) {
            let rgb = picture.to_rgb_in(full_range);
            let shown = crop(&rgb, coded.0, width, height);
            let quality = psnr(&shown, &smooth(&spec, time));
            prop_assert!(quality > 40.0, "{}x{}, frame {}: {} dB", width, height, time, quality);
        }
    }
}

/// The upper left part of a picture.
fn crop(rgb: &[u8], stride: u32, width: u32, height: u32) -> Vec<u8> {
    let rows = rgb.chunks_exact(stride as usize * 3).take(height as usize);
    rows.flat_map(|row| row[..width as usize * 3].to_vec()).collect()
}

#[test]
fn odd_sizes_have_a_clean_aperture() {
    let clap = |width, height| {
        let bytes = to_memory(OutputFormat::Mp4, &VideoSpec::new(width, height, 24), 1, smooth);
        let at = bytes.windows(4).position(|kind| kind == b"clap")?;
        let numbers = bytes[at + 4..at + 36].chunks_exact(4);
        Some(
            numbers
                .map(|n| i32::from_be_bytes(n.try_into().unwrap()))
                .collect::<Vec<_>>(),
        )
    };
    assert_eq!(clap(16, 18), None);
    assert_eq!(clap(17, 19), Some(vec![17, 1, 19, 1, -1, 2, -1, 2]));
    assert_eq!(clap(16, 19), Some(vec![16, 1, 19, 1, 0, 2, -1, 2]));
}

#[test]
fn the_file_in_memory_is_the_file_on_disk() {
    let spec = VideoSpec::new(48, 32, 24);
    let path = tempfile::tempdir().unwrap();
    let path = path.path().join("clip.mp4");
    let on_disk = crate::clip::write(&path, &spec, 5, smooth).bytes;
    assert!(to_memory(OutputFormat::Mp4, &spec, 5, smooth) == on_disk);
}

#[test]
fn floats_are_rounded_and_clamped() {
    let spec = VideoSpec::new(16, 16, 24);
    let encode = |push: &dyn Fn(&mut Writer)| {
        let memory = crate::clip::Memory::default();
        let mut writer = Writer::stream(OutputFormat::Mp4, memory.clone(), spec.clone()).unwrap();
        push(&mut writer);
        writer.finish().unwrap();
        memory.into_bytes()
    };
    let values = [
        (-1.0, 0),
        (0.0, 0),
        (0.5, 128),
        (1.0, 255),
        (f32::INFINITY, 255),
        (f32::NAN, 0),
    ];
    let floats: Vec<f32> = (0..768).map(|index| values[index / 3 % 6].0).collect();
    let bytes: Vec<u8> = (0..768).map(|index| values[index / 3 % 6].1).collect();
    let from_floats = encode(&|writer| writer.push_f32(&floats).unwrap());
    assert!(from_floats == encode(&|writer| writer.push(&bytes).unwrap()));
}
