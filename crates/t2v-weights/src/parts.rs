//! A model folder that is put together from files which lie elsewhere.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::{Selection, Weights, WeightsError};

/// Where the files of a model folder are that no folder holds: a checkpoint of one file, with the configurations that it
/// does not have.
///
/// A JSON file is looked for in the [folder](Self::with_folder) first, and given [ones](Self::with_json) take the place of
/// those that it lacks. Weights are those that were [given](Self::with_weights), before those of the folder.
#[derive(Debug, Clone)]
pub struct FolderParts {
    origin: PathBuf,
    folder: Option<PathBuf>,
    json: BTreeMap<String, Vec<u8>>,
    weights: BTreeMap<String, (PathBuf, Selection)>,
}

impl FolderParts {
    /// Nothing yet; `origin` is what the folder goes by in messages and reports.
    #[must_use]
    pub fn new(origin: impl Into<PathBuf>) -> Self {
        Self {
            origin: origin.into(),
            folder: None,
            json: BTreeMap::new(),
            weights: BTreeMap::new(),
        }
    }

    /// Takes files from `folder`.
    #[must_use]
    pub fn with_folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// A JSON file, by its path inside the model folder with `/`, for where the folder has none.
    #[must_use]
    pub fn with_json(mut self, path: &str, json: &Value) -> Self {
        self.json.insert(path.into(), json.to_string().into_bytes());
        self
    }

    /// Weights of a component, a selection of those in `file`.
    #[must_use]
    pub fn with_weights(mut self, component: &str, file: impl Into<PathBuf>, selection: Selection) -> Self {
        self.weights.insert(component.into(), (file.into(), selection));
        self
    }

    pub(crate) fn origin(&self) -> &Path {
        &self.origin
    }

    pub(crate) fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// Where the folder has a file.
    pub(crate) fn on_disk(&self, path: &str) -> Option<PathBuf> {
        let file = self.folder.as_ref()?.join(path);
        file.is_file().then_some(file)
    }

    pub(crate) fn json(&self, path: &str) -> Option<&[u8]> {
        self.json.get(path).map(Vec::as_slice)
    }

    /// The file as a person would look for it: where it is, or else where it is looked for.
    pub(crate) fn display(&self, path: &str) -> String {
        match (&self.folder, self.on_disk(path), self.json(path)) {
            (_, Some(file), _) => file.display().to_string(),
            (_, None, Some(_)) => format!("{} (assumed)", self.origin.join(path).display()),
            (folder, None, None) => folder.as_ref().unwrap_or(&self.origin).join(path).display().to_string(),
        }
    }

    /// The file that was given for a component's weights.
    pub(crate) fn given_weights(&self, component: &str) -> Option<&Path> {
        self.weights.get(component).map(|(file, _)| file.as_path())
    }

    /// The weights that were given for a component.
    pub(crate) fn weights(&self, component: &str) -> Option<Result<Weights, WeightsError>> {
        let (file, selection) = self.weights.get(component)?;
        Some(Weights::open(file).map(|weights| weights.with_selection(selection.clone())))
    }
}
