//! Metadata as boxes, in the two ways that programs read.
//!
//! - `moov/meta` with the handler `mdta`: any keys, as QuickTime has them. `ffprobe` and `exiftool` show them as they are,
//!   and [`read_metadata`](crate::read_metadata) reads them back. The box has QuickTime's form, without ISO's version and
//!   flags, since `exiftool` takes no other in this place; other readers take both.
//! - `moov/udta/meta` with the handler `mdir`: iTunes' few tags, which every player and file manager knows. The title is
//!   the prompt, the comment all entries as JSON.

use crate::metadata::Metadata;

/// Named as the encoding program in every file.
const ENCODER: &str = concat!("t2v-mp4 ", env!("CARGO_PKG_VERSION"));

/// The type of UTF-8 text in a `data` box.
pub(crate) const UTF8: u32 = 1;

/// The `udta` box with iTunes' tags.
pub(crate) fn udta(metadata: &Metadata) -> Vec<u8> {
    let json = metadata.to_json();
    let tags = [
        (b"\xa9nam", metadata.get(Metadata::PROMPT)),
        (b"\xa9cmt", (!metadata.is_empty()).then_some(json.as_str())),
        (b"\xa9too", Some(ENCODER)),
    ];
    let items = tags.map(|(kind, text)| text.map(|text| boxed(kind, &[&data(text)])));
    let ilst = items.into_iter().flatten().collect::<Vec<_>>().concat();
    let meta = boxed(b"meta", &[&[0; 4], &handler(b"mdir"), &boxed(b"ilst", &[&ilst])]);
    boxed(b"udta", &[&meta])
}

/// The `meta` box with QuickTime's keys.
pub(crate) fn meta(metadata: &Metadata) -> Vec<u8> {
    let (mut keys, mut ilst) = (Vec::new(), Vec::new());
    let mut count = 0u32;
    for (key, text) in metadata.iter() {
        count += 1;
        keys.extend(boxed(b"mdta", &[key.as_bytes()]));
        ilst.extend(boxed(&count.to_be_bytes(), &[&data(text)]));
    }
    let keys = boxed(b"keys", &[&[0; 4], &count.to_be_bytes(), &keys]);
    boxed(b"meta", &[&handler(b"mdta"), &keys, &boxed(b"ilst", &[&ilst])])
}

/// A box of parts. Metadata is far below the 4 GiB that a box can have.
fn boxed(kind: &[u8; 4], parts: &[&[u8]]) -> Vec<u8> {
    let payload = parts.concat();
    let size = payload.len() as u32 + 8;
    [&size.to_be_bytes()[..], kind, &payload].concat()
}

/// The `hdlr` box of a `meta` box: version, flags, a reserved word, the type, three reserved words, no name.
fn handler(kind: &[u8; 4]) -> Vec<u8> {
    boxed(b"hdlr", &[&[0; 8], kind, &[0; 12], &[0]])
}

/// A `data` box of text for no country and language in particular.
fn data(text: &str) -> Vec<u8> {
    boxed(b"data", &[&UTF8.to_be_bytes(), &[0; 4], text.as_bytes()])
}
