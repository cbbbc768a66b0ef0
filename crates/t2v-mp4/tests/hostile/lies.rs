//! Files that are not what they say.

use std::io::{self, Read, Seek, SeekFrom};

fn boxed(size: u32, kind: &[u8; 4], payload: &[u8]) -> Vec<u8> {
    [&size.to_be_bytes()[..], kind, payload].concat()
}

/// Small files that claim to be large, and large ones of nothing but boxes.
pub(crate) fn lies() -> Vec<Vec<u8>> {
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
pub(crate) struct Endless(pub(crate) u64);

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
