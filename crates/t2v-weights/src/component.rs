//! One component of a model folder: its files, configuration and weights.

use std::{collections::BTreeSet, path::Path};

use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Map, Value};

use crate::{
    FolderParts, Weights, WeightsError,
    folder::{INDEX, IndexEntry},
    json, layout,
    settings::Settings,
    source::Source,
    tensors::WeightFile,
    weight_files::{candidates, variants_among},
};

/// What is read where no variant was asked for: full precision as in diffusers, or else half, which diffusers refuses.
const UNASKED: [&str; 3] = ["", "fp16", "bf16"];

/// A sub-folder of a model folder.
#[derive(Debug, Clone)]
pub struct Component {
    source: Source,
    name: String,
    entry: Option<IndexEntry>,
    settings: Settings,
}

impl Component {
    pub(crate) fn new(source: Source, name: &str, entry: Option<IndexEntry>, settings: Settings) -> Self {
        Self {
            source,
            name: name.into(),
            entry,
            settings,
        }
    }

    /// A folder that is no part of a diffusers model, such as a language model of transformers.
    ///
    /// # Errors
    /// No such folder.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, WeightsError> {
        let path = path.as_ref();
        if !path.is_dir() {
            return Err(WeightsError::MissingFolder(path.into()));
        }
        Ok(Self::new(Source::Folder(path.into()), "", None, Settings::default()))
    }

    /// A folder of one component of diffusers, such as a motion adapter: `config.json`, of one of `classes`, and weights.
    ///
    /// # Errors
    /// No such folder, one of something else, or of another class.
    pub fn open_class(path: impl AsRef<Path>, classes: &[&str]) -> Result<Self, WeightsError> {
        let path = path.as_ref();
        layout::check_component(path, classes)?;
        let component = Self::open(path)?;
        component.config::<IgnoredAny>(classes)?;
        Ok(component)
    }

    /// A component put together from files that lie elsewhere; its own files have no folder in front of their names.
    #[must_use]
    pub fn from_parts(parts: FolderParts) -> Self {
        Self::new(Source::Parts(parts.into()), "", None, Settings::default())
    }

    /// Whether weights with keys that the model lacks are refused, as [`Weights::with_strict`].
    #[must_use]
    pub fn with_strict(mut self, strict: bool) -> Self {
        self.settings.strict = strict;
        self
    }

    /// The component's entry of the model index; none where there is no index.
    #[must_use]
    pub fn entry(&self) -> Option<&IndexEntry> {
        self.entry.as_ref()
    }

    /// Whether the component has this file.
    #[must_use]
    pub fn has(&self, file: &str) -> bool {
        self.source.exists(&self.path(file))
    }

    /// A file's bytes.
    ///
    /// # Errors
    /// It is absent or unreadable.
    pub fn read(&self, file: &str) -> Result<Vec<u8>, WeightsError> {
        Ok(self.source.read(&self.path(file))?.into_owned())
    }

    /// The file's name for messages.
    #[must_use]
    pub fn display(&self, file: &str) -> String {
        self.source.display(&self.path(file))
    }

    /// A JSON file of the component as a map.
    ///
    /// # Errors
    /// It is absent or not a JSON object.
    pub fn json(&self, file: &str) -> Result<Map<String, Value>, WeightsError> {
        json::parse_json(&self.display(file), &self.read(file)?)
    }

    /// Checks that the model index, where there is one, gives the component one of `classes`.
    ///
    /// # Errors
    /// It gives another class.
    pub fn check_class(&self, classes: &[&str]) -> Result<(), WeightsError> {
        match &self.entry {
            Some(entry) if !classes.contains(&entry.class.as_str()) => Err(WeightsError::Config {
                file: self.source.display(INDEX),
                reason: format!(
                    "the class of `{}` is `{}`, which is not supported; {} is",
                    self.name,
                    entry.class,
                    classes.join(" or ")
                ),
            }),
            _ => Ok(()),
        }
    }

    /// `config.json`, which must be of one of `classes`: in the model index, and by its own `_class_name` or
    /// `architectures`; one of them has to name a class.
    ///
    /// As in diffusers, keys that `_use_default_values` lists have their defaults.
    ///
    /// # Errors
    /// The file is absent, of another class, of quantised weights, or a key is missing or of a wrong type.
    pub fn config<T: DeserializeOwned>(&self, classes: &[&str]) -> Result<T, WeightsError> {
        self.check_class(classes)?;
        let file = self.display("config.json");
        let fault = |reason| WeightsError::Config {
            file: file.clone(),
            reason,
        };
        let mut json = self.json("config.json")?;
        let known = classes.join(" or ");
        match own_class(&json).map_err(fault)? {
            Some(class) if !classes.contains(&class) => {
                return Err(fault(format!("the class `{class}` is not supported; {known} is")));
            }
            None if self.entry.is_none() => {
                let keys = "`architectures` or `_class_name`";
                return Err(fault(format!("no class is named in {keys}; {known} is supported")));
            }
            _ => {}
        }
        if json.get("quantization_config").is_some_and(|value| !value.is_null()) {
            let reason = "`quantization_config` is set; quantised weights are not supported".into();
            return Err(fault(reason));
        }
        if let Some(Value::Array(unset)) = json.remove("_use_default_values") {
            json.retain(|key, _| !unset.iter().any(|name| name == key));
        }
        json::from_map(&file, json)
    }

    /// The component's weight files, safetensors before pickles.
    ///
    /// They are those of the variant that [`ModelFolder::with_variant`](crate::ModelFolder::with_variant) asked for, where
    /// the component has it, and otherwise those in full precision, as in diffusers. Where no variant was asked for and
    /// there is no full precision, `fp16` or `bf16` serve; diffusers refuses that.
    ///
    /// # Errors
    /// No weight file, or an index that names files which are absent.
    pub fn weights(&self) -> Result<Weights, WeightsError> {
        if let Some(weights) = self.source.weights_of(&self.name) {
            return Ok(weights?.with_strict(self.settings.strict));
        }
        let variants: &[&str] = match self.settings.variant.as_deref() {
            Some(variant) if self.variants()?.contains(variant) => &[variant],
            Some(_) => &[""],
            None => &UNASKED,
        };
        for variant in variants {
            if let Some(weights) = self.weights_of(variant)? {
                return Ok(weights);
            }
        }
        let tried: Vec<String> = candidates("").into_iter().map(|c| c.file).collect();
        let mut hint = format!("the component has no weights (looked for {})", tried.join(", "));
        let variants = self.variants()?;
        if !variants.is_empty() {
            let variants: Vec<String> = variants.into_iter().collect();
            hint.push_str(&format!("; it has those of the variant {}", variants.join(", ")));
        }
        Err(WeightsError::MissingFile {
            file: self.display("diffusion_pytorch_model.safetensors"),
            hint,
        })
    }

    /// The variants that the component has weight files of, such as `fp16`.
    pub(crate) fn variants(&self) -> Result<BTreeSet<String>, WeightsError> {
        if self.source.weights_of(&self.name).is_some() {
            return Ok(BTreeSet::new());
        }
        Ok(variants_among(&self.source.list(&self.name)?))
    }

    fn weights_of(&self, variant: &str) -> Result<Option<Weights>, WeightsError> {
        let found = candidates(variant).into_iter().find(|c| self.has(&c.file));
        let Some(found) = found else { return Ok(None) };
        let files = match found.is_index {
            true => self.shards(&found.file)?,
            false => vec![found.file.clone()],
        };
        self.open_files(&found.file, files).map(Some)
    }

    fn open_files(&self, origin: &str, files: Vec<String>) -> Result<Weights, WeightsError> {
        let open_one = |file: &String| {
            let path = self.path(file);
            if !self.source.exists(&path) {
                return Err(WeightsError::MissingFile {
                    file: self.display(file),
                    hint: format!("`{origin}` names it"),
                });
            }
            match self.source.folder_path(&path) {
                Some(file) if path.ends_with(".bin") || path.ends_with(".pth") => Ok(WeightFile::pickle(file)),
                _ if path.ends_with(".gguf") => Ok(WeightFile::Gguf {
                    file: self.display(file),
                    blob: self.source.blob(&path)?,
                }),
                _ => Ok(WeightFile::Safetensors {
                    file: self.display(file),
                    blob: self.source.blob(&path)?,
                }),
            }
        };
        let files = files.iter().map(open_one).collect::<Result<_, _>>()?;
        Ok(Weights::new(self.display(origin), files).with_strict(self.settings.strict))
    }

    /// The distinct files of an index's `weight_map`, each a plain name inside the component's folder.
    fn shards(&self, index: &str) -> Result<Vec<String>, WeightsError> {
        let fault = |reason: &str| WeightsError::Config {
            file: self.display(index),
            reason: reason.into(),
        };
        let json = self.json(index)?;
        let map = json.get("weight_map").and_then(Value::as_object);
        let map = map.ok_or_else(|| fault("it has no object `weight_map` from keys to files"))?;
        let mut files = BTreeSet::new();
        for file in map.values() {
            let file = file
                .as_str()
                .ok_or_else(|| fault("a value of `weight_map` is no string"))?;
            if file.contains(['/', '\\']) || file.starts_with("..") {
                return Err(fault("a file of `weight_map` lies outside the folder"));
            }
            files.insert(file.to_string());
        }
        Ok(files.into_iter().collect())
    }

    fn path(&self, file: &str) -> String {
        match self.name.as_str() {
            "" => file.to_string(),
            name => format!("{name}/{file}"),
        }
    }
}

/// The class that a configuration says it is of; the error says what is wrong.
fn own_class(config: &Map<String, Value>) -> Result<Option<&str>, String> {
    let of_diffusers = config.get("_class_name").map(|class| ("_class_name", class));
    let of_transformers = || {
        let list = config.get("architectures").filter(|list| !list.is_null())?;
        Some(("architectures[0]", list.get(0).unwrap_or(list)))
    };
    match of_diffusers.or_else(of_transformers) {
        None => Ok(None),
        Some((_, Value::String(class))) => Ok(Some(class)),
        Some((key, other)) => Err(format!("`{key}` is {other}; it must be the name of a class")),
    }
}
