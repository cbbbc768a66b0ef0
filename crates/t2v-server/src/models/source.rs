//! What an entry's source means: a folder, a file, or an id of the hub.

use std::path::Path;

use t2v_pipeline::{FolderModel, HubModel, ModelSource};

use crate::worker::engine::Entry;

/// Whether a source is a path: there is something, or it looks like one. Otherwise it is a hub id.
pub(crate) fn is_path(source: &str) -> bool {
    source.starts_with(['/', '.', '~']) || Path::new(source).exists() || is_checkpoint(source)
}

/// Whether a name is that of a checkpoint in one file.
fn is_checkpoint(source: &str) -> bool {
    let extension = Path::new(source).extension().and_then(|extension| extension.to_str());
    matches!(extension, Some("safetensors" | "ckpt" | "gguf"))
}

/// The entry with a whole path, which stays one when nothing is there any more.
pub(super) fn absolute(entry: &Entry) -> Entry {
    let mut entry = entry.clone();
    if is_path(&entry.source)
        && let Ok(path) = std::path::absolute(&entry.source)
    {
        entry.source = path.display().to_string();
    }
    entry
}

/// The model of an entry.
pub(super) fn model(entry: &Entry) -> Result<ModelSource, String> {
    let source = &entry.source;
    if is_path(source) {
        let mut folder = FolderModel::new(source);
        if let Some(adapter) = &entry.motion_adapter {
            folder = folder.with_motion_adapter(adapter);
        }
        if let Some(config) = &entry.config {
            folder = folder.with_config(config);
        }
        return Ok(folder.into());
    }
    if entry.motion_adapter.is_some() || entry.config.is_some() {
        return Err(format!(
            "`{source}` is not there, and a motion adapter or configurations go only with a folder or a file"
        ));
    }
    HubModel::new(source)
        .map(Into::into)
        .map_err(|error| format!("`{source}` is neither a folder nor an id of the hub: {error}"))
}

/// Whether its files are on this machine, or were.
pub(super) fn is_local(entry: &Entry) -> bool {
    is_path(&entry.source)
}

/// Whether a model's files are gone.
pub(super) fn is_lost(entry: &Entry) -> bool {
    is_local(entry) && missing(entry).is_some()
}

/// The path of an entry that is not there, where its source is one.
pub(crate) fn missing(entry: &Entry) -> Option<&str> {
    let source = Some(entry.source.as_str()).filter(|source| is_path(source));
    let is_whole = |path: &Path| path.is_file() || !entry.kind.is_model() || path.join("model_index.json").is_file();
    if let Some(source) = source
        && !(Path::new(source).exists() && is_whole(Path::new(source)))
    {
        return Some(source);
    }
    let others = [entry.motion_adapter.as_deref(), entry.config.as_deref()];
    others.into_iter().flatten().find(|path| !Path::new(path).exists())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::engine::EntryKind;

    fn entry(source: &str) -> Entry {
        Entry::new(EntryKind::Model, source)
    }

    #[test]
    fn sources_are_folders_or_files_or_hub_ids() {
        for path in [".", "/no/such/folder", "models/x.safetensors"] {
            assert!(matches!(model(&entry(path)), Ok(ModelSource::Folder(_))), "{path}");
        }
        assert!(matches!(model(&entry("owner/name")), Ok(ModelSource::Hub(_))));
        assert!(model(&entry("a b")).unwrap_err().contains("a b"));
        let adapted = Entry {
            motion_adapter: Some("adapter".into()),
            ..entry("owner/name")
        };
        assert!(model(&adapted).unwrap_err().contains("motion adapter"));
    }

    #[test]
    fn what_is_not_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().display().to_string();
        assert_eq!(missing(&entry(&path)), Some(path.as_str()));
        std::fs::write(folder.path().join("model_index.json"), "{}").unwrap();
        assert_eq!(missing(&entry(&path)), None);
        assert_eq!(missing(&entry("owner/name")), None);
        let adapted = Entry {
            motion_adapter: Some("/no/such/adapter".into()),
            ..entry(&path)
        };
        assert_eq!(missing(&adapted), Some("/no/such/adapter"));
        let lora = Entry::new(EntryKind::Lora, "/no/such/ink.safetensors");
        assert_eq!(missing(&lora), Some("/no/such/ink.safetensors"));
    }
}
