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
