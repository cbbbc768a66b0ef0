//! Damaged and hostile files: an error or a value, never a panic, a loop without end, or much memory.

#![allow(clippy::unwrap_used)]

mod frames;
mod lies;

use std::fs;
use std::io::{Cursor, Read, Seek};
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use lies::{Endless, lies};
use peak_alloc::PeakAlloc;
use t2v_mp4::{Metadata, VideoSpec, Writer, read_metadata_from};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// One test at a time, since the memory of all threads is counted.
static ALONE: Mutex<()> = Mutex::new(());

/// What reading may take, in bytes.
const MOST_MEMORY: usize = 16 << 20;

/// A whole file with metadata and few samples.
fn small_file() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("small.mp4");
    let metadata = Metadata::new().with_prompt("a red ball").with_seed(7);
    let spec = VideoSpec::new(16, 16, 24).with_metadata(metadata);
    let mut writer = Writer::create(&path, spec.clone()).unwrap();
    writer.push(&vec![99; spec.frame_len()]).unwrap();
    writer.finish().unwrap();
    fs::read(&path).unwrap()
}

/// Reads, and returns the bytes of memory that it took beside the file.
fn memory_to_read(reader: impl Read + Seek) -> usize {
    memory_to(|| drop(read_metadata_from(reader)))
}

/// The bytes of memory that something takes.
fn memory_to(act: impl FnOnce()) -> usize {
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    act();
    ALLOCATOR.peak_usage().saturating_sub(before)
}

#[test]
fn no_file_takes_much_memory_or_time() {
    let _alone = ALONE.lock();
    let start = Instant::now();
    let file = small_file();
    assert_eq!(read_metadata_from(Cursor::new(&file)).unwrap().get("seed"), Some("7"));
    let mut most = 0;
    for end in 0..file.len() {
        most = most.max(memory_to_read(Cursor::new(&file[..end])));
    }
    let mut damaged = file.clone();
    for index in 0..file.len() {
        for flip in 1..=255 {
            damaged[index] = file[index] ^ flip;
            most = most.max(memory_to_read(Cursor::new(&damaged)));
        }
        damaged[index] = file[index];
    }
    for lie in lies() {
        most = most.max(memory_to_read(Cursor::new(lie)));
    }
    most = most.max(memory_to_read(Endless(0)));
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/read_metadata");
    let mut seeds = 0;
    for entry in fs::read_dir(corpus).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        most = most.max(memory_to_read(Cursor::new(bytes)));
        seeds += 1;
    }
    assert!(seeds >= 8, "{seeds} files of the corpus");
    assert!(most > 0 && most <= MOST_MEMORY, "{most} bytes");
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
}
