//! Reads metadata back from MP4 files, which may be anything: all lengths are checked, all loops end, and no more is read
//! into memory than metadata may take.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use crate::boxes::{boxes, child, find, read_range};
use crate::error::{Mp4Error, Result};
use crate::fault::Fault;
use crate::metadata::{MAX_BYTES, MAX_ENTRIES, Metadata};
use crate::tags::UTF8;

/// The largest `meta` box: that of the most metadata, with room for the boxes around each entry.
const MAX_META: u64 = 4 * MAX_BYTES as u64;

/// Reads the metadata of an MP4 file: what [`VideoSpec::metadata`](crate::VideoSpec::metadata) wrote, or other programs
/// did under QuickTime's keys. A file without has none.
///
/// # Errors
///
/// [`Mp4Error::Malformed`] if it is not an MP4 file, or damaged where it is read, or has more than 4 MiB or 4096 entries of metadata;
/// [`Mp4Error::Io`] if it cannot be read.
pub fn read_metadata(path: impl AsRef<Path>) -> Result<Metadata> {
    let path = path.as_ref();
    let file = File::open(path).map_err(Mp4Error::io("open", path))?;
    read(&mut BufReader::new(file), path)
}

/// [`read_metadata`] from anything that is like a file.
///
/// # Errors
///
/// As for `read_metadata`.
pub fn read_metadata_from(mut reader: impl Read + Seek) -> Result<Metadata> {
    read(&mut reader, Path::new("the input stream"))
}

fn read(reader: &mut (impl Read + Seek), path: &Path) -> Result<Metadata> {
    find_and_parse(reader).map_err(Fault::of(path))
}

fn find_and_parse(reader: &mut (impl Read + Seek)) -> Result<Metadata, Fault> {
    let length = reader.seek(SeekFrom::End(0))?;
    let Some(moov) = find(reader, (0, length), b"moov")? else {
        return Err(Fault::Malformed("it has no `moov` box"));
    };
    let Some((start, end)) = find(reader, moov, b"meta")? else {
        return Ok(Metadata::new());
    };
    if end - start > MAX_META {
        return Err(Fault::Malformed("its `meta` box is larger than 4 MiB"));
    }
    let meta = read_range(reader, (start, end))?;
    parse(&meta).map_err(Fault::Malformed)
}

/// The keys and texts of a `meta` box.
fn parse(meta: &[u8]) -> Result<Metadata, &'static str> {
    let children = match meta {
        // ISO's has a version and flags, QuickTime's has not.
        [0, 0, 0, 0, children @ ..] => children,
        children => children,
    };
    let mut metadata = Metadata::new();
    let (Some(keys), Some(ilst)) = (child(children, b"keys")?, child(children, b"ilst")?) else {
        return Ok(metadata);
    };
    let keys: Vec<&str> = key_names(keys)?;
    let mut is_set = vec![false; keys.len()];
    for item in boxes(ilst) {
        let (index, item) = item?;
        let index = (u32::from_be_bytes(index) as usize).wrapping_sub(1);
        let (key, is_set) = keys.get(index).zip(is_set.get_mut(index)).ok_or("a text has no key")?;
        // The first text is the one that counts.
        if let Some(text) = text(item)?
            && !std::mem::replace(is_set, true)
        {
            metadata.set(*key, text);
        }
    }
    Ok(metadata)
}

fn key_names(keys: &[u8]) -> Result<Vec<&str>, &'static str> {
    // Version, flags, and the number of keys, which their boxes tell as well.
    let names = keys.get(8..).ok_or("its `keys` box is too short")?;
    let names = boxes(names).map(|key| std::str::from_utf8(key?.1).map_err(|_| "a key is not UTF-8"));
    let names: Vec<&str> = names.take(MAX_ENTRIES + 1).collect::<Result<_, _>>()?;
    if names.len() > MAX_ENTRIES {
        return Err("it has more than 4096 keys");
    }
    Ok(names)
}

/// The text in an item's `data` box, if there is text in it.
fn text(item: &[u8]) -> Result<Option<&str>, &'static str> {
    for child in boxes(item) {
        let (kind, payload) = child?;
        if let (b"data", Some((type_and_locale, text))) = (&kind, payload.split_first_chunk::<8>())
            && type_and_locale[..4] == UTF8.to_be_bytes()
        {
            return std::str::from_utf8(text).map(Some).map_err(|_| "a text is not UTF-8");
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::boxes::MAX_BOXES;
    use crate::tags;

    fn boxed(kind: &[u8; 4], payload: &[u8]) -> Vec<u8> {
        [&(payload.len() as u32 + 8).to_be_bytes()[..], kind, payload].concat()
    }

    #[test]
    fn every_form_of_a_box_is_understood() {
        let metadata = Metadata::new().with_prompt("a ball").with("empty", "");
        let quicktime = tags::meta(&metadata);
        let iso = boxed(b"meta", &[&[0; 4], &quicktime[8..]].concat());
        for meta in [iso, quicktime] {
            let inside = [boxed(b"mvhd", &[0; 100]), meta].concat();
            let plain = boxed(b"moov", &inside);
            let to_the_end = [b"\0\0\0\0moov", &inside[..]].concat();
            let long_size = (inside.len() as u64 + 16).to_be_bytes();
            let long = [b"\0\0\0\x01moov", &long_size[..], &inside].concat();
            for moov in [plain, to_the_end, long] {
                let file = [boxed(b"ftyp", b"isom"), moov].concat();
                assert_eq!(read_metadata_from(Cursor::new(file)).unwrap(), metadata);
            }
        }
    }

    #[test]
    fn lying_sizes_are_found() {
        let reason = |file: &[u8]| match read_metadata_from(Cursor::new(file)) {
            Err(Mp4Error::Malformed { reason, .. }) => reason,
            other => panic!("{other:?}"),
        };
        assert!(reason(b"").contains("no `moov`"));
        assert!(reason(b"\0\0\0\x07moov").contains("smaller"));
        assert!(reason(b"\0\0\0\x01moov\0\0\0\0\0\0\0\x0f").contains("smaller"));
        assert!(reason(b"\0\0\0\x01moov\xff\xff\xff\xff\xff\xff\xff\xff").contains("reaches over"));
        assert!(reason(b"\0\0\0\x09moov").contains("reaches over"));
        assert!(reason(b"\0\0\0").contains("ends within"));
        assert!(reason(&boxed(b"free", b"").repeat(MAX_BOXES + 1)).contains("thousands"));
        let large = boxed(b"moov", &boxed(b"meta", &vec![0; MAX_META as usize + 1]));
        assert!(reason(&large).contains("4 MiB"));
    }
}
