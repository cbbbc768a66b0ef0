//! What a component takes of a file that holds several, and what it calls it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use burn::tensor::{Bytes, Shape};
use burn_store::{
    KeyRemapper,
    burn_pack::{Error as PackError, Tensor as DeferredTensor},
};

use crate::{Floats, WeightsError, tensors::cast};

/// The tensors of a file that are a component's, under the component's own names.
///
/// Steps, in this order whatever that of the calls: wrappers are taken off, keys are selected by a prefix, some are left
/// out, the others are renamed, split into parts, squeezed. Patterns are regular expressions, replacements `$1`-style; one
/// that does not compile is reported when the selection is used.
///
/// ```
/// # fn main() -> Result<(), t2v_weights::WeightsError> {
/// use t2v_weights::Selection;
///
/// let encoder = Selection::new()
///     .unwrap("state_dict.")
///     .prefixes(&["text."])
///     .rename(r"^blocks\.", "layers.")
///     .split(r"\.in_proj$", &[".q", ".k", ".v"]);
/// let file = [("state_dict.text.blocks.0.in_proj", &[6, 2][..]), ("state_dict.image.conv", &[2, 2])];
/// let taken = encoder.plan("model.ckpt", file)?;
/// let names: Vec<&str> = taken.iter().map(|tensor| tensor.name.as_str()).collect();
/// assert_eq!(names, ["layers.0.q", "layers.0.k", "layers.0.v"]);
/// assert_eq!(taken[0].shape, [2, 2]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct Selection {
    wrappers: Vec<String>,
    prefixes: Vec<String>,
    left_out: Vec<String>,
    renames: Vec<(String, String)>,
    splits: Vec<(String, Vec<String>)>,
    squeezes: Vec<String>,
}

/// A tensor as a component gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Taken {
    /// What the file calls it.
    pub source: String,
    /// What the component calls it.
    pub name: String,
    /// The shape that the component gets.
    pub shape: Vec<usize>,
    /// Which of how many equal parts along the first axis it is; none for all of the tensor.
    pub part: Option<(usize, usize)>,
    /// Its place in the file.
    index: usize,
}

impl Selection {
    /// Every tensor, under its own name.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Where keys begin with `prefix`, only those are looked at, without it; otherwise all are.
    #[must_use]
    pub fn unwrap(mut self, prefix: &str) -> Self {
        self.wrappers.push(prefix.into());
        self
    }

    /// Takes the keys that begin with the first of `prefixes` that any key begins with, without it.
    #[must_use]
    pub fn prefixes(mut self, prefixes: &[&str]) -> Self {
        self.prefixes.extend(prefixes.iter().map(|prefix| (*prefix).to_owned()));
        self
    }

    /// Leaves out keys that match `pattern`, before all renamings.
    #[must_use]
    pub fn leave_out(mut self, pattern: &str) -> Self {
        self.left_out.push(pattern.into());
        self
    }

    /// Replaces what `pattern` matches in each key.
    #[must_use]
    pub fn rename(mut self, pattern: &str, replacement: &str) -> Self {
        self.renames.push((pattern.into(), replacement.into()));
        self
    }

    /// Cuts tensors whose new key matches `pattern` along the first axis into as many equal parts as there are
    /// replacements, each of which makes the name of its part.
    #[must_use]
    pub fn split(mut self, pattern: &str, replacements: &[&str]) -> Self {
        let replacements = replacements.iter().map(|name| (*name).to_owned()).collect();
        self.splits.push((pattern.into(), replacements));
        self
    }

    /// Takes axes of length 1 off the end of tensors whose new key matches `pattern`, down to a matrix: 1x1 convolutions that
    /// are linear layers.
    #[must_use]
    pub fn squeeze(mut self, pattern: &str) -> Self {
        self.squeezes.push(pattern.into());
        self
    }

    /// What is taken of a file with these tensors, by name and shape; `origin` is the file's name for messages.
    ///
    /// # Errors
    /// A tensor that can't be cut into equal parts, two that would have one name, a pattern that does not compile.
    pub fn plan<'a>(
        &self,
        origin: &str,
        tensors: impl IntoIterator<Item = (&'a str, &'a [usize])>,
    ) -> Result<Vec<Taken>, WeightsError> {
        self.planned(tensors).map_err(|reason| WeightsError::Format {
            file: origin.into(),
            reason,
        })
    }

    fn planned<'a>(&self, tensors: impl IntoIterator<Item = (&'a str, &'a [usize])>) -> Result<Vec<Taken>, String> {
        let compiled = Compiled::new(self)?;
        let sources: Vec<_> = tensors.into_iter().collect();
        let mut keys: Vec<(usize, &str)> = sources.iter().map(|(key, _)| *key).enumerate().collect();
        for wrapper in &self.wrappers {
            while starts_any(&keys, wrapper) {
                keys = without_prefix(&keys, wrapper);
            }
        }
        if !self.prefixes.is_empty() {
            let found = self.prefixes.iter().find(|prefix| starts_any(&keys, prefix));
            keys = found.map_or_else(Vec::new, |prefix| without_prefix(&keys, prefix));
        }
        let mut taken = Vec::new();
        for (index, key) in keys {
            if matches(&compiled.left_out, key) {
                continue;
            }
            let (source, shape) = sources[index];
            let whole = Taken {
                source: source.to_owned(),
                name: replaced(&compiled.renames, key),
                shape: shape.to_vec(),
                part: None,
                index,
            };
            taken.extend(compiled.parts(whole)?);
        }
        check_names(&taken)?;
        Ok(taken)
    }

    /// The tensors that are taken, each with the file's name for it.
    pub(crate) fn apply(
        &self,
        origin: &str,
        tensors: &[DeferredTensor],
        floats: Floats,
    ) -> Result<Vec<(DeferredTensor, String)>, WeightsError> {
        let names = tensors
            .iter()
            .map(|tensor| (tensor.name.as_str(), tensor.shape.as_slice()));
        let mut cut: HashMap<usize, Arc<Cut>> = HashMap::new();
        let taken = self.plan(origin, names)?.into_iter().map(|taken| {
            let whole = &tensors[taken.index];
            let tensor = match taken.part {
                None => taken.of(whole),
                Some((part, count)) => {
                    let cut = cut
                        .entry(taken.index)
                        .or_insert_with(|| Arc::new(Cut::new(whole, count)));
                    taken.part_of(part, Arc::clone(cut))
                }
            };
            (cast(tensor, floats), taken.source)
        });
        Ok(taken.collect())
    }
}

/// A selection's patterns.
struct Compiled {
    left_out: KeyRemapper,
    renames: KeyRemapper,
    /// For each, the pattern with every part's replacement.
    splits: Vec<Vec<KeyRemapper>>,
    squeezes: KeyRemapper,
}

impl Compiled {
    fn new(selection: &Selection) -> Result<Self, String> {
        let compile = |pairs: Vec<(String, String)>| KeyRemapper::from_patterns(pairs).map_err(|e| e.to_string());
        let alone = |patterns: &[String]| compile(patterns.iter().map(|p| (p.clone(), String::new())).collect());
        let split = |(pattern, names): &(String, Vec<String>)| {
            let parts = names.iter().map(|name| compile(vec![(pattern.clone(), name.clone())]));
            parts.collect::<Result<Vec<_>, String>>()
        };
        Ok(Self {
            left_out: alone(&selection.left_out)?,
            renames: compile(selection.renames.clone())?,
            splits: selection.splits.iter().map(split).collect::<Result<_, String>>()?,
            squeezes: alone(&selection.squeezes)?,
        })
    }

    /// The tensor, or its parts, in the shapes that the component wants.
    fn parts(&self, whole: Taken) -> Result<Vec<Taken>, String> {
        let matching = |parts: &&Vec<KeyRemapper>| parts.first().is_some_and(|first| matches(first, &whole.name));
        let mut parts = match self.splits.iter().find(matching) {
            Some(parts) => cut(&whole, parts)?,
            None => vec![whole],
        };
        for part in &mut parts {
            if matches(&self.squeezes, &part.name) {
                while part.shape.len() > 2 && part.shape.last() == Some(&1) {
                    part.shape.pop();
                }
            }
        }
        Ok(parts)
    }
}

impl Taken {
    /// All of a tensor, under the name and in the shape of this; nothing is read.
    fn of(&self, whole: &DeferredTensor) -> DeferredTensor {
        let mut tensor = whole.clone();
        tensor.name.clone_from(&self.name);
        tensor.shape = Shape::from(self.shape.clone());
        tensor
    }

    /// A part of a tensor, counted from 0; nothing is read.
    fn part_of(&self, part: usize, cut: Arc<Cut>) -> DeferredTensor {
        let (shape, dtype) = (Shape::from(self.shape.clone()), cut.whole.dtype);
        let byte_len = shape.num_elements() * dtype.size();
        let read = move || cut.bytes(part * byte_len, byte_len);
        DeferredTensor::deferred(self.name.clone(), dtype, shape, None, byte_len, read)
    }
}

/// A tensor that is cut into parts. It is read once for all of them, and kept until the last one has its share.
struct Cut {
    whole: DeferredTensor,
    parts: usize,
    /// What was read, and how many parts had of it.
    read: Mutex<(Option<Bytes>, usize)>,
}

impl Cut {
    fn new(whole: &DeferredTensor, parts: usize) -> Self {
        Self {
            whole: whole.clone(),
            parts,
            read: Mutex::default(),
        }
    }

    fn bytes(&self, start: usize, len: usize) -> Result<Bytes, PackError> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let (bytes, served) = &mut *read;
        let whole = match bytes.take() {
            Some(whole) => whole,
            None => self.whole.to_bytes()?,
        };
        let part = whole.get(start..start + len).map(<[u8]>::to_vec);
        let part = part.ok_or_else(|| PackError::ValidationError("it is shorter than its shape says".into()))?;
        *served += 1;
        if *served == self.parts {
            *served = 0;
        } else {
            *bytes = Some(whole);
        }
        Ok(Bytes::from_bytes_vec(part))
    }
}

/// Equal parts of a tensor along its first axis, each under the name that its replacement makes.
fn cut(whole: &Taken, parts: &[KeyRemapper]) -> Result<Vec<Taken>, String> {
    let (rows, count) = (whole.shape.first().copied().unwrap_or(0), parts.len());
    if rows == 0 || rows % count != 0 {
        let source = &whole.source;
        return Err(format!("`{source}` has {rows} rows, which {count} parts don't divide"));
    }
    let part = |(index, rename): (usize, &KeyRemapper)| {
        let mut shape = whole.shape.clone();
        shape[0] = rows / count;
        Taken {
            name: replaced(rename, &whole.name),
            shape,
            part: Some((index, count)),
            ..whole.clone()
        }
    };
    Ok(parts.iter().enumerate().map(part).collect())
}

fn check_names(taken: &[Taken]) -> Result<(), String> {
    let mut seen = HashMap::new();
    for tensor in taken {
        if let Some(other) = seen.insert(&tensor.name, &tensor.source) {
            let (source, name) = (&tensor.source, &tensor.name);
            return Err(format!("`{other}` and `{source}` are both `{name}`"));
        }
    }
    Ok(())
}

fn starts_any(keys: &[(usize, &str)], prefix: &str) -> bool {
    !prefix.is_empty() && keys.iter().any(|(_, key)| key.starts_with(prefix))
}

fn without_prefix<'a>(keys: &[(usize, &'a str)], prefix: &str) -> Vec<(usize, &'a str)> {
    let strip = |(index, key): &(usize, &'a str)| Some((*index, key.strip_prefix(prefix)?));
    keys.iter().filter_map(strip).collect()
}

fn matches(patterns: &KeyRemapper, key: &str) -> bool {
    patterns.patterns.iter().any(|(regex, _)| regex.is_match(key))
}

fn replaced(patterns: &KeyRemapper, key: &str) -> String {
    let patterns = patterns.patterns.iter();
    patterns.fold(key.to_owned(), |key, (regex, to)| {
        regex.replace_all(&key, to.as_str()).into_owned()
    })
}
