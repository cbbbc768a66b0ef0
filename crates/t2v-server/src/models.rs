//! Models, and the engine that makes videos with them: `t2v-pipeline` as the jobs see it.

mod preview;
mod progress;
mod render;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use t2v_pipeline::{
    FolderModel, HubModel, InitMedia, Limits, ModelRegistry, ModelSource, Pipeline, PipelineError, Placement, Report,
    TextToVideoRequest,
};

use crate::worker::engine::{Engine, EngineError, Rendered, Task};

/// The checkpoint inside the program.
pub const EMBEDDED: &str = "tiny-world";

/// Models by name, on one device.
pub struct Models {
    registry: ModelRegistry,
    default: String,
    /// Folders that models are read from, which may get lost.
    folders: RwLock<BTreeMap<String, PathBuf>>,
}

impl Models {
    /// The embedded checkpoint alone; requests without a model get `default`, if there is one of the name.
    #[must_use]
    pub fn new(on: impl Into<Placement>, default: Option<String>) -> Self {
        let default = default.unwrap_or_else(|| EMBEDDED.to_owned());
        Self {
            registry: ModelRegistry::new(on).with_default_model(default.clone()),
            default,
            folders: RwLock::default(),
        }
    }

    fn pipeline(&self, model: Option<&str>) -> Result<Arc<Pipeline>, EngineError> {
        let name = model.unwrap_or(&self.default);
        self.registry.pipeline(name).map_err(engine_error)
    }
}

/// What `NAME=SOURCE` means: a folder where there is one or where it looks like a path, else a hub id.
fn parse_source(source: &str) -> Result<ModelSource, String> {
    let is_path = Path::new(source).is_dir() || source.starts_with(['/', '.', '~']);
    if is_path {
        return Ok(FolderModel::new(source).into());
    }
    HubModel::new(source)
        .map(Into::into)
        .map_err(|error| format!("`{source}` is neither a folder nor an id of the hub: {error}"))
}

impl Engine for Models {
    fn models(&self) -> Vec<String> {
        let mut names = self.registry.names();
        if let Some(at) = names.iter().position(|name| *name == self.default) {
            names[..=at].rotate_right(1);
        }
        names
    }

    fn resolve(&self, request: &TextToVideoRequest, init: Option<&InitMedia>) -> Result<Report, EngineError> {
        let pipeline = self.pipeline(request.model_id.as_deref())?;
        pipeline.resolve(request, init).map_err(engine_error)
    }

    fn nearest(&self, model: Option<&str>, size: [u32; 2], frames: u32) -> Result<([u32; 2], u32), EngineError> {
        let pipeline = self.pipeline(model)?;
        Ok((pipeline.nearest_size(size), pipeline.nearest_frames(frames)))
    }

    fn limits(&self, model: &str) -> Result<Option<Limits>, EngineError> {
        Ok(Some(self.pipeline(Some(model))?.limits()))
    }

    fn check(&self) -> Result<(), String> {
        let folders = self.folders.read().unwrap_or_else(PoisonError::into_inner);
        let lost = folders
            .iter()
            .find(|(_, folder)| !folder.join("model_index.json").is_file());
        match lost {
            Some((name, _)) => Err(format!("the folder of the model `{name}` is not there")),
            None => Ok(()),
        }
    }

    fn render(&self, task: Task<'_>) -> Result<Rendered, EngineError> {
        let pipeline = self.pipeline(task.request.model_id.as_deref())?;
        render::render(&pipeline, task)
    }

    fn add_model(&self, name: &str, source: &str) -> Result<(), String> {
        let parsed = parse_source(source)?;
        let mut folders = self.folders.write().unwrap_or_else(PoisonError::into_inner);
        match &parsed {
            ModelSource::Folder(_) => folders.insert(name.to_owned(), source.into()),
            _ => folders.remove(name),
        };
        self.registry.insert(name, parsed);
        Ok(())
    }

    fn open_model(&self, name: &str) -> Result<(), String> {
        self.registry
            .pipeline(name)
            .map(drop)
            .map_err(|error| error.to_string())
    }

    fn remove_model(&self, name: &str) -> bool {
        self.folders
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(name);
        self.registry.remove(name)
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
    fn sources_are_folders_or_hub_ids() {
        assert!(matches!(parse_source("."), Ok(ModelSource::Folder(_))));
        assert!(matches!(parse_source("/no/such/folder"), Ok(ModelSource::Folder(_))));
        assert!(matches!(parse_source("owner/name"), Ok(ModelSource::Hub(_))));
        assert!(parse_source("a b").unwrap_err().contains("a b"));
    }

    #[test]
    fn a_lost_folder_is_noticed_and_its_return_too() {
        let models = Models::new(&t2v_pipeline::Device::flex(), None);
        models.check().unwrap();
        let folder = tempfile::tempdir().unwrap();
        models.add_model("mine", &folder.path().display().to_string()).unwrap();
        let fault = models.check().unwrap_err();
        assert!(fault.contains("mine") && !fault.contains('/'), "{fault}");
        std::fs::write(folder.path().join("model_index.json"), "{}").unwrap();
        models.check().unwrap();
        assert_eq!(models.models(), [EMBEDDED, "mine"]);
        assert!(models.remove_model("mine") && !models.remove_model("mine"));
    }

    #[test]
    fn messages_are_sentences() {
        assert_eq!(sentence("the model cannot be loaded"), "The model cannot be loaded.");
        assert_eq!(sentence("Done."), "Done.");
    }
}
