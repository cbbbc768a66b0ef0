//! Models, and the engine that makes videos with them: `t2v-pipeline` as the jobs see it.

mod preview;
mod progress;
mod render;
mod source;

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

pub(crate) use source::{is_path, missing};
use t2v_pipeline::{
    InitMedia, Limits, Lora, ModelRegistry, Pipeline, PipelineError, Placement, Report, TextToVideoRequest,
    TextualInversion,
};

use crate::{
    job::Medium,
    worker::engine::{Engine, EngineError, Entry, EntryKind, Rendered, Task},
};

/// The checkpoint inside the program.
pub const EMBEDDED: &str = "tiny-world";

/// Models by name, on one device, and what requests add to them.
pub struct Models {
    registry: ModelRegistry,
    default: String,
    /// What was given by name, of which files may get lost. The embedded checkpoint is not in it.
    entries: RwLock<BTreeMap<String, Entry>>,
}

impl Models {
    /// The embedded checkpoint alone; requests without a model get `default`, if there is one of the name.
    #[must_use]
    pub fn new(on: impl Into<Placement>, default: Option<String>) -> Self {
        let default = default.unwrap_or_else(|| EMBEDDED.to_owned());
        Self {
            registry: ModelRegistry::new(on).with_default_model(default.clone()),
            default,
            entries: RwLock::default(),
        }
    }

    fn pipeline(&self, model: Option<&str>) -> Result<Arc<Pipeline>, EngineError> {
        let name = model.unwrap_or(&self.default);
        self.registry.pipeline(name).map_err(engine_error)
    }

    fn entries(&self) -> BTreeMap<String, Entry> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether a model can be opened without a download.
    fn is_here(&self, name: &str) -> bool {
        let is_open = || self.registry.loaded().iter().any(|(open, _)| open == name);
        match self.entries().get(name) {
            Some(entry) => source::is_local(entry) || is_open(),
            None => true,
        }
    }
}

impl Engine for Models {
    fn models(&self) -> Vec<String> {
        let mut names = self.registry.names();
        if let Some(at) = names.iter().position(|name| *name == self.default) {
            names[..=at].rotate_right(1);
        }
        names
    }

    fn medium(&self, model: Option<&str>) -> Result<Medium, EngineError> {
        Ok(match self.pipeline(model)?.limits().num_frames.maximum {
            1 => Medium::Picture,
            _ => Medium::Video,
        })
    }

    fn models_for(&self, medium: Medium) -> Vec<String> {
        let is_able =
            |name: &String| self.is_here(name) && matches!(self.medium(Some(name)), Ok(found) if found == medium);
        self.models().into_iter().filter(is_able).collect()
    }

    fn names(&self) -> Vec<(String, EntryKind)> {
        let entries = self.entries();
        let kind = |name: &str| entries.get(name).map_or(EntryKind::Model, |entry| entry.kind);
        let models = self.models().into_iter().map(|name| (kind(&name), name));
        let loras = self.registry.loras().into_iter().map(|name| (EntryKind::Lora, name));
        let words = self.registry.textual_inversions().into_iter();
        let words = words.map(|name| (EntryKind::Embeddings, name));
        let all = models.chain(loras).chain(words);
        all.map(|(kind, name)| (name, kind)).collect()
    }

    fn resolve(&self, request: &TextToVideoRequest, init: Option<&InitMedia>) -> Result<Report, EngineError> {
        self.registry.resolve(request, init).map_err(engine_error)
    }

    fn nearest(&self, model: Option<&str>, size: [u32; 2], frames: u32) -> Result<([u32; 2], u32), EngineError> {
        let pipeline = self.pipeline(model)?;
        Ok((pipeline.nearest_size(size), pipeline.nearest_frames(frames)))
    }

    fn limits(&self, model: &str) -> Result<Option<Limits>, EngineError> {
        Ok(Some(self.pipeline(Some(model))?.limits()))
    }

    fn check(&self) -> Result<(), String> {
        let entries = self.entries();
        let mut models = entries.iter().filter(|(_, entry)| entry.kind.is_model());
        match models.find(|(_, entry)| source::is_lost(entry)) {
            Some((name, _)) => Err(format!("the files of the model `{name}` are not there")),
            None => Ok(()),
        }
    }

    fn render(&self, task: Task<'_>) -> Result<Rendered, EngineError> {
        let pipeline = self.registry.pipeline_for(&task.request).map_err(engine_error)?;
        render::render(&pipeline, task)
    }

    fn add_model(&self, name: &str, entry: &Entry) -> Result<(), String> {
        let entry = source::absolute(entry);
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        match entry.kind {
            EntryKind::Model | EntryKind::Checkpoint => self.registry.insert(name, source::model(&entry)?),
            EntryKind::Lora => self.registry.insert_lora(name, &entry.source),
            EntryKind::Embeddings => self.registry.insert_textual_inversion(name, &entry.source),
        }
        let is_addition = !entry.kind.is_model();
        if entries.insert(name.to_owned(), entry).is_some() && is_addition {
            // Open models keep what had the name before.
            self.registry.clear();
        }
        Ok(())
    }

    fn open_model(&self, name: &str) -> Result<(), String> {
        let entry = self.entries().remove(name);
        let opened = match &entry {
            Some(entry) if entry.kind == EntryKind::Lora => Lora::open(&entry.source).map(drop).map_err(Into::into),
            Some(entry) if entry.kind == EntryKind::Embeddings => {
                TextualInversion::open(&entry.source).map(drop).map_err(Into::into)
            }
            _ => self.registry.pipeline(name).map(drop),
        };
        opened.map_err(|error: PipelineError| error.to_string())
    }

    fn remove_model(&self, name: &str) -> bool {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        let was_added = match entries.remove(name).map(|entry| entry.kind) {
            Some(EntryKind::Lora) => self.registry.remove_lora(name),
            Some(EntryKind::Embeddings) => self.registry.remove_textual_inversion(name),
            _ => return self.registry.remove(name),
        };
        // Open models keep it otherwise.
        self.registry.clear();
        was_added
    }

    fn clear_cache(&self) {
        self.registry.clear();
    }
}

/// Whose fault it is: the request's, the machine's, or nobody's.
fn engine_error(error: PipelineError) -> EngineError {
    match error {
        PipelineError::Request(faults) => EngineError::Request(faults),
        PipelineError::UnknownModel { id, .. } => EngineError::UnknownModel(id),
        PipelineError::Cancelled => EngineError::Cancelled,
        // Files that are missing may come back, and a full disk may be emptied.
        PipelineError::Weights(_)
        | PipelineError::Hub(_)
        | PipelineError::TextEncoder(_)
        | PipelineError::Denoiser(_)
        | PipelineError::Vae(_)
        | PipelineError::Mp4(_) => EngineError::Unavailable(error.to_string()),
        other => EngineError::Failed {
            public: sentence(&other.public_message()),
            detail: other.to_string(),
        },
    }
}

/// A message as a sentence.
fn sentence(message: &str) -> String {
    let mut letters = message.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string());
    let ending = if message.ends_with('.') { "" } else { "." };
    format!("{}{}{ending}", first.unwrap_or_default(), letters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_folder_is_noticed_and_its_return_too() {
        let models = Models::new(&t2v_pipeline::Device::flex(), None);
        models.check().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let entry = Entry::new(EntryKind::Model, folder.path().display().to_string());
        models.add_model("mine", &entry).unwrap();
        let fault = models.check().unwrap_err();
        assert!(fault.contains("mine") && !fault.contains('/'), "{fault}");
        std::fs::write(folder.path().join("model_index.json"), "{}").unwrap();
        models.check().unwrap();
        assert_eq!(models.models(), [EMBEDDED, "mine"]);
        assert!(models.remove_model("mine") && !models.remove_model("mine"));
    }

    #[test]
    fn additions_have_names_beside_models() {
        let models = Models::new(&t2v_pipeline::Device::flex(), None);
        for (name, kind) in [("ink", EntryKind::Lora), ("<cat>", EntryKind::Embeddings)] {
            models
                .add_model(name, &Entry::new(kind, "/no/such/file.safetensors"))
                .unwrap();
            assert!(models.names().contains(&(name.to_owned(), kind)));
            models.check().unwrap();
            assert!(
                models
                    .open_model(name)
                    .unwrap_err()
                    .contains("/no/such/file.safetensors")
            );
            assert!(models.remove_model(name) && !models.remove_model(name));
        }
        assert_eq!(models.models(), [EMBEDDED]);
        assert_eq!(models.models_for(Medium::Video), [EMBEDDED]);
        assert!(models.models_for(Medium::Picture).is_empty());
    }

    #[test]
    fn messages_are_sentences() {
        assert_eq!(sentence("the model cannot be loaded"), "The model cannot be loaded.");
        assert_eq!(sentence("Done."), "Done.");
    }
}
