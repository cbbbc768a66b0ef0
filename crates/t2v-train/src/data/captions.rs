//! The clips of a folder and their captions: a text beside each clip, or `metadata.jsonl`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::entries::{Entries, entries, masks_name, name_of, stem, text_name};
use crate::{TrainError, error::file};

const METADATA: &str = "metadata.jsonl";

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
    let Entries { clips, texts, masks } = entries(folder)?;
    let mut faults = Vec::new();
    let listed = folder.join(METADATA);
    let mut captions = match listed.is_file() {
        true => from_metadata(&listed, &mut faults)?,
        false => from_texts(&clips, texts, &mut faults)?,
    };
    // Two clips of one name share their mask.
    let mut of_clips: BTreeMap<String, Vec<&PathBuf>> = BTreeMap::new();
    for mask in &masks {
        of_clips.entry(stem(mask)).or_default().push(mask);
    }
    let mut found = Vec::new();
    for clip in &clips {
        let name = name_of(clip);
        let of_clip = of_clips.get(&masks_name(clip)).map_or(&[][..], Vec::as_slice);
        if of_clip.len() > 1 {
            let names: Vec<String> = of_clip.iter().map(|mask| format!("`{}`", name_of(mask))).collect();
            faults.push(format!(
                "`{name}` has {} masks, {}; keep one",
                names.len(),
                names.join(", ")
            ));
        }
        match captions.remove(&name) {
            Some(text) if !text.trim().is_empty() => found.push(Caption {
                clip: clip.clone(),
                text: with_trigger(text.trim(), trigger),
                mask: of_clip.first().map(|mask| (*mask).clone()),
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
    let masked: BTreeSet<String> = clips.iter().map(|clip| masks_name(clip)).collect();
    let spare = masks.iter().filter(|mask| !masked.contains(&stem(mask)));
    faults.extend(spare.map(|mask| format!("`{}` is the mask of no clip", name_of(mask))));
    if clips.is_empty() {
        faults.insert(
            0,
            "there are no clips in it: MP4 or GIF files, or folders of pictures".into(),
        );
    }
    Ok((found, faults))
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
    fn a_clip_has_one_mask() {
        let folder = folder(&[
            ("a.mp4", ""),
            ("a.txt", "a ball"),
            ("a.mask.png", ""),
            ("a.mask/", ""),
            // Two clips of one name have the same caption and the same mask.
            ("b.mp4", ""),
            ("b.gif", ""),
            ("b.txt", "a cube"),
            ("b.mask.png", ""),
            // The mask of a clip that is refused is not one too many.
            ("c.mp4", ""),
            ("c.mask.png", ""),
        ]);
        let (clips, faults) = find_clips(folder.path(), None).unwrap();
        assert_eq!(
            faults,
            [
                "`a.mp4` has 2 masks, `a.mask`, `a.mask.png`; keep one",
                "`c.mp4` has no caption: write one into `c.txt`",
            ]
        );
        let masked: Vec<bool> = clips.iter().map(|clip| clip.mask.is_some()).collect();
        assert_eq!(masked, [true, true, true]);
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
