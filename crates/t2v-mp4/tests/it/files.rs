//! Files and folders: nothing is left behind, and what cannot work is said at once.

use std::fs;
use std::path::{Path, PathBuf};

use t2v_mp4::{FrameRate, Mp4Error, VideoSpec, Writer};

use crate::boxes::Movie;
use crate::clip::{flat, smooth, write};

fn spec() -> VideoSpec {
    VideoSpec::new(32, 32, 24)
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// The error of creating a writer, whose message must be one line and name the path.
fn refusal(path: &Path) -> Mp4Error {
    let error = Writer::create(path, spec()).unwrap_err();
    let message = error.to_string();
    assert!(!message.contains('\n'), "{message}");
    assert!(message.contains(&format!("{path:?}")), "{message}");
    error
}

#[test]
fn the_file_appears_in_finish_and_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clip.mp4");
    let mut writer = Writer::create(&path, spec()).unwrap();
    writer.push(&smooth(&spec(), 0)).unwrap();
    assert!(!path.exists());
    assert_eq!(entries(folder.path()).len(), 1, "the temporary file is beside it");
    writer.finish().unwrap();
    assert_eq!(entries(folder.path()), [path]);
}

#[test]
fn a_dropped_writer_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clip.mp4");
    drop(Writer::create(&path, spec()).unwrap());
    let mut writer = Writer::create(&path, spec()).unwrap();
    writer.push(&smooth(&spec(), 0)).unwrap();
    drop(writer);
    assert!(entries(folder.path()).is_empty());
}

#[test]
fn an_older_file_stays_until_it_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clip.mp4");
    fs::write(&path, "older").unwrap();
    let mut writer = Writer::create(&path, spec()).unwrap();
    writer.push(&smooth(&spec(), 0)).unwrap();
    drop(writer);
    assert_eq!(fs::read(&path).unwrap(), b"older");
    assert_eq!(write(&path, &spec(), 3, smooth).samples.len(), 3);
    assert_eq!(entries(folder.path()), [path]);
}

#[test]
fn a_video_without_frames_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clip.mp4");
    let error = Writer::create(&path, spec()).unwrap().finish().unwrap_err();
    assert!(matches!(&error, Mp4Error::NoFrames { .. }), "{error}");
    assert!(error.to_string().contains("clip.mp4"));
    assert!(entries(folder.path()).is_empty());
}

#[test]
fn a_frame_of_another_size_is_refused_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clip.mp4");
    let mut writer = Writer::create(&path, spec()).unwrap();
    writer.push(&flat(&spec(), [9; 3])).unwrap();
    for length in [0, 32 * 32, 32 * 32 * 3 - 1, 32 * 32 * 4] {
        let error = writer.push(&vec![0; length]).unwrap_err();
        assert!(error.to_string().contains("32x32"), "{error}");
        assert!(
            matches!(error, Mp4Error::FrameLength { frame: 1, actual, expected: 3072, .. }
                if actual == length)
        );
    }
    writer.push(&flat(&spec(), [9; 3])).unwrap();
    writer.finish().unwrap();
    assert_eq!(Movie::parse(fs::read(&path).unwrap()).samples.len(), 2);
}

#[test]
fn unusable_paths_are_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let file = root.join("file");
    fs::write(&file, "a file").unwrap();

    let error = Writer::create("", spec()).unwrap_err();
    assert!(matches!(error, Mp4Error::EmptyPath), "{error}");
    let missing = refusal(&root.join("no/such/clip.mp4"));
    assert!(matches!(&missing, Mp4Error::MissingFolder { .. }), "{missing}");
    let below_a_file = refusal(&file.join("clip.mp4"));
    assert!(matches!(&below_a_file, Mp4Error::MissingFolder { .. }));
    for path in [root.to_path_buf(), root.join("clip.mp4/"), root.join("..")] {
        assert!(matches!(refusal(&path), Mp4Error::NotAFile { .. }), "{path:?}");
    }
    let too_long = refusal(&root.join("x".repeat(300)));
    assert!(matches!(&too_long, Mp4Error::Io { .. }), "{too_long}");

    let mut permissions = fs::metadata(&file).unwrap().permissions();
    permissions.set_readonly(true);
    fs::set_permissions(&file, permissions).unwrap();
    assert!(matches!(refusal(&file), Mp4Error::WriteProtected { .. }));
    assert_eq!(entries(root), [file]);
}

#[test]
fn impossible_specs_are_refused_before_any_file_exists() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clip.mp4");
    let sizes = [(0, 32), (15, 32), (32, 15), (3841, 32), (2161, 2161)];
    for (width, height) in sizes {
        let error = Writer::create(&path, VideoSpec::new(width, height, 24)).unwrap_err();
        assert!(matches!(error, Mp4Error::Size { .. }), "{error}");
        assert!(error.to_string().contains(&format!("{width}x{height}")));
    }
    for rate in [FrameRate::from(0), FrameRate::new(24, 0), FrameRate::new(0, 0)] {
        let error = Writer::create(&path, VideoSpec::new(32, 32, rate)).unwrap_err();
        assert!(matches!(error, Mp4Error::FrameRate { .. }), "{error}");
    }
    let error = Writer::create(&path, spec().with_quality(101)).unwrap_err();
    assert!(matches!(error, Mp4Error::Quality { quality: 101 }), "{error}");
    assert!(entries(folder.path()).is_empty());
}

#[cfg(unix)]
#[test]
fn the_file_has_the_permissions_of_any_new_file() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let usual = folder.path().join("usual");
    fs::write(&usual, "").unwrap();
    let path = folder.path().join("clip.mp4");
    write(&path, &spec(), 1, smooth);
    assert_eq!(mode(&path), mode(&usual));
}

#[cfg(unix)]
#[test]
fn devices_are_refused_and_links_followed() {
    let device = refusal(Path::new("/dev/null"));
    assert!(matches!(device, Mp4Error::NotAFile { .. }), "{device}");

    let folder = tempfile::tempdir().unwrap();
    let (target, link) = (folder.path().join("target"), folder.path().join("link"));
    fs::write(&target, "older").unwrap();
    std::os::unix::fs::symlink(&target, &link).unwrap();
    write(&link, &spec(), 2, smooth);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(Movie::parse(fs::read(&target).unwrap()).samples.len(), 2);
}

#[cfg(target_os = "linux")]
#[test]
fn an_unwritable_folder_is_refused() {
    // Not even root can make files in it.
    let error = refusal(Path::new("/proc/clip.mp4"));
    assert!(matches!(&error, Mp4Error::Io { action: "create", .. }), "{error}");
}
