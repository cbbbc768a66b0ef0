//! The boxes of a file that may be anything: all sizes are checked, all loops end.

use std::io::{Read, Seek, SeekFrom};

use crate::fault::Fault;

/// The most boxes that are looked at beside one another in a file.
pub(crate) const MAX_BOXES: usize = 4096;

/// A box in a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found {
    /// Where its header starts.
    pub(crate) start: u64,
    /// Start and end of what is in it.
    pub(crate) payload: (u64, u64),
}

/// Goes over the boxes of a file, beside one another.
#[derive(Debug)]
pub(crate) struct Walk {
    position: u64,
    end: u64,
    left: usize,
}

impl Walk {
    /// Over a whole file of this length.
    pub(crate) fn new(length: u64) -> Self {
        Self {
            position: 0,
            end: length,
            left: MAX_BOXES,
        }
    }

    /// The next box of this type.
    pub(crate) fn find(&mut self, reader: &mut (impl Read + Seek), kind: &[u8; 4]) -> Result<Option<Found>, Fault> {
        while self.position < self.end {
            self.left = self
                .left
                .checked_sub(1)
                .ok_or(Fault::Malformed("it has thousands of boxes"))?;
            let (start, room) = (self.position, self.end - self.position);
            reader.seek(SeekFrom::Start(start))?;
            let mut header = Vec::with_capacity(16);
            reader.take(16.min(room)).read_to_end(&mut header)?;
            let (found, header_size, size) = box_header(&header, room).map_err(Fault::Malformed)?;
            self.position += size;
            if found == *kind {
                let payload = (start + header_size, self.position);
                return Ok(Some(Found { start, payload }));
            }
        }
        Ok(None)
    }
}

/// The range of the payload of the first box of this type in a range of the file.
pub(crate) fn find(
    reader: &mut (impl Read + Seek),
    (position, end): (u64, u64),
    kind: &[u8; 4],
) -> Result<Option<(u64, u64)>, Fault> {
    let left = MAX_BOXES;
    let found = Walk { position, end, left }.find(reader, kind)?;
    Ok(found.map(|found| found.payload))
}

/// Reads a range of the file that is known to be small.
pub(crate) fn read_range(reader: &mut (impl Read + Seek), (start, end): (u64, u64)) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::with_capacity((end - start) as usize);
    reader.seek(SeekFrom::Start(start))?;
    reader.take(end - start).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Type, size of the header, and size of the whole box, which is at most `room`.
fn box_header(bytes: &[u8], room: u64) -> Result<([u8; 4], u64, u64), &'static str> {
    let cut_off = "it ends within the header of a box";
    let (size, rest) = bytes.split_first_chunk::<4>().ok_or(cut_off)?;
    let (kind, rest) = rest.split_first_chunk::<4>().ok_or(cut_off)?;
    let (header_size, size) = match u32::from_be_bytes(*size) {
        0 => (8, room),
        1 => (16, u64::from_be_bytes(*rest.first_chunk().ok_or(cut_off)?)),
        size => (8, u64::from(size)),
    };
    match size {
        size if size < header_size => Err("a box is smaller than its header"),
        size if size > room => Err("a box reaches over the end of what it is in"),
        size => Ok((*kind, header_size, size)),
    }
}

/// The boxes in a payload: type and payload. It ends after an error.
pub(crate) fn boxes(mut payload: &[u8]) -> impl Iterator<Item = Result<([u8; 4], &[u8]), &'static str>> {
    std::iter::from_fn(move || {
        // QuickTime may end a list of boxes with a zero of 32 bits.
        if payload.is_empty() || payload == [0; 4] {
            return None;
        }
        let next = box_header(payload, payload.len() as u64).map(|(kind, header_size, size)| {
            let (whole, rest) = payload.split_at(size as usize);
            payload = rest;
            (kind, &whole[header_size as usize..])
        });
        if next.is_err() {
            payload = &[];
        }
        Some(next)
    })
}

/// The payload of the first box of this type, if there is one.
pub(crate) fn child<'a>(payload: &'a [u8], kind: &[u8; 4]) -> Result<Option<&'a [u8]>, &'static str> {
    for child in boxes(payload) {
        let (found, payload) = child?;
        if found == *kind {
            return Ok(Some(payload));
        }
    }
    Ok(None)
}
