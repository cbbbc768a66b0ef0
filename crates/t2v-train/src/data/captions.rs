//! The clips of a folder and their captions: a text beside each clip, or `metadata.jsonl`.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::{TrainError, error::file};

const METADATA: &str = "metadata.jsonl";
const VIDEOS: [&str; 5] = ["mp4", "m4v", "mov", "qt", "gif"];
/// Of masks.
pub(super) const PICTURES: [&str; 7] = ["png", "jpg", "jpeg", "webp", "bmp", "tif", "tiff"];
/// What the names of masks end in, before their extension.
const MASK: &str = ".mask";

/// A clip of a folder and what is said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caption {
    /// An MP4 or GIF file, or a folder of pictures.
    pub clip: PathBuf,
    /// The caption, the trigger word before it where there is one.
    pub text: String,
    /// Where the subject is: a picture for all frames, or a video or folder with a frame for each.
    pub mask: Option<PathBuf>,
}

/// The clips of a folder in the order of their names, each with its caption: of `metadata.jsonl` where there is one, with a line
/// `{"file_name": …, "text": …}` for each clip, or else of a `.txt` file of the clip's name beside it. Beside them what is wrong.
///
/// `trigger` is put before each caption that does not have it.
///
/// # Errors
/// The folder can't be read.
pub fn find_clips(folder: &Path, trigger: Option<&str>) -> Result<(Vec<Caption>, Vec<String>), TrainError> {
    let Entries {
        clips,
        texts,
        mut masks,
    } = entries(folder)?;
    let mut faults = Vec::new();
    let listed = folder.join(METADATA);
    let mut captions = match listed.is_file() {
        true => from_metadata(&listed, &mut faults)?,
        false => from_texts(&clips, texts, &mut faults)?,
    };
    let mut found = Vec::new();
    for clip in &clips {
        let name = name_of(clip);
        match captions.remove(&name) {
            Some(text) if !text.trim().is_empty() => found.push(Caption {
                clip: clip.clone(),
                text: with_trigger(text.trim(), trigger),
                mask: mask_of(clip, &mut masks),
            }),
            Some(_) => faults.push(format!("the caption of `{name}` is empty")),
            None if listed.is_file() => faults.push(format!("`{name}` has no line in {METADATA}")),
            None => faults.push(format!("`{name}` has no caption: write one into `{}`", text_name(clip))),
        }
    }
    faults.extend(
        captions
            .keys()
            .map(|name| format!("there is a caption for `{name}`, and no such clip")),
    );
    let is_spare = |mask: &&PathBuf| !clips.iter().any(|clip| masks_name(clip) == stem(mask));
    let spare = masks.iter().filter(is_spare);
    faults.extend(spare.map(|mask| format!("`{}` is the mask of no clip", name_of(mask))));
    if clips.is_empty() {
        faults.insert(
            0,
            "there are no clips in it: MP4 or GIF files, or folders of pictures".into(),
        );
    }
    Ok((found, faults))
}

/// What there is in a folder, in the order of names.
#[derive(Default)]
struct Entries {
    clips: Vec<PathBuf>,
    texts: Vec<PathBuf>,
    masks: Vec<PathBuf>,
}

fn entries(folder: &Path) -> Result<Entries, TrainError> {
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

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The name of a folder, or of a file without its extension.
fn stem(path: &Path) -> String {
    let stem = match path.is_dir() {
        true => path.file_name(),
        false => path.file_stem(),
    };
    stem.unwrap_or_default().to_string_lossy().into_owned()
}

/// The name of the text beside a clip.
fn text_name(clip: &Path) -> String {
    format!("{}.txt", stem(clip))
}

/// The name of a clip's mask, without its extension.
fn masks_name(clip: &Path) -> String {
    format!("{}{MASK}", stem(clip))
}

/// The mask of a clip, taken out of those that there are.
fn mask_of(clip: &Path, masks: &mut Vec<PathBuf>) -> Option<PathBuf> {
    let place = masks.iter().position(|mask| stem(mask) == masks_name(clip))?;
    Some(masks.remove(place))
}

/// Captions by their clips' names, of texts beside them.
fn from_texts(
    clips: &[PathBuf],
    texts: Vec<PathBuf>,
    faults: &mut Vec<String>,
) -> Result<BTreeMap<String, String>, TrainError> {
    let mut captions = BTreeMap::new();
    for path in texts {
        let name = name_of(&path);
        let text = fs::read_to_string(&path).map_err(|e| file(&path, e))?;
        let of_text: Vec<&PathBuf> = clips.iter().filter(|clip| text_name(clip) == name).collect();
        if of_text.is_empty() {
            faults.push(format!("`{name}` is beside no clip of its name"));
        }
        for clip in of_text {
            captions.insert(name_of(clip), text.clone());
        }
    }
    Ok(captions)
}

/// Captions by their clips' names, of a list.
fn from_metadata(path: &Path, faults: &mut Vec<String>) -> Result<BTreeMap<String, String>, TrainError> {
    let lines = fs::read_to_string(path).map_err(|e| file(path, e))?;
    let mut captions = BTreeMap::new();
    for (number, line) in (1..).zip(lines.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let fault = |reason: String| format!("line {number} of {METADATA} {reason}");
        let entry: Value = match serde_json::from_str(line) {
            Ok(entry) => entry,
            Err(error) => {
                faults.push(fault(format!("is no JSON object: {error}")));
                continue;
            }
        };
        let text = |key: &str| entry.get(key).and_then(Value::as_str).map(str::to_owned);
        match (text("file_name"), text("text")) {
            (Some(name), Some(text)) => {
                let name = name.trim_end_matches('/').to_owned();
                if captions.insert(name.clone(), text).is_some() {
                    faults.push(fault(format!("is the second one for `{name}`")));
                }
            }
            (None, _) => faults.push(fault("has no text `file_name`".into())),
            (_, None) => faults.push(fault("has no text `text`".into())),
        }
    }
    Ok(captions)
}

fn with_trigger(text: &str, trigger: Option<&str>) -> String {
    match trigger {
        Some(trigger) if !text.to_lowercase().contains(&trigger.to_lowercase()) => format!("{trigger}, {text}"),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            match name.strip_suffix('/') {
                Some(name) => fs::create_dir(folder.path().join(name)).unwrap(),
                None => fs::write(folder.path().join(name), text).unwrap(),
            }
        }
        folder
    }

    #[test]
    fn captions_lie_beside_their_clips() {
        let folder = folder(&[
            ("b.mp4", ""),
            ("b.txt", " a red ball \n"),
            ("a.frames/", ""),
            ("a.frames.txt", "zorb, a blue ball"),
            (".hidden.mp4", ""),
            ("notes.md", ""),
        ]);
        let (clips, faults) = find_clips(folder.path(), Some("Zorb")).unwrap();
        assert_eq!(faults, Vec::<String>::new());
        let texts: Vec<&str> = clips.iter().map(|clip| clip.text.as_str()).collect();
        assert_eq!(texts, ["zorb, a blue ball", "Zorb, a red ball"]);
        assert!(clips[0].clip.ends_with("a.frames"));
    }

    #[test]
    fn masks_lie_beside_their_clips() {
        let folder = folder(&[
            ("a.mp4", ""),
            ("a.txt", "a ball"),
            ("a.mask.png", ""),
            ("b/", ""),
            ("b.txt", "a cube"),
            ("b.mask/", ""),
            ("c.mask.png", ""),
        ]);
        let (clips, faults) = find_clips(folder.path(), None).unwrap();
        assert_eq!(faults, ["`c.mask.png` is the mask of no clip"]);
        let masks: Vec<PathBuf> = clips.into_iter().filter_map(|clip| clip.mask).collect();
        assert_eq!(masks, ["a.mask.png", "b.mask"].map(|name| folder.path().join(name)));
    }

    #[test]
    fn captions_come_from_a_list() {
        let lines =
            "{\"file_name\": \"a.gif\", \"text\": \"a ball\"}\n\n{\"file_name\": \"b/\", \"text\": \"a cube\"}\n";
        let folder = folder(&[("a.gif", ""), ("b/", ""), (METADATA, lines)]);
        let (clips, faults) = find_clips(folder.path(), None).unwrap();
        assert!(faults.is_empty(), "{faults:?}");
        assert_eq!(
            clips.iter().map(|clip| clip.text.as_str()).collect::<Vec<_>>(),
            ["a ball", "a cube"]
        );
    }

    #[test]
    fn every_fault_is_told() {
        let faults = |files: &[(&str, &str)]| find_clips(folder(files).path(), None).unwrap().1;
        assert_eq!(
            faults(&[("a.mp4", ""), ("b.mp4", ""), ("b.txt", " "), ("c.txt", "x")]),
            [
                "`c.txt` is beside no clip of its name",
                "`a.mp4` has no caption: write one into `a.txt`",
                "the caption of `b.mp4` is empty",
            ]
        );
        let lines = "{\"file_name\": \"x.mp4\", \"text\": \"t\"}\n{\"text\": \"t\"}\nno";
        let found = faults(&[("a.mp4", ""), (METADATA, lines)]);
        assert_eq!(found.len(), 4, "{found:#?}");
        assert!(found[0].contains("line 2") && found[1].contains("line 3"), "{found:#?}");
        assert!(faults(&[])[0].contains("no clips"));
        assert!(find_clips(Path::new("/nowhere/at/all"), None).is_err());
    }
}
