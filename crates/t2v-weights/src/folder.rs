//! `model_index.json`: which components a pipeline has.

use std::{ffi::OsStr, path::Path};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{Component, EmbeddedFile, WeightsError, component::parse_json, source::Source};

const INDEX: &str = "model_index.json";

/// A diffusers model folder.
#[derive(Debug, Clone)]
pub struct ModelFolder {
    source: Source,
    index: Map<String, Value>,
    variant: Option<String>,
}

impl ModelFolder {
    /// Opens the folder at `path` and reads its `model_index.json`.
    ///
    /// # Errors
    /// No such folder, or no readable index in it.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, WeightsError> {
        let path = path.as_ref();
        if !path.is_dir() {
            return Err(WeightsError::MissingFolder(path.into()));
        }
        Self::new(Source::Folder(path.into()))
    }

    /// A checkpoint that lies in the binary; `name` stands for it in messages.
    ///
    /// # Errors
    /// The files hold no readable `model_index.json`.
    pub fn embedded(name: &'static str, files: &'static [EmbeddedFile]) -> Result<Self, WeightsError> {
        Self::new(Source::Embedded { name, files })
    }

    fn new(source: Source) -> Result<Self, WeightsError> {
        let index = parse_json(&source.display(INDEX), &source.read(INDEX)?)?;
        Ok(Self {
            source,
            index,
            variant: None,
        })
    }

    /// Prefers the weight files of a variant, such as `fp16`. Components that have none of it keep their others, as
    /// they do upstream.
    ///
    /// # Errors
    /// No component has the variant.
    pub fn with_variant(mut self, variant: &str) -> Result<Self, WeightsError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
        let mut components = self.index.keys().filter_map(|name| self.component(name).ok());
        if !variant.chars().all(plain) || !components.any(|component| component.has_variant(variant)) {
            return Err(WeightsError::MissingVariant {
                folder: self.source.display(""),
                variant: variant.escape_debug().to_string(),
            });
        }
        self.variant = Some(variant.into());
        Ok(self)
    }

    /// The folder's own name, without the path to it.
    #[must_use]
    pub fn name(&self) -> &str {
        match &self.source {
            Source::Folder(path) => path.file_name().and_then(OsStr::to_str).unwrap_or(""),
            Source::Embedded { name, .. } => name,
        }
    }

    /// The pipeline class that saved the folder, such as `TextToVideoSDPipeline`; empty where the index has none.
    #[must_use]
    pub fn pipeline_class(&self) -> &str {
        self.index.get("_class_name").and_then(Value::as_str).unwrap_or("")
    }

    /// A JSON file beside the index, where the folder has it.
    ///
    /// # Errors
    /// A key is unknown, or its value of a wrong type.
    pub fn optional_config<T: DeserializeOwned>(&self, file: &str) -> Result<Option<T>, WeightsError> {
        if !self.source.exists(file) {
            return Ok(None);
        }
        let config = serde_json::from_slice(&self.source.read(file)?);
        config.map(Some).map_err(|e| WeightsError::Config {
            file: self.source.display(file),
            reason: e.to_string(),
        })
    }

    /// The component `name`. Library names in the index are not looked at: they changed between versions.
    ///
    /// # Errors
    /// The index does not list it, or lists it as absent (`[null, null]`).
    pub fn component(&self, name: &str) -> Result<Component, WeightsError> {
        let entry = self.index.get(name);
        let class = entry.and_then(|e| e.get(1)).and_then(Value::as_str);
        match class {
            Some(class) => Ok(Component::new(
                self.source.clone(),
                name,
                class,
                self.variant.as_deref(),
            )),
            None => Err(WeightsError::Config {
                file: self.source.display(INDEX),
                reason: format!("it lists no component `{name}`, as in \"{name}\": [\"library\", \"ClassName\"]"),
            }),
        }
    }
}
