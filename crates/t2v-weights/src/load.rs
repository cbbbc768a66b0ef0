//! Weights into modules: renamed, converted one tensor at a time, and checked to be all that the module has.

use std::path::Path;

use burn::tensor::DType;
use burn_store::{
    ApplyError, ApplyResult, KeyRemapper, ModuleAdapter, ModuleContext, ModuleSnapshot, PyTorchToBurnAdapter,
    burn_pack::Tensor as DeferredTensor,
};

use sha2::{Digest, Sha256};

use crate::{
    Floats, KeyMap, ReadMeter, Selection, WeightsError,
    source::{Blob, digits},
    taken::bytes_taken,
    tensors::{Tensors, WeightFile, WeightFiles, cast_to},
};

const LISTED_KEYS: usize = 20;

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

    /// One file: safetensors by its extension, anything else as a PyTorch pickle.
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
        let tensors = self.tensors(floats)?.tensors;
        Ok(tensors.iter().map(|t| (t.shape.num_elements() * size(t)) as u64).sum())
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
    fn announce<M: ModuleSnapshot>(&self, module: &M, remapper: &KeyRemapper) -> Result<(), WeightsError> {
        let Some(meter) = &self.meter else { return Ok(()) };
        let (stored, _) = remapper.remap(self.tensors(Floats::as_stored())?.tensors);
        let sizes = stored.into_iter().map(|t| (t.name.clone(), t.byte_len() as u64));
        meter.begin(bytes_taken(module, sizes.collect()));
        Ok(())
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
        let Tensors { tensors, sources } = self.tensors(floats)?;
        let remapper = KeyRemapper::from_patterns(keys.renames.clone()).map_err(|e| self.mismatch(e.to_string()))?;
        self.announce(module, &remapper)?;
        let (tensors, renamed) = remapper.remap(tensors);
        // A list of layers of several kinds is a list of an enum's values; keys don't say which.
        let skip_enum_variants = true;
        let result = module.apply(
            tensors,
            None,
            Some(Box::new(TorchModules { floats })),
            skip_enum_variants,
        );
        self.check_stop()?;
        let unused = self.unused(&result, keys, &[&renamed, &sources])?;
        let optional = self.matcher(&keys.optional)?;
        let missing = result
            .missing
            .iter()
            .map(|(path, modules)| match modules.ends_with("ChannelRmsNorm") {
                true => path.clone(),
                false => torch_name(path),
            });
        self.check(&result, missing.filter(|path| !optional(path)).collect(), unused)
    }

    /// Whether a key matches one of the patterns. `KeyRemapper` compiles them: this crate needs no regex dependency of its own.
    fn matcher(&self, patterns: &[String]) -> Result<impl Fn(&str) -> bool + use<>, WeightsError> {
        let pairs = patterns.iter().map(|pattern| (pattern, "")).collect();
        let compiled = KeyRemapper::from_patterns(pairs).map_err(|e| self.mismatch(e.to_string()))?;
        let compiled = compiled.to_regex_pairs();
        Ok(move |key: &str| compiled.iter().any(|(regex, _)| regex.is_match(key)))
    }

    /// The keys that no parameter took and that `keys` does not know as extras, as the files call them.
    fn unused(
        &self,
        result: &ApplyResult,
        keys: &KeyMap,
        renamed: &[&[(String, String)]],
    ) -> Result<Vec<String>, WeightsError> {
        let ignored = self.matcher(&keys.ignored)?;
        let earlier = |key: String, pairs: &&[(String, String)]| match pairs.iter().find(|(new, _)| *new == key) {
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

    fn mismatch(&self, report: String) -> WeightsError {
        WeightsError::Mismatch {
            origin: self.origin.clone(),
            report,
        }
    }
}

/// Burn's normalisation layers name their parameters `gamma` and `beta`, torch's `weight` and `bias`.
///
/// Unlike burn-store's own adapter this one leaves linear weights as torch stores them, `[out, in]`: the models' linear
/// layers are column-major, so a view does what a transposing copy would.
#[derive(Clone)]
struct TorchModules {
    floats: Floats,
}

impl ModuleAdapter for TorchModules {
    fn adapt(&self, tensor: DeferredTensor, context: ModuleContext<'_>) -> DeferredTensor {
        let wanted = self
            .floats
            .of_module(tensor.dtype, &tensor.shape, context.module_type());
        let is_of = |kind| context.module_type().is_some_and(|name| name.ends_with(kind));
        let tensor = match () {
            () if is_of("Linear") => as_matrix(tensor),
            () if is_of("Conv2d") => as_kernels_of_images(tensor),
            () if is_of("ChannelRmsNorm") => as_vector(tensor),
            () => tensor,
        };
        cast_to(tensor, wanted)
    }

    fn get_alternative_param_name(&self, name: &str, module: &str) -> Option<String> {
        PyTorchToBurnAdapter.get_alternative_param_name(name, module)
    }

    fn clone_box(&self) -> Box<dyn ModuleAdapter> {
        Box::new(self.clone())
    }
}

/// A convolution by a kernel of one pixel is a linear layer over pixels, and checkpoints have one where others have the other.
/// One in three dimensions whose kernel is as large as its stride is a linear layer over patches.
fn as_matrix(mut tensor: DeferredTensor) -> DeferredTensor {
    match *tensor.shape.as_slice() {
        [out, width, 1, 1] => tensor.shape = [out, width].into(),
        [out, channels, time, height, width] => tensor.shape = [out, channels * time * height * width].into(),
        _ => {}
    }
    tensor
}

/// A convolution over the frames of a clip is one over images of their channels in turns (`conv2d_turns` in `t2v-kernels`).
fn as_kernels_of_images(mut tensor: DeferredTensor) -> DeferredTensor {
    if let [out, channels, frames, height, width] = *tensor.shape.as_slice() {
        tensor.shape = [out, channels * frames, height, width].into();
    }
    tensor
}

/// Checkpoints have a value a channel in the shape of an image or a clip.
fn as_vector(mut tensor: DeferredTensor) -> DeferredTensor {
    if let [channels, 1, 1] | [channels, 1, 1, 1] = *tensor.shape.as_slice() {
        tensor.shape = [channels].into();
    }
    tensor
}

fn torch_name(path: &str) -> String {
    let replace = |from, to| path.strip_suffix(from).map(|stem| format!("{stem}{to}"));
    replace(".gamma", ".weight")
        .or_else(|| replace(".beta", ".bias"))
        .unwrap_or_else(|| path.to_string())
}

fn describe(error: &ApplyError) -> String {
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
