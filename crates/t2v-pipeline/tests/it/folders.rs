//! The checkpoints of `tests/fixtures/`, as they are and as copies to be changed.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};
use t2v_test_support::copy_folder;
use tempfile::TempDir;

pub(crate) fn fixture(name: impl AsRef<Path>) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

pub(crate) fn copy(name: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy_folder(&fixture(name), folder.path());
    folder
}

/// Replaces keys of a JSON file.
pub(crate) fn replace(file: &Path, keys: &Map<String, Value>) {
    let mut config: Map<String, Value> = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    config.extend(keys.clone());
    fs::write(file, serde_json::to_vec(&config).unwrap()).unwrap();
}
