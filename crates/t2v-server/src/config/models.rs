//! Models, and what requests may add to them, by name.

use std::collections::BTreeMap;

use super::fields::Fields;
use crate::{
    models::{EMBEDDED, is_path},
    worker::engine::{Entry, EntryKind},
};

/// What the settings give names to. A name stands for one thing.
pub(super) fn read(fields: &mut Fields) -> BTreeMap<String, Entry> {
    let models = fields.named("model", "NAME=DIR_OR_FILE_OR_HUB_ID");
    let mut entries: BTreeMap<String, Entry> = models
        .into_iter()
        .map(|(name, source)| (name, Entry::new(kind(&source), source)))
        .collect();
    for (name, path) in fields.named("motion_adapter", "NAME=DIR_OR_FILE") {
        match local_model(&mut entries, &name) {
            Some(model) => model.motion_adapter = Some(path),
            None => fields.fault("motion_adapter", &no_model(&name)),
        }
    }
    for (name, path) in fields.named("model_config", "NAME=DIR") {
        match local_model(&mut entries, &name) {
            Some(model) => model.config = Some(path),
            None => fields.fault("model_config", &no_model(&name)),
        }
    }
    for (field, kind) in [("lora", EntryKind::Lora), ("embedding", EntryKind::Embeddings)] {
        for (name, path) in fields.named(field, "NAME=FILE") {
            if name.contains(',') {
                fields.fault(
                    field,
                    &format!("`{name}` must have no comma: requests put them between names"),
                );
            } else if name == EMBEDDED || entries.contains_key(&name) {
                fields.fault(field, &format!("`{name}` is the name of something else"));
            } else {
                entries.insert(name, Entry::new(kind, path));
            }
        }
    }
    entries
}

fn kind(source: &str) -> EntryKind {
    let is_file = is_path(source) && [".safetensors", ".ckpt"].iter().any(|end| source.ends_with(end));
    match is_file {
        true => EntryKind::Checkpoint,
        false => EntryKind::Model,
    }
}

fn local_model<'a>(entries: &'a mut BTreeMap<String, Entry>, name: &str) -> Option<&'a mut Entry> {
    entries.get_mut(name).filter(|entry| is_path(&entry.source))
}

fn no_model(name: &str) -> String {
    format!("`{name}` must be the name of a model that is given as a folder or a file")
}

/// The setting that has a path of an entry.
pub(super) fn field(entry: &Entry, path: &str) -> &'static str {
    match entry.kind {
        EntryKind::Lora => "lora",
        EntryKind::Embeddings => "embedding",
        _ if entry.motion_adapter.as_deref() == Some(path) => "motion_adapter",
        _ if entry.config.as_deref() == Some(path) => "model_config",
        _ => "model",
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use crate::config::{Config, Flags};

    fn load(args: &[&str]) -> Result<Config, Vec<String>> {
        Config::load(&Flags::try_parse_from([&["t2v-server"], args].concat()).unwrap())
    }

    #[test]
    fn models_have_their_parts_and_additions_their_kinds() {
        let config = load(&[
            "--model",
            "clips=./sd",
            "--motion-adapter",
            "clips=./mm.ckpt",
            "--model",
            "one=./v1-5.safetensors",
            "--model-config",
            "one=./sd",
            "--lora",
            "ink=./ink.safetensors",
            "--embedding",
            "cat=./cat.pt",
        ])
        .unwrap();
        let entry = |name: &str| config.models[name].clone();
        assert_eq!(entry("clips").motion_adapter.as_deref(), Some("./mm.ckpt"));
        assert_eq!(entry("one").config.as_deref(), Some("./sd"));
        let types = ["clips", "one", "ink", "cat"].map(|name| entry(name).kind.model_type());
        assert_eq!(types, ["huggingface", "custom_ckpt", "lora", "embeddings"]);
        let missing = config.missing_files();
        for field in ["model", "lora", "embedding"] {
            assert!(
                missing.iter().any(|said| said.starts_with(&format!("{field}: "))),
                "{missing:?}"
            );
        }
    }

    #[test]
    fn parts_of_no_model_and_names_that_are_taken_are_refused() {
        let faults = load(&[
            "--motion-adapter",
            "x=./mm",
            "--model-config",
            "y=./sd",
            "--lora",
            "tiny-world=./a",
        ]);
        let faults = faults.unwrap_err();
        for field in ["motion_adapter", "model_config", "lora"] {
            assert!(
                faults.iter().any(|fault| fault.starts_with(&format!("{field}: "))),
                "{faults:?}"
            );
        }
    }
}
