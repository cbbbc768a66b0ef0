//! Weights into modules: renamed, converted one tensor at a time, and checked to be all that the module has.

use std::{collections::HashMap, path::Path};

use burn::tensor::DType;
use burn_store::{ApplyError, ApplyResult, KeyRemapper, ModuleSnapshot, burn_pack::Tensor as DeferredTensor};

use sha2::{Digest, Sha256};

use crate::{
    Floats, KeyMap, ReadMeter, Selection, WeightsError,
    named::Named,
    parameters::parameters,
    quantize::Blocks,
    source::{Blob, digits},
    tensors::{Tensors, WeightFile, WeightFiles},
};

const LISTED_KEYS: usize = 20;

/// New and old names of tensors: by the key map of a module, and by the selection before it.
pub(crate) type EarlierNames = [Vec<(String, String)>; 2];

/// A component's weight files, not read yet.
#[derive(Debug, Clone)]
pub struct Weights {
    origin: String,
    files: Vec<WeightFiles>,
    strict: bool,
    meter: Option<ReadMeter>,
}

/// What was left over when a module was filled.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoadReport {
    /// Keys of the files, in order, that the module has no parameter for.
    pub unused_keys: Vec<String>,
}

impl Weights {
    pub(crate) fn new(origin: String, files: Vec<WeightFile>) -> Self {
        Self {
            files: vec![WeightFiles::new(origin.clone(), files)],
            origin,
            strict: false,
            meter: None,
        }
    }

    /// One file: safetensors and GGUF by their extensions, anything else as a PyTorch pickle.
    ///
    /// # Errors
    /// There is no such file, or it can't be opened.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, WeightsError> {
        let path = path.as_ref();
        Ok(Self::new(path.display().to_string(), vec![WeightFile::open(path)?]))
    }

    /// Takes of the files what a component's selection says.
    #[must_use]
    pub fn with_selection(mut self, selection: Selection) -> Self {
        for files in &mut self.files {
            files.select(selection.clone());
        }
        self
    }

    /// Whether keys that the module has no parameter for are an error. Off at first: they are logged as a warning and
    /// left out, as in diffusers.
    #[must_use]
    pub fn with_strict(mut self, strict: bool) -> Self {
        self.strict = strict;
        self
    }

    /// Has `meter` count the bytes that [`load`](Self::load) reads, and stop it.
    #[must_use]
    pub fn with_meter(mut self, meter: &ReadMeter) -> Self {
        for files in &mut self.files {
            files.watch(meter);
        }
        self.meter = Some(meter.clone());
        self
    }

    /// The file that they are of, or the index of several, for messages.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Weights of a safetensors file held in memory; `origin` names it in errors.
    #[must_use]
    pub fn from_safetensors(origin: &str, bytes: Vec<u8>) -> Self {
        let blob = Blob::Memory(bytes.into());
        let file = origin.to_string();
        Self::new(origin.into(), vec![WeightFile::Safetensors { file, blob }])
    }

    /// SHA-256 of the files, one after the other, in hexadecimal digits. Reads them each time.
    ///
    /// # Errors
    /// A file can't be read.
    pub fn sha256(&self) -> Result<String, WeightsError> {
        let mut hash = Sha256::new();
        for files in &self.files {
            files.hash(&mut hash)?;
        }
        Ok(digits(hash))
    }

    /// These and others, which make one network together.
    #[must_use]
    pub fn joined_by(mut self, others: Self) -> Self {
        self.origin = format!("{} with {}", self.origin, others.origin);
        self.files.extend(others.files);
        self.strict |= others.strict;
        self
    }

    /// Bytes of all tensors once they are loaded, floating-point ones as `floats`; only headers are read.
    ///
    /// # Errors
    /// A file that can't be read.
    pub fn byte_len(&self, floats: impl Into<Floats>) -> Result<u64, WeightsError> {
        let floats = floats.into();
        // Those of normalisations, which may stay wider, count for nothing beside the matrices.
        let size = |t: &DeferredTensor| floats.of_module(t.dtype, &t.shape, None).size();
        let all = self.tensors(floats)?;
        let bytes = |t: &DeferredTensor| match all.blocks.get(&t.name) {
            Some(blocks) if floats.keeps_blocks(&blocks.shape) => blocks.len,
            _ => t.shape.num_elements() * size(t),
        };
        Ok(all.tensors.iter().map(|t| bytes(t) as u64).sum())
    }

    /// Names and shapes of all tensors, in the order of their names; only headers are read.
    ///
    /// # Errors
    /// A file that can't be read.
    pub fn shapes(&self) -> Result<Vec<(String, Vec<usize>)>, WeightsError> {
        let tensors = self.tensors(DType::F32.into())?.tensors;
        let mut shapes: Vec<_> = tensors.into_iter().map(|t| (t.name, t.shape.to_vec())).collect();
        shapes.sort();
        Ok(shapes)
    }

    /// Tells the meter how many bytes of the files `module` takes.
    fn announce<M: ModuleSnapshot>(&self, module: &M, keys: &KeyMap) -> Result<(), WeightsError> {
        let Some(meter) = &self.meter else { return Ok(()) };
        let all = self.tensors(Floats::as_stored())?;
        let len = |tensor: &DeferredTensor| {
            all.blocks
                .get(&tensor.name)
                .map_or(tensor.byte_len(), |blocks| blocks.len) as u64
        };
        let lens: Vec<u64> = all.tensors.iter().map(len).collect();
        let (tensors, _) = self.remapper(keys)?.remap(all.tensors);
        let names = tensors.into_iter().map(|tensor| tensor.name);
        let mut left: HashMap<String, u64> = names.zip(lens).collect();
        let parameters = parameters(module);
        let taken = parameters
            .iter()
            .filter_map(|parameter| parameter.names().find_map(|name| left.remove(name)));
        meter.begin(taken.sum());
        Ok(())
    }

    fn remapper(&self, keys: &KeyMap) -> Result<KeyRemapper, WeightsError> {
        KeyRemapper::from_patterns(keys.renames.clone()).map_err(|e| self.mismatch(e.to_string()))
    }

    /// # Errors
    /// Reading was to stop, before its end or just there.
    fn check_stop(&self) -> Result<(), WeightsError> {
        match &self.meter {
            Some(meter) if meter.is_stopped() => Err(WeightsError::Stopped {
                origin: self.origin.clone(),
            }),
            _ => Ok(()),
        }
    }

    fn tensors(&self, floats: Floats) -> Result<Tensors, WeightsError> {
        let mut all = Tensors::default();
        for files in &self.files {
            all.append(files.tensors(floats)?);
        }
        Ok(all)
    }

    /// Fills `module`, its floating-point parameters as `floats`.
    ///
    /// # Errors
    /// A file that can't be read; keys that lack in the files or have another shape, and for [strict](Self::with_strict)
    /// weights keys that the module lacks: all are listed. [`WeightsError::Stopped`] where a [meter](Self::with_meter) says so.
    pub fn load<M: ModuleSnapshot>(
        &self,
        module: &mut M,
        keys: &KeyMap,
        floats: impl Into<Floats>,
    ) -> Result<LoadReport, WeightsError> {
        let floats = floats.into();
        self.announce(module, keys)?;
        let (named, earlier) = self.named(keys, floats)?;
        let result = named.fill(module, floats);
        self.check_stop()?;
        self.checked(&result, keys, &earlier)
    }

    /// All tensors under the paths of a module.
    pub(crate) fn named(&self, keys: &KeyMap, floats: Floats) -> Result<(Named, EarlierNames), WeightsError> {
        let all = self.tensors(floats)?;
        let (tensors, renamed) = self.remapper(keys)?.remap(all.tensors);
        let kept = renamed.iter().filter_map(|(path, name)| {
            let source = all.blocks.get(name)?;
            floats
                .keeps_blocks(&source.shape)
                .then(|| (path.clone(), Blocks::Stored(source.clone())))
        });
        let named = Named {
            blocks: kept.collect(),
            tensors,
        };
        Ok((named, [renamed, all.sources]))
    }

    /// What filling a module came to.
    pub(crate) fn checked(
        &self,
        result: &ApplyResult,
        keys: &KeyMap,
        earlier: &EarlierNames,
    ) -> Result<LoadReport, WeightsError> {
        let unused = self.unused(result, keys, earlier)?;
        let optional = self.matcher(&keys.optional)?;
        let missing = result
            .missing
            .iter()
            .map(|(path, modules)| match modules.ends_with("ChannelRmsNorm") {
                true => path.clone(),
                false => torch_name(path),
            });
        self.check(result, missing.filter(|path| !optional(path)).collect(), unused)
    }

    /// Whether a key matches one of the patterns. `KeyRemapper` compiles them: this crate needs no regex dependency of its own.
    fn matcher(&self, patterns: &[String]) -> Result<impl Fn(&str) -> bool + use<>, WeightsError> {
        let pairs = patterns.iter().map(|pattern| (pattern, "")).collect();
        let compiled = KeyRemapper::from_patterns(pairs).map_err(|e| self.mismatch(e.to_string()))?;
        let compiled = compiled.to_regex_pairs();
        Ok(move |key: &str| compiled.iter().any(|(regex, _)| regex.is_match(key)))
    }

    /// The keys that no parameter took and that `keys` does not know as extras, as the files call them.
    fn unused(&self, result: &ApplyResult, keys: &KeyMap, renamed: &EarlierNames) -> Result<Vec<String>, WeightsError> {
        let ignored = self.matcher(&keys.ignored)?;
        let earlier = |key: String, pairs: &Vec<(String, String)>| match pairs.iter().find(|(new, _)| *new == key) {
            Some((_, old)) => old.clone(),
            None => key,
        };
        let original = |key: &String| renamed.iter().fold(key.clone(), earlier);
        let mut unused: Vec<String> = result.unused.iter().filter(|key| !ignored(key)).map(original).collect();
        unused.sort();
        Ok(unused)
    }

    fn check(
        &self,
        result: &ApplyResult,
        missing: Vec<String>,
        unused: Vec<String>,
    ) -> Result<LoadReport, WeightsError> {
        let errors: Vec<String> = result.errors.iter().map(describe).collect();
        let fails = !(missing.is_empty() && errors.is_empty()) || self.strict && !unused.is_empty();
        if !fails {
            if !unused.is_empty() {
                let (origin, count, keys) = (&self.origin, unused.len(), list(&unused));
                log::warn!("`{origin}` has keys that the model does not have; they are left out: {count} keys: {keys}");
            }
            return Ok(LoadReport { unused_keys: unused });
        }
        let parts = [
            ("missing keys", missing),
            ("unused keys", unused),
            ("unusable tensors", errors),
        ];
        let report: Vec<String> = parts
            .into_iter()
            .filter(|(_, keys)| !keys.is_empty())
            .map(|(title, mut keys)| {
                keys.sort();
                format!("{} {title}: {}", keys.len(), list(&keys))
            })
            .collect();
        Err(self.mismatch(report.join("; ")))
    }

    pub(crate) fn mismatch(&self, report: String) -> WeightsError {
        WeightsError::Mismatch {
            origin: self.origin.clone(),
            report,
        }
    }
}

pub(crate) fn torch_name(path: &str) -> String {
    let replace = |from, to| path.strip_suffix(from).map(|stem| format!("{stem}{to}"));
    replace(".gamma", ".weight")
        .or_else(|| replace(".beta", ".bias"))
        .unwrap_or_else(|| path.to_string())
}

pub(crate) fn describe(error: &ApplyError) -> String {
    match error {
        ApplyError::ShapeMismatch { path, expected, found } => {
            let (found, expected) = (found.as_slice(), expected.as_slice());
            format!("{} has shape {found:?} instead of {expected:?}", torch_name(path))
        }
        ApplyError::DTypeMismatch { path, expected, found } => {
            format!("{} is {found:?} instead of {expected:?}", torch_name(path))
        }
        ApplyError::AdapterError { path, message } | ApplyError::LoadError { path, message } => {
            format!("{}: {message}", torch_name(path))
        }
    }
}

/// The first keys of many.
pub(crate) fn list(keys: &[String]) -> String {
    let mut text = keys[..keys.len().min(LISTED_KEYS)].join(", ");
    if keys.len() > LISTED_KEYS {
        text.push_str(&format!(" and {} more", keys.len() - LISTED_KEYS));
    }
    text
}
