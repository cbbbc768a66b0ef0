//! Frames of damaged and hostile files.

use std::fs;
use std::io::{Cursor, Read, Seek};
use std::path::Path;
use std::time::{Duration, Instant};

use t2v_mp4::{ReadLimits, Reader, VideoSpec, Writer};

use crate::lies::{Endless, lies};
use crate::{ALONE, memory_to};

/// What the index, a sample and a frame may take, in bytes.
const MOST_MEMORY: usize = 40 << 20;
const FRAMES: u32 = 6;
/// The most of a fixture.
const FRAMES_OF_FIXTURE: usize = 14;

/// A whole file with a keyframe in the middle.
fn clip() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clip.mp4");
    let spec = VideoSpec::new(33, 17, 24).with_keyframe_interval(4);
    let mut writer = Writer::create(&path, spec.clone()).unwrap();
    for time in 0..FRAMES {
        let frame = (0..spec.frame_len() as u32).map(|at| (at / 7 + at % 99 * time) as u8);
        writer.push(&frame.collect::<Vec<_>>()).unwrap();
    }
    writer.finish().unwrap();
    fs::read(&path).unwrap()
}

/// The number of frames that come, each of which has the right size, and whether there was no error.
fn read(source: impl Read + Seek) -> (usize, bool) {
    let limits = ReadLimits::default().with_frames(64).with_side(256);
    let Ok(mut reader) = Reader::new(source, limits) else {
        return (0, false);
    };
    let length = reader.width() as usize * reader.height() as usize * 3;
    let (mut frames, mut whole) = (0, true);
    for frame in &mut reader {
        whole &= frame.is_ok();
        frames += frame.map_or(0, |rgb| usize::from(rgb.len() == length));
    }
    assert!(frames <= 64 && frames + usize::from(!whole) <= reader.frames() as usize);
    (frames, whole)
}

#[test]
fn cut_and_damaged_clips_give_frames_or_an_error() {
    let _alone = ALONE.lock();
    let start = Instant::now();
    let file = clip();
    assert_eq!(read(Cursor::new(&file)), (FRAMES as usize, true));
    let mut most = 0;
    for end in 0..file.len() {
        most = most.max(memory_to(|| assert!(!read(Cursor::new(&file[..end])).1, "{end} bytes")));
    }
    let (mut damaged, mut refused) = (file.clone(), 0);
    for index in 0..file.len() {
        for flip in [1 << (index % 8), 0x80 >> (index % 5), 0xff] {
            damaged[index] = file[index] ^ flip;
            most = most.max(memory_to(|| refused += u32::from(!read(Cursor::new(&damaged)).1)));
        }
        damaged[index] = file[index];
    }
    assert!(refused > 100, "{refused} were refused");
    assert!(most > 0 && most <= MOST_MEMORY, "{most} bytes");
    assert!(start.elapsed() < Duration::from_secs(120), "{:?}", start.elapsed());
}

/// A fixture of another writer.
fn fixture(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)).unwrap()
}

#[test]
fn damaged_clips_with_b_frames_edits_and_fragments_give_frames_or_an_error() {
    let _alone = ALONE.lock();
    let (start, mut most) = (Instant::now(), 0);
    for name in ["trimmed.mp4", "fragmented_base.mp4", "fragmented_audio.mp4"] {
        let file = fixture(name);
        assert!(read(Cursor::new(&file)).1, "{name}");
        let (mut damaged, mut refused) = (file.clone(), 0);
        for index in 0..file.len() {
            damaged[index] = file[index] ^ [1 << (index % 8), 0xff][index % 2];
            most = most.max(memory_to(|| refused += u32::from(!read(Cursor::new(&damaged)).1)));
            damaged[index] = file[index];
        }
        assert!(refused > 100, "{name}: {refused} were refused");
        for end in (0..file.len()).step_by(7) {
            most = most.max(memory_to(|| {
                assert!(read(Cursor::new(&file[..end])).0 <= FRAMES_OF_FIXTURE)
            }));
        }
    }
    assert!(most > 0 && most <= MOST_MEMORY, "{most} bytes");
    assert!(start.elapsed() < Duration::from_secs(120), "{:?}", start.elapsed());
}

/// A number of 32 bits in a box's payload, in place of which a lie is told.
fn with(file: &[u8], kind: &[u8; 4], at: usize, lie: u32) -> Vec<u8> {
    let payload = file.windows(4).position(|name| name == kind).unwrap() + 4;
    let mut file = file.to_vec();
    file[payload + at..payload + at + 4].copy_from_slice(&lie.to_be_bytes());
    file
}

#[test]
fn lies_about_order_edits_and_fragments_are_found() {
    let _alone = ALONE.lock();
    let (edited, fragmented) = (fixture("trimmed.mp4"), fixture("fragmented_base.mp4"));
    let fragments = fragmented.windows(4).position(|name| name == b"moof").unwrap() - 4;
    let lies = [
        // Counts of entries, and one more sample than there are.
        with(&edited, b"ctts", 4, u32::MAX),
        with(&edited, b"ctts", 4, 1),
        with(&edited, b"stts", 8, 3),
        with(&edited, b"elst", 4, u32::MAX),
        // An edit after the end, and one at no speed.
        with(&edited, b"elst", 12, i32::MAX.cast_unsigned()),
        with(&edited, b"elst", 16, 0),
        // Time stands still.
        with(&edited, b"mdhd", 12, 0),
        // Samples: so many, of such a size, beyond the file, and before it.
        with(&fragmented, b"trun", 4, u32::MAX),
        with(&fragmented, b"trun", 0, 0),
        with(&fragmented, b"trun", 8, i32::MAX.cast_unsigned()),
        with(&fragmented, b"trun", 8, i32::MIN.cast_unsigned()),
        with(&fragmented, b"tfhd", 8, u32::MAX),
        // Fragments without end, of no samples and of no size.
        [&fragmented[..fragments], &b"\0\0\0\x08moof".repeat(1 << 16)].concat(),
        [&fragmented[..fragments], &u32::MAX.to_be_bytes(), b"moof"].concat(),
        fragmented[..fragments].to_vec(),
    ];
    for (number, lie) in lies.into_iter().enumerate() {
        let mut result = (0, true);
        let memory = memory_to(|| result = read(Cursor::new(&lie)));
        assert!(!result.1, "lie {number}: {} frames", result.0);
        assert!(memory <= MOST_MEMORY, "lie {number}: {memory} bytes");
    }
    assert!(read(Cursor::new(fragmented)).1 && read(Cursor::new(edited)).1);
}

#[test]
fn no_lie_takes_much_memory_or_time() {
    let _alone = ALONE.lock();
    let start = Instant::now();
    let mut most = 0;
    for lie in lies() {
        most = most.max(memory_to(|| assert_eq!(read(Cursor::new(lie)), (0, false))));
    }
    most = most.max(memory_to(|| assert_eq!(read(Endless(0)), (0, false))));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    for entry in fs::read_dir(folder.join("tests/fixtures")).unwrap() {
        let file = fs::read(entry.unwrap().path()).unwrap();
        for at in 0..file.len() - 4 {
            // A number that is too large, in the place of each.
            let mut lie = file.clone();
            lie[at..at + 4].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff]);
            most = most.max(memory_to(|| drop(Reader::new(Cursor::new(lie), ReadLimits::default()))));
        }
    }
    assert!(most > 0 && most <= MOST_MEMORY, "{most} bytes");
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
}
