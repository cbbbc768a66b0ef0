//! One component of a model folder: its files, configuration and weights.

use std::{collections::BTreeSet, path::Path};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{Weights, WeightsError, load::WeightFile, source::Source};

/// File name stems of diffusers' and transformers' models.
const STEMS: [&str; 2] = ["diffusion_pytorch_model", "model"];
const PICKLE_STEMS: [&str; 2] = ["diffusion_pytorch_model", "pytorch_model"];
/// Full precision first, as diffusers does without a `variant`.
const VARIANTS: [&str; 3] = ["", ".fp16", ".bf16"];

/// A sub-folder of a model folder.
#[derive(Debug, Clone)]
pub struct Component {
    source: Source,
    name: String,
    class_name: String,
    variant: Option<String>,
}

impl Component {
    pub(crate) fn new(source: Source, name: &str, class_name: &str, variant: Option<&str>) -> Self {
        Self {
            source,
            name: name.into(),
            class_name: class_name.into(),
            variant: variant.map(Into::into),
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
        Ok(Self::new(Source::Folder(path.into()), "", "", None))
    }

    /// The class that the model index names; empty where there is no index.
    #[must_use]
    pub fn class_name(&self) -> &str {
        &self.class_name
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
        parse_json(&self.display(file), &self.read(file)?)
    }

    /// `config.json`, which must be of one of `classes`: its `_class_name`, its `architectures`, or else the class
    /// that the model index names.
    ///
    /// # Errors
    /// The file is absent, of another class, or a key is missing or of a wrong type.
    pub fn config<T: DeserializeOwned>(&self, classes: &[&str]) -> Result<T, WeightsError> {
        let file = "config.json";
        let fault = |reason| WeightsError::Config {
            file: self.display(file),
            reason,
        };
        let json = self.json(file)?;
        let class = json
            .get("_class_name")
            .or_else(|| json.get("architectures").and_then(|list| list.get(0)))
            .and_then(Value::as_str)
            .unwrap_or(&self.class_name);
        if !classes.contains(&class) {
            let known = classes.join(", ");
            return Err(fault(format!("the class `{class}` is not supported; {known} is")));
        }
        serde_json::from_value(Value::Object(json)).map_err(|e| fault(e.to_string()))
    }

    /// The component's weight files: safetensors before pickles, whole before sharded, full precision before variants,
    /// but the variant that [`ModelFolder::with_variant`](crate::ModelFolder::with_variant) asked for before all.
    ///
    /// # Errors
    /// No weight file, or an index that names files which are absent.
    pub fn weights(&self) -> Result<Weights, WeightsError> {
        let wanted = self.variant.as_deref().map(|variant| format!(".{variant}"));
        if let Some(variant) = &wanted
            && let Some(weights) = self.weights_among(&[variant])?
        {
            return Ok(weights);
        }
        if let Some(weights) = self.weights_among(&VARIANTS)? {
            return Ok(weights);
        }
        let tried: Vec<String> = candidates(&VARIANTS).map(|(whole, _)| whole).collect();
        Err(WeightsError::MissingFile {
            file: self.display(&tried[0]),
            hint: format!("the component has no weights (tried {})", tried.join(", ")),
        })
    }

    /// Whether there are weight files of a variant, such as `fp16`.
    pub(crate) fn has_variant(&self, variant: &str) -> bool {
        candidates(&[&format!(".{variant}")])
            .any(|(whole, indices)| self.has(&whole) || indices.iter().any(|index| self.has(index)))
    }

    fn weights_among(&self, variants: &[&str]) -> Result<Option<Weights>, WeightsError> {
        for (whole, indices) in candidates(variants) {
            if self.has(&whole) {
                return self.open_files(&whole, vec![whole.clone()]).map(Some);
            }
            for index in indices {
                if self.has(&index) {
                    return self.open_files(&index, self.shards(&index)?).map(Some);
                }
            }
        }
        Ok(None)
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
                Some(file) if path.ends_with(".bin") || path.ends_with(".pth") => Ok(WeightFile::Pickle { file }),
                _ => Ok(WeightFile::Safetensors {
                    file: self.display(file),
                    blob: self.source.blob(&path)?,
                }),
            }
        };
        let files = files.iter().map(open_one).collect::<Result<_, _>>()?;
        Ok(Weights::new(self.display(origin), files))
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

/// Names of a weight file and of the indices of its shards, best first.
fn candidates(variants: &[&str]) -> impl Iterator<Item = (String, Vec<String>)> {
    [("safetensors", STEMS), ("bin", PICKLE_STEMS)]
        .into_iter()
        .flat_map(move |(extension, stems)| {
            variants.iter().flat_map(move |variant| {
                stems.map(|stem| {
                    let whole = format!("{stem}{variant}.{extension}");
                    (whole, index_names(stem, variant, extension))
                })
            })
        })
}

/// The names an index has had over the versions of diffusers and transformers.
fn index_names(stem: &str, variant: &str, extension: &str) -> Vec<String> {
    let mut names = vec![format!("{stem}{variant}.{extension}.index.json")];
    if !variant.is_empty() {
        names.push(format!("{stem}.{extension}.index{variant}.json"));
        names.push(format!("{stem}.{extension}{variant}.index.json"));
    }
    names
}

/// A JSON object as Python writes it: it may hold `-Infinity`, `Infinity` and `NaN`, which become strings.
///
/// `file` is its name for error messages.
///
/// # Errors
/// What was read is no JSON object.
pub fn parse_json(file: &str, bytes: &[u8]) -> Result<Map<String, Value>, WeightsError> {
    let fault = |e: &dyn std::fmt::Display| WeightsError::Config {
        file: file.into(),
        reason: format!("not a JSON object: {e}"),
    };
    serde_json::from_slice(bytes).or_else(|error| {
        let text = std::str::from_utf8(bytes).map_err(|e| fault(&e))?;
        serde_json::from_str(&quote_python_numbers(text)).map_err(|_| fault(&error))
    })
}

fn quote_python_numbers(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    let (mut in_string, mut escaped) = (false, false);
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let number = ["-Infinity", "Infinity", "NaN"]
            .into_iter()
            .find(|n| rest.starts_with(n));
        match number {
            Some(number) if !in_string => {
                quoted.push_str(&format!("\"{number}\""));
                rest = &rest[number.len()..];
                continue;
            }
            _ => {}
        }
        in_string ^= c == '"' && !escaped;
        escaped = in_string && c == '\\' && !escaped;
        quoted.push(c);
        rest = &rest[c.len_utf8()..];
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn python_numbers_become_strings() {
        let text = br#"{"a": -Infinity, "b": [NaN, Infinity], "c": "NaN \" -Infinity", "d": 1}"#;
        let map = parse_json("x.json", text).unwrap();
        assert_eq!(map["a"], "-Infinity");
        assert_eq!(map["b"], serde_json::json!(["NaN", "Infinity"]));
        assert_eq!(map["c"], "NaN \" -Infinity");
        assert_eq!(map["d"], 1);
        let message = parse_json("x.json", b"{,}").unwrap_err().to_string();
        assert!(message.contains("x.json"), "{message}");
    }
}
