//! New words whose embeddings were learnt from pictures ([Gal et al., 2022](https://arxiv.org/abs/2208.01618)).
//!
//! Follows diffusers' `load_textual_inversion` (`loaders/textual_inversion.py`). It differs in one thing: a word of several
//! vectors stands for all of them however it is capitalised, where upstream finds only lower case.

use std::path::Path;

use t2v_weights::TensorFile;

use crate::{ClipTextModel, ClipTokenizer, TextEncoderError};

/// The key of A1111's safetensors files; their token is the name of the file.
const A1111_KEY: &str = "emb_params";
/// The key of A1111's pickles, whose entry `name` is the token.
const A1111_PICKLE_KEY: &str = "string_to_param.*";

/// A word and its learnt embeddings.
#[derive(Debug, Clone, PartialEq)]
pub struct TextualInversion {
    file: String,
    token: String,
    vectors: usize,
    width: usize,
    values: Vec<f32>,
}

impl TextualInversion {
    /// Reads a `.safetensors` file or a pickle (`.bin`, `.pt`) of diffusers, one tensor under its token, or of A1111.
    ///
    /// # Errors
    /// The file is missing, damaged, or holds something else.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, TextEncoderError> {
        let path = path.as_ref();
        let tensors = TensorFile::open(path)?;
        let fault = |reason: String| TextEncoderError::Embedding {
            file: tensors.display().into(),
            reason,
        };
        let names: Vec<&str> = tensors.names().collect();
        let stem = || path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let (key, token) = match names.as_slice() {
            names if names.contains(&A1111_PICKLE_KEY) => {
                (A1111_PICKLE_KEY, tensors.string("name").map(String::from).or_else(stem))
            }
            [A1111_KEY] => (A1111_KEY, stem()),
            [key] => (*key, Some((*key).to_string())),
            names => {
                let (count, first) = (names.len(), names.first().copied().unwrap_or_default());
                return Err(fault(format!(
                    "it holds {count} tensors (`{first}`, …); an embedding is one tensor under its token, or A1111's \
                     `{A1111_KEY}` or `string_to_param`"
                )));
            }
        };
        let (shape, values) = tensors.read(key)?;
        let [vectors, width] = match shape.as_slice() {
            [width] => [1, *width],
            [vectors, width] => [*vectors, *width],
            shape => {
                return Err(fault(format!(
                    "`{key}` has shape {shape:?} instead of [vectors, width]"
                )));
            }
        };
        if vectors == 0 || values.iter().any(|value| !value.is_finite()) {
            return Err(fault(format!("`{key}` is empty or holds values that are not finite")));
        }
        Ok(Self {
            token: token.unwrap_or_default(),
            file: tensors.display().into(),
            vectors,
            width,
            values,
        })
    }

    /// Sets the word to write in prompts.
    #[must_use]
    pub fn with_token(mut self, token: impl Into<String>) -> Self {
        self.token = token.into();
        self
    }

    /// The word to write in prompts.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// How many tokens the word takes.
    #[must_use]
    pub fn vectors(&self) -> usize {
        self.vectors
    }

    /// Adds the word to a tokenizer and its embeddings to a text encoder: both or, on an error, neither.
    ///
    /// The tokens are `word`, `word_1`, `word_2`, …; the word alone stands for all of them. Returns the first one's id, for
    /// [`write_to`](Self::write_to).
    ///
    /// # Errors
    /// Another width than the text encoder's; a word that is empty or known already.
    pub fn add_to(&self, tokenizer: &mut ClipTokenizer, model: &mut ClipTextModel) -> Result<usize, TextEncoderError> {
        let fault = |reason: String| TextEncoderError::Embedding {
            file: self.file.clone(),
            reason,
        };
        let (width, rows) = (model.config().hidden_size, model.config().vocab_size);
        if self.width != width {
            let found = self.width;
            return Err(fault(format!(
                "its vectors have {found} values, the text encoder's embeddings {width}: it was made for another model"
            )));
        }
        let first = tokenizer.add_word(&self.token, self.vectors, rows).map_err(fault)?;
        self.write_to(model, first);
        Ok(first)
    }

    /// Writes the embeddings into a text encoder of the same kind that was loaded anew; `first` is what
    /// [`add_to`](Self::add_to) returned. Words are to be written in the order in which they were added.
    pub fn write_to(&self, model: &mut ClipTextModel, first: usize) {
        model.set_token_embeddings(first, &self.values);
    }
}
