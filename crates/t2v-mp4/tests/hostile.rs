//! Damaged and hostile files: an error or a value, never a panic, a loop without end, or much memory.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::path::Path;
use std::time::{Duration, Instant};

use peak_alloc::PeakAlloc;
use t2v_mp4::{Metadata, VideoSpec, Writer, read_metadata_from};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

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
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    let _ = read_metadata_from(reader);
    ALLOCATOR.peak_usage().saturating_sub(before)
}

/// One test, since the memory of all threads is counted.
#[test]
fn no_file_takes_much_memory_or_time() {
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

fn boxed(size: u32, kind: &[u8; 4], payload: &[u8]) -> Vec<u8> {
    [&size.to_be_bytes()[..], kind, payload].concat()
}

/// Small files that claim to be large, and large ones of nothing but boxes.
fn lies() -> Vec<Vec<u8>> {
    let huge = [b"\0\0\0\x01moov".as_slice(), &u64::MAX.to_be_bytes()].concat();
    let keys = [&[0; 4][..], &u32::MAX.to_be_bytes()].concat();
    let many_keys = boxed(16, b"keys", &keys);
    let meta = boxed(4 + 8 + 16, b"meta", &[&[0; 4][..], &many_keys].concat());
    let empty_keys = boxed(8, b"mdta", b"").repeat(400_000);
    let keys = boxed(
        empty_keys.len() as u32 + 16,
        b"keys",
        &[&[0; 8][..], &empty_keys].concat(),
    );
    let ilst = boxed(8, b"ilst", b"");
    let size = (keys.len() + ilst.len() + 12) as u32;
    let wide = boxed(size, b"meta", &[&[0; 4][..], &keys, &ilst].concat());
    vec![
        huge,
        boxed(0, b"moov", &meta),
        boxed(0, b"moov", &wide),
        boxed(0, b"moov", &boxed(0, b"meta", &[0; 5 << 20])),
        boxed(8, b"free", b"").repeat(1 << 18),
        boxed(0, b"moov", b"").repeat(3),
    ]
}

/// A file of 2^62 bytes, all empty boxes.
struct Endless(u64);

impl Read for Endless {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        for byte in bytes.iter_mut() {
            *byte = b"\0\0\0\x08free"[(self.0 % 8) as usize];
            self.0 += 1;
        }
        Ok(bytes.len())
    }
}

impl Seek for Endless {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0 = match to {
            SeekFrom::Start(position) => position,
            SeekFrom::End(_) => 1 << 62,
            SeekFrom::Current(by) => self.0.saturating_add_signed(by),
        };
        Ok(self.0)
    }
}
