//! Any bytes, read as an MP4 file.
//!
//! Run with
//!
//! ```text
//! cd crates/t2v-mp4
//! cargo +nightly fuzz run read_metadata -- -max_len=65536
//! ```

#![no_main]

use std::io::Cursor;

use libfuzzer_sys::fuzz_target;
use t2v_mp4::read_metadata_from;

fuzz_target!(|bytes: &[u8]| {
    // An error or a value, but never a panic.
    if let Ok(metadata) = read_metadata_from(Cursor::new(bytes)) {
        let _ = metadata.to_json();
    }
});
