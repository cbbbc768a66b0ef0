//! The names of codings that are not read.

use crate::fault::{Fault, Remedy};

/// What a sample entry of another type than `avc1` is.
pub(super) fn refusal(kind: [u8; 4]) -> Fault {
    let name = match &kind {
        b"encv" => return Fault::Unsupported("it is encrypted (`encv`)".to_owned(), Remedy::Decrypt),
        b"hvc1" | b"hev1" => "HEVC (H.265)",
        b"dvh1" | b"dvhe" | b"dva1" | b"dvav" => "Dolby Vision",
        b"vvc1" | b"vvi1" => "VVC (H.266)",
        b"avc2" | b"avc3" | b"avc4" => "H.264 with parameter sets in its samples",
        b"vp08" => "VP8",
        b"vp09" => "VP9",
        b"av01" => "AV1",
        b"mp4v" => "MPEG-4 Part 2",
        b"s263" | b"h263" => "H.263",
        b"jpeg" | b"mjpa" | b"mjpb" => "Motion JPEG",
        b"png " => "PNG pictures",
        b"apch" | b"apcn" | b"apcs" | b"apco" | b"ap4h" | b"ap4x" => "Apple ProRes",
        b"AVdn" | b"AVdh" => "Avid DNx",
        b"raw " | b"2vuy" | b"yuv2" | b"v210" => "pictures without compression",
        _ => "",
    };
    let code = kind.escape_ascii();
    match name {
        "" => Fault::unsupported(format!("its video is coded as `{code}`, not as H.264 (`avc1`)")),
        name => Fault::unsupported(format!("its video is {name} (`{code}`), not H.264 (`avc1`)")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::SampleEntry;
    use super::*;

    #[test]
    fn other_codings_are_named() {
        let entry = |kind: &[u8]| [&[0; 8], &8u32.to_be_bytes()[..], kind].concat();
        for (kind, expected) in [
            (b"hvc1", "HEVC (H.265) (`hvc1`)"),
            (b"av01", "AV1 (`av01`)"),
            (b"encv", "encrypted"),
            (b"\0\0\0\0", r"coded as `\x00\x00\x00\x00`"),
        ] {
            let fault = SampleEntry::parse(&entry(kind)).unwrap_err();
            assert!(
                matches!(&fault, Fault::Unsupported(what, _) if what.contains(expected)),
                "{fault:?}"
            );
        }
    }
}
