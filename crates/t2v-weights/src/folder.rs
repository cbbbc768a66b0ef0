//! `model_index.json`: which components a pipeline has.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    path::{Path, PathBuf},
};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{
    Component, EmbeddedFile, FolderParts, Selection, Weights, WeightsError, json, layout, settings::Settings,
    source::Source,
};

pub(crate) const INDEX: &str = "model_index.json";

/// What the model index says of a component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexEntry {
    /// The Python library of the class, such as `diffusers`.
    pub library: String,
    /// The class, such as `UNet3DConditionModel`.
    pub class: String,
}

/// A diffusers model folder.
#[derive(Debug, Clone)]
pub struct ModelFolder {
    source: Source,
    index: Map<String, Value>,
    settings: Settings,
}

impl ModelFolder {
    /// Opens the folder at `path` and reads its `model_index.json`.
    ///
    /// # Errors
    /// No such folder, or no readable index in it: what is there instead is said, where it is known.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, WeightsError> {
        let path = path.as_ref();
        layout::check(path)?;
        Self::new(Source::Folder(path.into()))
    }

    /// A checkpoint that lies in the binary; `name` stands for it in messages.
    ///
    /// # Errors
    /// The files hold no readable `model_index.json`.
    pub fn embedded(name: &'static str, files: &'static [EmbeddedFile]) -> Result<Self, WeightsError> {
        Self::new(Source::Embedded { name, files })
    }

    /// A model folder put together from files that lie elsewhere.
    ///
    /// # Errors
    /// They hold no readable `model_index.json`.
    pub fn from_parts(parts: FolderParts) -> Result<Self, WeightsError> {
        Self::new(Source::Parts(parts.into()))
    }

    fn new(source: Source) -> Result<Self, WeightsError> {
        let index = json::parse_json(&source.display(INDEX), &source.read(INDEX)?)?;
        Ok(Self {
            source,
            index,
            settings: Settings::default(),
        })
    }

    /// Reads the weight files of a variant, such as `fp16`. Components that have none of it are read in full precision, as
    /// in diffusers.
    ///
    /// # Errors
    /// No component has the variant: those that there are are listed.
    pub fn with_variant(mut self, variant: &str) -> Result<Self, WeightsError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
        let mut available = BTreeSet::new();
        for name in self.component_names() {
            available.extend(self.component(name)?.variants()?);
        }
        if !variant.chars().all(plain) || !available.contains(variant) {
            return Err(WeightsError::MissingVariant {
                folder: self.source.display(""),
                variant: variant.escape_debug().to_string(),
                available: available.into_iter().collect(),
            });
        }
        self.settings.variant = Some(variant.into());
        Ok(self)
    }

    /// Takes the weights of a component from `file`, a selection of what is in it, in place of the folder's own.
    ///
    /// # Errors
    /// The index lists no such component, or weights were given for it before; the model is one that lies in the binary.
    pub fn with_weights(
        mut self,
        component: &str,
        file: impl Into<PathBuf>,
        selection: Selection,
    ) -> Result<Self, WeightsError> {
        self.component(component)?;
        let parts = match &self.source {
            Source::Folder(root) => FolderParts::new(root).with_folder(root),
            Source::Parts(parts) => FolderParts::clone(parts),
            Source::Embedded { .. } => {
                return Err(self.fault("the model lies in the binary, where no other weights can be given".into()));
            }
        };
        let file = file.into();
        if let Some(given) = parts.given_weights(component) {
            let (given, file) = (given.display(), file.display());
            return Err(self.fault(format!(
                "two files are given for its `{component}`, `{given}` and `{file}`: leave out one"
            )));
        }
        self.source = Source::Parts(parts.with_weights(component, file, selection).into());
        Ok(self)
    }

    /// Whether [weights were given](Self::with_weights) for a component.
    #[must_use]
    pub fn has_given_weights(&self, component: &str) -> bool {
        match &self.source {
            Source::Parts(parts) => parts.given_weights(component).is_some(),
            Source::Folder(_) | Source::Embedded { .. } => false,
        }
    }

    /// Whether weights with keys that a model lacks are refused, as [`Weights::with_strict`](crate::Weights::with_strict).
    #[must_use]
    pub fn with_strict(mut self, strict: bool) -> Self {
        self.settings.strict = strict;
        self
    }

    /// The folder's own name, or that of the file in its place, without the path to it.
    #[must_use]
    pub fn name(&self) -> &str {
        let path = match &self.source {
            Source::Folder(path) => path,
            Source::Parts(parts) => parts.origin(),
            Source::Embedded { name, .. } => return name,
        };
        path.file_name().and_then(OsStr::to_str).unwrap_or("")
    }

    /// The pipeline class that saved the folder, such as `TextToVideoSDPipeline`; none where the index has no
    /// `_class_name`.
    ///
    /// # Errors
    /// It is not a string, as in folders that bring a pipeline's code.
    pub fn pipeline_class(&self) -> Result<Option<&str>, WeightsError> {
        match self.index.get("_class_name") {
            None => Ok(None),
            Some(Value::String(class)) => Ok(Some(class)),
            Some(other) => Err(self.fault(format!(
                "`_class_name` is {other}; it must be the name of a pipeline class, such as \"TextToVideoSDPipeline\""
            ))),
        }
    }

    /// The components that the index lists, without those that it lists as absent.
    pub fn component_names(&self) -> impl Iterator<Item = &str> {
        let listed = |(name, _): &(&String, &Value)| matches!(self.entry(name), Ok(Some(_)));
        self.index.iter().filter(listed).map(|(name, _)| name.as_str())
    }

    /// What the index says of a component; none where it does not list it, or lists it as absent (`[null, null]`).
    ///
    /// # Errors
    /// The entry is something else than `["library", "ClassName"]`.
    pub fn entry(&self, name: &str) -> Result<Option<IndexEntry>, WeightsError> {
        let absent = |value: &Value| match value {
            Value::Null => true,
            Value::Array(parts) => !parts.is_empty() && parts.iter().all(Value::is_null),
            _ => false,
        };
        let Some(entry) = self.index.get(name).filter(|value| !absent(value)) else {
            return Ok(None);
        };
        match entry.as_array().map(Vec::as_slice) {
            Some([Value::String(library), Value::String(class)]) => Ok(Some(IndexEntry {
                library: library.clone(),
                class: class.clone(),
            })),
            _ => Err(self.fault(format!("`{name}` is {entry}; it must be [\"library\", \"ClassName\"]"))),
        }
    }

    /// A JSON file beside the index, where the folder has it.
    ///
    /// # Errors
    /// A key is unknown, or its value of a wrong type.
    pub fn optional_config<T: DeserializeOwned>(&self, file: &str) -> Result<Option<T>, WeightsError> {
        if !self.source.exists(file) {
            return Ok(None);
        }
        json::from_slice(&self.source.display(file), &self.source.read(file)?).map(Some)
    }

    /// A file of weights beside the index, where the folder has it.
    ///
    /// # Errors
    /// It can't be opened.
    pub fn optional_weights(&self, file: &str) -> Result<Option<Weights>, WeightsError> {
        let path = self.source.folder_path(file).filter(|path| path.is_file());
        path.map(|path| Ok(Weights::open(path)?.with_strict(self.settings.strict)))
            .transpose()
    }

    /// The component `name`. Its class is checked where its configuration is read.
    ///
    /// # Errors
    /// The index does not list it, lists it as absent (`[null, null]`), or has something else than a library and a class.
    pub fn component(&self, name: &str) -> Result<Component, WeightsError> {
        match self.entry(name)? {
            Some(entry) => Ok(Component::new(
                self.source.clone(),
                name,
                Some(entry),
                self.settings.clone(),
            )),
            None => Err(self.fault(format!(
                "it lists no component `{name}`, as in \"{name}\": [\"library\", \"ClassName\"]"
            ))),
        }
    }

    fn fault(&self, reason: String) -> WeightsError {
        WeightsError::Config {
            file: self.source.display(INDEX),
            reason,
        }
    }
}
