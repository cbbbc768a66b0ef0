//! Bytes of a file one after the other, never beyond its end.

use crate::source::Blob;

/// Bytes that are read at once.
const PIECE: usize = 1 << 20;
/// The longest name of a key or tensor.
const MOST_NAME: u64 = 1 << 16;

/// A place in a file.
pub(super) struct Cursor<'a> {
    blob: &'a Blob,
    /// What was read ahead, and where in it the next byte is.
    piece: Vec<u8>,
    at: usize,
    /// Where in the file the piece begins.
    start: u64,
}

impl<'a> Cursor<'a> {
    /// At the beginning.
    pub(super) fn new(blob: &'a Blob) -> Self {
        Self {
            blob,
            piece: Vec::new(),
            at: 0,
            start: 0,
        }
    }

    /// Bytes from the file's beginning.
    pub(super) fn position(&self) -> u64 {
        self.start + self.at as u64
    }

    /// Bytes to the file's end.
    pub(super) fn left(&self) -> u64 {
        self.blob.len().saturating_sub(self.position())
    }

    /// Goes on by so many bytes.
    pub(super) fn skip(&mut self, count: u64) -> Result<(), String> {
        if count > self.left() {
            return Err(cut());
        }
        let ahead = (self.piece.len() - self.at) as u64;
        match count <= ahead {
            true => self.at += count as usize,
            false => {
                self.start = self.position() + count;
                (self.at, self.piece) = (0, Vec::new());
            }
        }
        Ok(())
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], String> {
        if self.piece.len() - self.at < N {
            let start = self.position();
            let len = self.left().min(PIECE as u64) as usize;
            self.piece = self.blob.read_at(start, len).map_err(|e| e.to_string())?;
            (self.start, self.at) = (start, 0);
        }
        let bytes = self.piece.get(self.at..).and_then(|rest| rest.first_chunk::<N>());
        let bytes = *bytes.ok_or_else(cut)?;
        self.at += N;
        Ok(bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, String> {
        self.take().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, String> {
        self.take().map(u64::from_le_bytes)
    }

    /// An unsigned integer of 1, 2, 4 or 8 bytes.
    pub(super) fn unsigned(&mut self, bytes: u64) -> Result<u64, String> {
        Ok(match bytes {
            1 => u64::from(self.take::<1>()?[0]),
            2 => u64::from(u16::from_le_bytes(self.take()?)),
            4 => u64::from(self.u32()?),
            _ => self.u64()?,
        })
    }

    /// A number of things that take at least `each` bytes, so that there can't be more than the file has room for.
    pub(super) fn count(&mut self, what: &str, each: u64) -> Result<u64, String> {
        let count = self.u64()?;
        match count.checked_mul(each) {
            Some(len) if len <= self.left() => Ok(count),
            _ => Err(format!(
                "it says that it has {count} {what}, more than the file has room for"
            )),
        }
    }

    /// A short text; `what` names it in errors.
    pub(super) fn text(&mut self, what: &str) -> Result<String, String> {
        let len = self.u64()?;
        if len > MOST_NAME {
            return Err(format!("{what} is {len} bytes long; {MOST_NAME} are the most"));
        }
        if len > self.left() {
            return Err(cut());
        }
        let mut bytes = self
            .blob
            .read_at(self.position(), len as usize)
            .map_err(|e| e.to_string())?;
        self.skip(len)?;
        // Some writers end texts with a zero as C does.
        while bytes.last() == Some(&0) {
            bytes.pop();
        }
        let text = String::from_utf8(bytes).ok();
        let text = text.filter(|text| !text.chars().any(char::is_control));
        text.ok_or_else(|| format!("{what} is no text in UTF-8 without control characters"))
    }

    /// Passes over a text of any length.
    pub(super) fn skip_text(&mut self) -> Result<(), String> {
        let len = self.u64()?;
        self.skip(len)
    }
}

fn cut() -> String {
    "it ends inside its header (truncated?)".into()
}
