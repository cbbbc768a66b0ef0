//! Metadata comes back as it went in.

use std::fs;
use std::io::Cursor;

use proptest::prelude::*;
use t2v_mp4::{Metadata, Mp4Error, OutputFormat, VideoSpec, Writer, read_metadata, read_metadata_from};

use crate::clip::{smooth, to_memory, write};

fn generation() -> Metadata {
    Metadata::new()
        .with_prompt("a red ball, 赤いボール, \u{1f534} \"quoted\" & <tagged>\nsecond line")
        .with_negative_prompt("")
        .with_seed(u64::from(u32::MAX))
        .with_scheduler("DPMSolverMultistepScheduler")
        .with_steps(20)
        .with_guidance(7.5)
        .with_model("tiny-world")
        .with_request(r#"{"prompt":"a red ball","seed":4294967295}"#)
        .with("com.example:licence", "CC0")
}

fn round_trip(metadata: &Metadata) -> Metadata {
    let spec = VideoSpec::new(16, 16, 24).with_metadata(metadata.clone());
    let file = to_memory(OutputFormat::Mp4, &spec, 1, smooth);
    read_metadata_from(Cursor::new(file)).unwrap()
}

#[test]
fn a_generation_is_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clip.mp4");
    let spec = VideoSpec::new(16, 16, 24).with_metadata(generation());
    write(&path, &spec, 2, smooth);
    let metadata = read_metadata(&path).unwrap();
    assert_eq!(metadata, generation());
    assert_eq!(metadata.get("guidance_scale"), Some("7.5"));
    assert_eq!(metadata.len(), 9);
}

#[test]
fn a_video_without_metadata_has_none() {
    assert_eq!(round_trip(&Metadata::new()), Metadata::new());
}

#[test]
fn the_largest_metadata_is_read_back() {
    let large = Metadata::new().with("text", "x".repeat((1 << 20) - 4));
    assert!(round_trip(&large) == large);
    let mut many = Metadata::new();
    for index in 0..2000 {
        many.set(format!("key{index}"), "");
    }
    assert!(round_trip(&many) == many);
}

#[test]
fn other_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    fs::write(&path, "not a video at all").unwrap();
    let error = read_metadata(&path).unwrap_err();
    assert!(matches!(error, Mp4Error::Malformed { .. }), "{error}");
    assert!(error.to_string().contains("notes.txt"));
    let missing = read_metadata(folder.path().join("missing.mp4")).unwrap_err();
    assert!(matches!(missing, Mp4Error::Io { action: "open", .. }), "{missing}");
}

#[test]
fn unusable_metadata_is_refused_before_any_file_exists() {
    let folder = tempfile::tempdir().unwrap();
    let spec = VideoSpec::new(16, 16, 24).with_metadata(Metadata::new().with("two words", ""));
    let error = Writer::create(folder.path().join("clip.mp4"), spec).unwrap_err();
    assert!(error.to_string().contains("\"two words\""), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

proptest! {
    #[test]
    fn any_text_is_read_back(entries in prop::collection::vec(("[a-zA-Z0-9_.:-]{1,79}", any::<String>()), 0..6)) {
        let mut metadata = Metadata::new();
        for (key, value) in entries {
            metadata.set(key, value);
        }
        prop_assert_eq!(round_trip(&metadata), metadata);
    }
}
