//! CLIP's byte-level byte-pair encoding, from the files of a checkpoint.

mod added;
mod definition;
mod folder;

use std::collections::HashMap;

use serde_json::{Map, Value};
use t2v_weights::Component;
use tokenizers::{AddedToken, Tokenizer};

use crate::TextEncoderError;
use added::AddedTokens;
use definition::{END, START, definition};
pub(crate) use definition::{Files, sides_left};
pub(crate) use folder::{CONFIG, EXTRA, Folder};

/// Longer limits stand for "none" in tokenizer configurations.
const LONGEST_LIMIT: f64 = 1e6;
/// Roles that tokens have where the files don't say which.
const DEFAULTS: [(&str, &str); 4] = [
    ("bos_token", START),
    ("eos_token", END),
    ("unk_token", END),
    ("pad_token", END),
];

/// A text as token ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens {
    /// Those that begin, the text, those that end and those that pad: CLIP's tokenizer always gives as many as its length, T5's
    /// the text and its end.
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
    /// Reads `tokenizer.json`, or else `vocab.json` and `merges.txt`, and what `tokenizer_config.json`,
    /// `special_tokens_map.json` and `added_tokens.json` beside them add, as transformers does.
    ///
    /// `positions` is the text encoder's longest sequence: it limits the length.
    ///
    /// # Errors
    /// A tokenizer of another class; files that are missing or don't make a tokenizer; settings that are not supported.
    pub fn from_component(component: &Component, positions: usize) -> Result<Self, TextEncoderError> {
        component.check_class(&["CLIPTokenizer", "CLIPTokenizerFast"])?;
        let (file, files) = match component.has("tokenizer.json") {
            true => ("tokenizer.json", Files::from_tokenizer_json(component)?),
            false => ("vocab.json", Files::from_vocabulary(component)?),
        };
        let fault = |file: &str, reason: String| TextEncoderError::Tokenizer {
            file: component.display(file),
            reason,
        };
        let files = files.map_err(|reason| fault(file, reason))?;
        let folder = Folder::read(component, &files.added)?;
        check_settings(&folder.settings, &files.left).map_err(|reason| fault(CONFIG, reason))?;
        let added = folder.tokens(&DEFAULTS)?;
        let mut tokenizer = tokenizer(files, &added).map_err(|reason| fault(file, reason))?;
        if folder.settings.get("split_special_tokens") == Some(&Value::Bool(true)) {
            tokenizer.set_encode_special_tokens(true);
        }
        let mut special = [0; 3];
        for (id, role) in special.iter_mut().zip(["bos_token", "eos_token", "pad_token"]) {
            let token = added.role(role);
            let token = token.ok_or_else(|| folder.fault(CONFIG, &format!("`{role}`"), &Value::Null))?;
            let found = tokenizer.token_to_id(token);
            *id = found.ok_or_else(|| fault(CONFIG, format!("the special token `{token}` is no token")))?;
        }
        Ok(Self {
            tokenizer,
            special,
            max_length: max_length(&folder.settings, positions).map_err(|reason| fault(CONFIG, reason))?,
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

fn tokenizer(files: Files, added: &AddedTokens) -> Result<Tokenizer, String> {
    let definition = definition(files.vocabulary, files.merges, added.role("unk_token"));
    let mut tokenizer = Tokenizer::from_bytes(definition.to_string()).map_err(|e| e.to_string())?;
    tokenizer.add_tokens(&added.tokens);
    Ok(tokenizer)
}

/// Refuses settings that transformers follows and this crate does not.
pub(crate) fn check_settings(settings: &Map<String, Value>, left: &[&str]) -> Result<(), String> {
    for key in ["padding_side", "truncation_side"] {
        match settings.get(key) {
            None if left.contains(&key) => {
                return Err(format!(
                    "`{key}` is \"left\" by tokenizer.json; only \"right\" is supported"
                ));
            }
            None => {}
            Some(Value::String(side)) if side == "right" => {}
            Some(other) => return Err(format!("`{key}` is {other}; only \"right\" is supported")),
        }
    }
    match settings.get("fast_tokenizer_files") {
        None | Some(Value::Null) => Ok(()),
        Some(_) => Err("`fast_tokenizer_files` is set; only `tokenizer.json` is read".into()),
    }
}

/// The length that the settings ask for, at most `positions`.
fn max_length(settings: &Map<String, Value>, positions: usize) -> Result<usize, String> {
    const LEAST: &str = "2 are the least, for the start and the end token";
    let set = |key| {
        settings
            .get(key)
            .filter(|value| !value.is_null())
            .map(|value| (key, value))
    };
    let length = match set("model_max_length").or_else(|| set("max_len")) {
        None => positions,
        Some((key, value)) => match value.as_f64() {
            Some(limit) if limit >= LONGEST_LIMIT => positions,
            Some(limit) if limit >= 2.0 => (limit as usize).min(positions),
            Some(_) => return Err(format!("`{key}` is {value}; {LEAST}")),
            None => return Err(format!("`{key}` is {value}; it must be a number of tokens")),
        },
    };
    match length {
        0 | 1 => Err(format!("prompts may have {length} tokens; {LEAST}")),
        length => Ok(length),
    }
}
