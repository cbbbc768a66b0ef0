//! Frames come back as they went in, from this crate's files and from those of x264.

use std::io::Cursor;
use std::ops::Range;
use std::path::PathBuf;

use t2v_mp4::{Clip, Colour, FrameRate, Mp4Error, OutputFormat, ReadLimits, Reader, VideoSpec, read_frames};

use crate::boxes::Movie;
use crate::clip::{decode, flat, noise, psnr, smooth, to_memory, write};

/// Writes a clip and reads it back.
fn round_trip(spec: &VideoSpec, count: u32, picture: impl Fn(&VideoSpec, u32) -> Vec<u8>) -> Clip {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clip.mp4");
    let mut writer = t2v_mp4::Writer::create(&path, spec.clone()).unwrap();
    for time in 0..count {
        writer.push(&picture(spec, time)).unwrap();
    }
    writer.finish().unwrap();
    let clip = read_frames(&path, ReadLimits::default()).unwrap();
    assert_eq!((clip.width, clip.height), (spec.width, spec.height));
    assert_eq!(clip.frame_rate, spec.frame_rate);
    assert_eq!(clip.frames.len(), count as usize);
    clip
}

/// The worst frame's PSNR in dB.
fn worst(clip: &Clip, spec: &VideoSpec) -> f64 {
    let frames = clip.frames.iter().zip(0..);
    let each = frames.map(|(frame, time)| psnr(frame, &smooth(spec, time)));
    each.fold(f64::INFINITY, f64::min)
}

#[test]
fn clips_of_any_size_come_back() {
    for (width, height) in [(16, 16), (64, 48), (66, 34), (17, 16), (16, 17), (33, 35), (161, 99)] {
        for colour in [Colour::Bt709, Colour::Bt709Full] {
            let spec = VideoSpec::new(width, height, FrameRate::new(24_000, 1001)).with_colour(colour);
            let worst = worst(&round_trip(&spec, 12, smooth), &spec);
            assert!(worst > 40.0, "{width}x{height} in {colour:?}: {worst} dB");
        }
    }
}

#[test]
fn long_clips_of_any_rate_come_back() {
    for rate in [FrameRate::from(1), FrameRate::new(15, 2), FrameRate::from(120)] {
        let spec = VideoSpec::new(32, 32, rate).with_keyframe_interval(7);
        let worst = worst(&round_trip(&spec, 128, smooth), &spec);
        assert!(worst > 38.0, "{rate}: {worst} dB");
    }
    round_trip(&VideoSpec::new(32, 32, 24), 1, smooth);
}

#[test]
fn noise_of_the_highest_quality_comes_back() {
    // Its samples are the largest that there are.
    let spec = VideoSpec::new(128, 64, 24).with_quality(100);
    round_trip(&spec, 4, noise);
}

#[test]
fn flat_colours_come_back_within_two_steps() {
    let spec = VideoSpec::new(32, 32, 24);
    for colour in [
        [0; 3],
        [255; 3],
        [255, 0, 0],
        [0, 255, 0],
        [0, 0, 255],
        [128; 3],
        [9, 200, 77],
    ] {
        for frame in round_trip(&spec, 2, |spec, _| flat(spec, colour)).frames {
            for (actual, expected) in frame.into_iter().zip(flat(&spec, colour)) {
                assert!(actual.abs_diff(expected) <= 2, "{actual} for {colour:?}");
            }
        }
    }
}

#[test]
fn decoded_pixels_are_rounded_as_by_the_formulas() {
    for colour in [Colour::Bt709, Colour::Bt709Full] {
        let spec = VideoSpec::new(66, 34, 24).with_colour(colour);
        let file = to_memory(OutputFormat::Mp4, &spec, 3, noise);
        let reader = Reader::new(Cursor::new(&file), ReadLimits::default()).unwrap();
        let pictures = decode(&Movie::parse(file.clone()));
        assert_eq!(pictures.len(), 3);
        for (frame, picture) in reader.zip(pictures) {
            assert!(
                frame.unwrap() == picture.to_rgb_in(colour == Colour::Bt709Full),
                "{colour:?}"
            );
        }
    }
}

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

/// Reads a fixture whose frames are those of the clip at these times.
fn read_fixture(name: &str, times: Range<u32>) -> Clip {
    let clip = read_frames(fixture(name), ReadLimits::default()).unwrap();
    let spec = VideoSpec::new(64, 48, 24);
    assert_eq!(
        (clip.width, clip.height, clip.frames.len()),
        (64, 48, times.len()),
        "{name}"
    );
    for (frame, time) in clip.frames.iter().zip(times) {
        // The frames beside it have 33 dB.
        let quality = psnr(frame, &smooth(&spec, time));
        assert!(quality > 40.0, "{name}, frame {time}: {quality} dB");
    }
    clip
}

#[test]
fn files_of_x264_are_read() {
    for (name, times) in [
        ("baseline.mp4", 0..6),
        ("main_601_full_centre.mp4", 0..6),
        ("high_topleft_audio.mp4", 0..6),
        ("main_b_frames.mp4", 0..6),
        ("high_b_pyramid.mp4", 0..12),
        ("main_slices_cavlc.mp4", 0..9),
        ("high_open_gop.mp4", 0..14),
        ("quicktime.mov", 0..8),
        ("fragmented_base.mp4", 0..9),
        ("negative_offsets.mp4", 0..8),
        ("trimmed.mp4", 5..12),
    ] {
        let clip = read_fixture(name, times);
        assert_eq!(clip.frame_rate, FrameRate::new(24_000, 1001), "{name}");
    }
}

#[test]
fn frames_of_uneven_duration_come_once_each_at_their_mean_rate() {
    // The third, sixth, … frame lasts twice as long: 8 intervals in 10 units.
    let clip = read_fixture("uneven.mp4", 0..9);
    assert_eq!(clip.frame_rate, FrameRate::new(8 * 24_000, 10 * 1001));
    // The first frame of this one lasts 2071 units rather than 1001.
    let clip = read_fixture("fragmented_audio.mp4", 0..9);
    assert_eq!(clip.frame_rate, FrameRate::new(8 * 24_000, 7 * 1001 + 2071));
}

#[test]
fn turned_pictures_come_back_upright() {
    let clip = read_frames(fixture("turned.mp4"), ReadLimits::default()).unwrap();
    assert_eq!((clip.width, clip.height, clip.frames.len()), (48, 64, 12));
    for (frame, time) in clip.frames.iter().zip(0..) {
        let lying = smooth(&VideoSpec::new(64, 48, 24), time);
        let (pixels, _) = lying.as_chunks::<3>();
        // Anticlockwise: the first row is the last column.
        let turned = (0..64).flat_map(|y| (0..48).flat_map(move |x| pixels[x * 64 + 63 - y]));
        let quality = psnr(frame, &turned.collect::<Vec<u8>>());
        assert!(quality > 40.0, "frame {time}: {quality} dB");
    }
}

/// The sentence about what is not supported in a file.
fn refusal(file: Vec<u8>) -> String {
    match Reader::new(Cursor::new(file), ReadLimits::default()) {
        Err(error @ Mp4Error::Unsupported { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

/// The decoder's sums of large coefficients are too small for them.
#[test]
fn scaling_matrices_are_refused() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/high_matrices.mp4");
    let message = refusal(std::fs::read(path).unwrap());
    assert!(
        message.contains("scaling matrices") && message.contains("`ffmpeg -i "),
        "{message}"
    );
}

#[test]
fn other_kinds_are_refused_in_a_sentence() {
    let file = to_memory(OutputFormat::Mp4, &VideoSpec::new(16, 16, 24), 2, smooth);
    let with = |old: &[u8; 4], new: &[u8; 4]| {
        // The last one, as `avc1` is a brand as well.
        let at = file.windows(4).rposition(|name| name == old).unwrap();
        refusal([&file[..at], new, &file[at + 4..]].concat())
    };
    let hevc = with(b"avc1", b"hvc1");
    assert!(hevc.contains("HEVC (H.265)") && hevc.contains("`ffmpeg -i "), "{hevc}");
    let encrypted = with(b"avc1", b"encv");
    assert!(
        encrypted.contains("must be decrypted") && !encrypted.contains("ffmpeg"),
        "{encrypted}"
    );
    assert!(with(b"vide", b"soun").contains("no video track"));
    let mut skewed = file.clone();
    let matrix = skewed.windows(4).position(|name| name == b"tkhd").unwrap() + 4 + 40;
    skewed[matrix + 7] = 1;
    assert!(refusal(skewed).contains("skewed"));
}

#[test]
fn a_video_that_starts_in_the_middle_is_refused() {
    let mut file = to_memory(OutputFormat::Mp4, &VideoSpec::new(16, 16, 24), 2, smooth);
    let first = file.windows(4).rposition(|name| name == b"mdat").unwrap() + 4;
    // Length, then the header of a slice of a keyframe, which becomes one of another picture.
    assert_eq!(file[first + 4] & 0x1f, 5);
    file[first + 4] -= 4;
    let mut reader = Reader::new(Cursor::new(file), ReadLimits::default()).unwrap();
    let error = reader.next().unwrap().unwrap_err().to_string();
    assert!(error.contains("does not start with a keyframe"), "{error}");
    assert!(reader.next().is_none());
}

#[test]
fn limits_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clip.mp4");
    write(&path, &VideoSpec::new(34, 18, 24), 5, smooth);
    let exact = ReadLimits::default()
        .with_frames(5)
        .with_side(34)
        .with_bytes(5 * 34 * 18 * 3);
    assert_eq!(read_frames(&path, exact).unwrap().frames.len(), 5);
    let refusals = [
        (exact.with_frames(4), "5 frames, and at most 4 are allowed"),
        (exact.with_side(33), "34 pixels in a side"),
        (exact.with_bytes(5 * 34 * 18 * 3 - 1), "9180 bytes of pixels"),
    ];
    for (limits, expected) in refusals {
        let error = read_frames(&path, limits).unwrap_err();
        assert!(matches!(error, Mp4Error::ReadLimit { .. }));
        let sentence = error.to_string();
        assert!(
            sentence.contains(expected) && sentence.contains("clip.mp4\" -"),
            "{sentence}"
        );
    }
}

#[test]
fn frames_before_the_damage_are_read() {
    let spec = VideoSpec::new(64, 48, 24);
    let file = to_memory(OutputFormat::Mp4, &spec, 5, smooth);
    let mut cut = file.clone();
    let end = cut.len();
    // The last sample becomes one of nothing but padding.
    let last = file
        .windows(4)
        .rposition(|bytes| bytes[0] == 0 && bytes[1] == 0)
        .unwrap();
    cut[last.min(end - 5) + 4] = 0x0c;
    let mut reader = Reader::new(Cursor::new(cut), ReadLimits::default()).unwrap();
    assert_eq!((reader.width(), reader.height(), reader.frames()), (64, 48, 5));
    let read: Vec<_> = reader.by_ref().collect();
    assert_eq!(read.iter().filter(|frame| frame.is_ok()).count(), 4);
    let error = read.into_iter().find_map(Result::err).unwrap();
    assert!(matches!(error, Mp4Error::Decoder { frame: 4, .. }), "{error}");
    assert!(reader.next().is_none());
}
