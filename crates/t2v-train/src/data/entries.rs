//! What lies in a folder of data, told apart by names: clips, captions and masks.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{TrainError, error::file};

const VIDEOS: [&str; 5] = ["mp4", "m4v", "mov", "qt", "gif"];
/// Of masks.
pub(super) const PICTURES: [&str; 7] = ["png", "jpg", "jpeg", "webp", "bmp", "tif", "tiff"];
/// What the names of masks end in, before their extension.
const MASK: &str = ".mask";

/// What there is in a folder, in the order of names.
#[derive(Default)]
pub(super) struct Entries {
    pub(super) clips: Vec<PathBuf>,
    pub(super) texts: Vec<PathBuf>,
    pub(super) masks: Vec<PathBuf>,
}

pub(super) fn entries(folder: &Path) -> Result<Entries, TrainError> {
    let mut entries = Entries::default();
    for entry in fs::read_dir(folder).map_err(|e| file(folder, e))? {
        let path = entry.map_err(|e| file(folder, e))?.path();
        if name_of(&path).starts_with('.') {
            continue;
        }
        let extension = path
            .extension()
            .and_then(|extension| extension.to_str())
            .unwrap_or_default();
        let extension = extension.to_ascii_lowercase();
        let is_video = path.is_dir() || VIDEOS.contains(&extension.as_str());
        if stem(&path).ends_with(MASK) && (is_video || PICTURES.contains(&extension.as_str())) {
            entries.masks.push(path);
        } else if is_video {
            entries.clips.push(path);
        } else if extension == "txt" {
            entries.texts.push(path);
        }
    }
    for paths in [&mut entries.clips, &mut entries.texts, &mut entries.masks] {
        paths.sort();
    }
    Ok(entries)
}

pub(super) fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The name of a folder, or of a file without its extension.
pub(super) fn stem(path: &Path) -> String {
    let stem = match path.is_dir() {
        true => path.file_name(),
        false => path.file_stem(),
    };
    stem.unwrap_or_default().to_string_lossy().into_owned()
}

/// The name of the text beside a clip.
pub(super) fn text_name(clip: &Path) -> String {
    format!("{}.txt", stem(clip))
}

/// The name of a clip's mask, without its extension.
pub(super) fn masks_name(clip: &Path) -> String {
    format!("{}{MASK}", stem(clip))
}
