//! CLIP's byte-level byte-pair encoding, from the files of a checkpoint.

mod definition;

use std::collections::HashMap;

use serde_json::{Map, Value};
use t2v_weights::Component;
use tokenizers::{AddedToken, Tokenizer};

use crate::TextEncoderError;
pub(crate) use definition::Files;
use definition::{SpecialTokens, definition};

/// Longer limits stand for "none" in tokenizer configurations.
const LONGEST_LIMIT: f64 = 1e6;

/// A text as token ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens {
    /// Start, text, end, padding: always the tokenizer's length.
    pub ids: Vec<u32>,
    /// How many tokens of the text did not fit.
    pub truncated: usize,
}

/// The tokenizer of a checkpoint, with its length and padding.
#[derive(Debug, Clone)]
pub struct ClipTokenizer {
    tokenizer: Tokenizer,
    /// Start, end, padding.
    special: [u32; 3],
    max_length: usize,
    /// First token of an added word of several tokens, and all of them.
    words: HashMap<u32, Vec<u32>>,
}

impl ClipTokenizer {
    /// Reads `tokenizer.json`, or else `vocab.json` and `merges.txt`, and `tokenizer_config.json` beside them.
    ///
    /// `positions` is the text encoder's longest sequence: it limits the length.
    ///
    /// # Errors
    /// Files that are missing or don't make a tokenizer; special tokens that are not in the vocabulary.
    pub fn from_component(component: &Component, positions: usize) -> Result<Self, TextEncoderError> {
        let config = match component.has("tokenizer_config.json") {
            true => component.json("tokenizer_config.json")?,
            false => Map::new(),
        };
        let special = SpecialTokens::new(&config);
        let (file, files) = match component.has("tokenizer.json") {
            true => ("tokenizer.json", Files::from_tokenizer_json(component)?),
            false => ("vocab.json", Files::from_vocabulary(component)?),
        };
        let fault = |reason: String| TextEncoderError::Tokenizer {
            file: component.display(file),
            reason,
        };
        let definition = files.and_then(|files| definition(files, &special)).map_err(fault)?;
        let mut tokenizer = Tokenizer::from_bytes(definition.to_string()).map_err(|e| fault(e.to_string()))?;
        // The length and the padding are this type's business, whatever the file says.
        tokenizer.with_padding(None);
        tokenizer
            .with_truncation(None)
            .map_err(|e| fault(format!("truncation: {e}")))?;
        let mut ids = [0; 3];
        for (id, token) in ids.iter_mut().zip([&special.start, &special.end, &special.pad]) {
            let found = tokenizer.token_to_id(token);
            *id = found.ok_or_else(|| fault(format!("the special token `{token}` is not in the vocabulary")))?;
        }
        let max_length = max_length(&config, positions);
        if max_length < 2 {
            return Err(fault(format!(
                "prompts may have {max_length} tokens; 2 are the least, for the start and the end token"
            )));
        }
        Ok(Self {
            tokenizer,
            special: ids,
            max_length,
            words: HashMap::new(),
        })
    }

    /// Length of every sequence, start and end tokens included.
    #[must_use]
    pub fn max_length(&self) -> usize {
        self.max_length
    }

    /// Tokens of a text that fit between the start and the end token.
    #[must_use]
    pub fn room(&self) -> usize {
        self.max_length - 2
    }

    /// How many tokens a text has, start and end not counted, however many fit.
    ///
    /// # Errors
    /// As for [`encode`](Self::encode).
    pub fn count(&self, text: &str) -> Result<usize, TextEncoderError> {
        Ok(self.text_ids(text)?.len())
    }

    pub(crate) fn special_ids(&self) -> [u32; 3] {
        self.special
    }

    /// The tokens of a text alone; added words as all of their tokens.
    pub(crate) fn text_ids(&self, text: &str) -> Result<Vec<u32>, TextEncoderError> {
        let encoding = self.tokenizer.encode(text, false);
        let encoding = encoding.map_err(|e| TextEncoderError::Tokenizer {
            file: "tokenizer".into(),
            reason: e.to_string(),
        })?;
        let ids = encoding.get_ids();
        if self.words.is_empty() {
            return Ok(ids.to_vec());
        }
        let expand = |id: &u32| self.words.get(id).cloned().unwrap_or_else(|| vec![*id]);
        Ok(ids.iter().flat_map(expand).collect())
    }

    /// Adds `word` as `count` tokens, `word`, `word_1`, …, and returns the first one's id; the others follow. `rows` is the
    /// size of the embedding table, past whose end no id may lie. The error says what is wrong.
    pub(crate) fn add_word(&mut self, word: &str, count: usize, rows: usize) -> Result<usize, String> {
        if word.trim().is_empty() {
            return Err("its token is empty; give it a name".into());
        }
        let mut names = vec![word.to_string()];
        names.extend((1..count).map(|i| format!("{word}_{i}")));
        if let Some(known) = names.iter().find(|name| self.tokenizer.token_to_id(name).is_some()) {
            return Err(format!(
                "the tokenizer has a token `{known}` already; give it another name"
            ));
        }
        let tokens: Vec<AddedToken> = names
            .iter()
            .map(|name| AddedToken::from(name.as_str(), false))
            .collect();
        let mut extended = self.tokenizer.clone();
        extended.add_tokens(&tokens);
        let first = extended.token_to_id(word).unwrap_or(u32::MAX);
        if first as usize > rows {
            return Err(format!(
                "the tokenizer knows more tokens than the {rows} of the text encoder, so none can be added"
            ));
        }
        self.tokenizer = extended;
        self.words.insert(first, (first..first + count as u32).collect());
        Ok(first as usize)
    }
}

fn max_length(config: &Map<String, Value>, positions: usize) -> usize {
    let configured = config.get("model_max_length").and_then(Value::as_f64);
    match configured {
        Some(limit) if (2.0..LONGEST_LIMIT).contains(&limit) => (limit as usize).min(positions),
        _ => positions,
    }
}
