//! The files of a tokenizer folder that name tokens, merged as transformers 5.23 merges them (`_from_pretrained` in
//! `tokenization_utils_base.py`).

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use t2v_weights::Component;
use tokenizers::AddedToken;

use super::added::added_token;
use crate::TextEncoderError;

pub(crate) const CONFIG: &str = "tokenizer_config.json";
const SPECIAL_TOKENS: &str = "special_tokens_map.json";
const ADDED_TOKENS: &str = "added_tokens.json";
/// Roles that every tokenizer has, in the order in which their tokens are added.
pub(super) const ROLES: [&str; 7] = [
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
];
pub(crate) const EXTRA: &str = "extra_special_tokens";
pub(super) const OLD_EXTRA: &str = "additional_special_tokens";
/// In `tokenizer_config.json` an object with this key is a token.
const TYPE: &str = "__type";

/// What the files of a tokenizer folder say, besides vocabulary and merges.
pub(crate) struct Folder<'a> {
    component: &'a Component,
    /// `tokenizer_config.json`, into which the other files are merged.
    pub(crate) settings: Map<String, Value>,
    /// Roles of one model's own, such as `image_token`.
    pub(super) own_roles: Map<String, Value>,
    /// Tokens by the number that orders them.
    pub(super) added: BTreeMap<u64, AddedToken>,
}

impl<'a> Folder<'a> {
    /// Merges the files of the folder. `from_tokenizer_json` are the added tokens of `tokenizer.json`, where it exists.
    pub(crate) fn read(component: &'a Component, from_tokenizer_json: &[Value]) -> Result<Self, TextEncoderError> {
        let mut folder = Self {
            component,
            settings: optional_json(component, CONFIG)?.unwrap_or_default(),
            own_roles: Map::new(),
            added: BTreeMap::new(),
        };
        folder.rename_old_extra();
        folder.collect_own_roles();
        // A folder that was saved with this key says everything in one file.
        match folder.settings.get("added_tokens_decoder").cloned() {
            Some(decoder) => folder.read_decoder(&decoder)?,
            None => {
                folder.merge_special_tokens()?;
                folder.merge_added_tokens()?;
                for entry in from_tokenizer_json {
                    let number = entry.get("id").and_then(Value::as_u64);
                    let number = number.ok_or_else(|| folder.fault("tokenizer.json", "`added_tokens`", entry))?;
                    folder.add("tokenizer.json", number, entry)?;
                }
            }
        }
        Ok(folder)
    }

    fn rename_old_extra(&mut self) {
        let is_empty = |value: &Value| match value {
            Value::Null => true,
            Value::Array(items) => items.is_empty(),
            Value::Object(items) => items.is_empty(),
            _ => false,
        };
        if self.settings.get(EXTRA).is_none_or(is_empty)
            && let Some(old) = self.settings.shift_remove(OLD_EXTRA)
        {
            self.settings.insert(EXTRA.into(), old);
        }
    }

    fn collect_own_roles(&mut self) {
        let is_own = |key: &str| key.ends_with("_token") && !ROLES.contains(&key);
        let texts = self
            .settings
            .iter()
            .filter(|(key, value)| is_own(key) && value.is_string());
        let keys: Vec<String> = texts.map(|(key, _)| key.clone()).collect();
        for key in keys {
            if let Some(value) = self.settings.shift_remove(&key) {
                self.own_roles.insert(key, value);
            }
        }
        self.take_extra_roles();
    }

    /// Extra tokens that have names are roles.
    fn take_extra_roles(&mut self) {
        if self.settings.get(EXTRA).is_some_and(Value::is_object)
            && let Some(Value::Object(roles)) = self.settings.shift_remove(EXTRA)
        {
            self.own_roles.extend(roles);
        }
    }

    fn read_decoder(&mut self, decoder: &Value) -> Result<(), TextEncoderError> {
        let key = "`added_tokens_decoder`";
        let entries = decoder.as_object().ok_or_else(|| self.fault(CONFIG, key, decoder))?;
        for (number, token) in entries {
            let number = number.trim().parse().map_err(|_| self.fault(CONFIG, key, decoder))?;
            self.add(CONFIG, number, token)?;
        }
        Ok(())
    }

    fn merge_special_tokens(&mut self) -> Result<(), TextEncoderError> {
        let map = optional_json(self.component, SPECIAL_TOKENS)?.unwrap_or_default();
        for (key, mut value) in map {
            match &mut value {
                Value::Object(token) if key != EXTRA => as_special(token),
                Value::Array(tokens) if key == EXTRA => {
                    let mut all = match self.settings.get(EXTRA) {
                        Some(Value::Array(existing)) => existing.clone(),
                        _ => Vec::new(),
                    };
                    for token in tokens {
                        if let Value::Object(token) = token {
                            as_special(token);
                        }
                        if !all.contains(token) {
                            all.push(token.take());
                        }
                    }
                    value = Value::Array(all);
                }
                _ => {}
            }
            self.settings.insert(key, value);
        }
        self.take_extra_roles();
        Ok(())
    }

    fn merge_added_tokens(&mut self) -> Result<(), TextEncoderError> {
        let Some(added) = optional_json(self.component, ADDED_TOKENS)? else {
            return Ok(());
        };
        let extra = self.settings.get(EXTRA).and_then(Value::as_array);
        let named = ROLES.iter().filter_map(|role| self.settings.get(*role));
        // An object of `tokenizer_config.json` is not a token yet.
        let content = |value: &'_ Value| match value.get(TYPE) {
            Some(_) => None,
            None => value
                .as_str()
                .or_else(|| value.get("content")?.as_str())
                .map(String::from),
        };
        let special: Vec<String> = named.chain(extra.into_iter().flatten()).filter_map(content).collect();
        for (text, number) in added {
            let place = number.as_u64();
            let place = place.ok_or_else(|| self.fault(ADDED_TOKENS, &format!("`{text}`"), &number))?;
            let token = AddedToken::from(text.clone(), special.contains(&text));
            self.added.insert(place, token);
        }
        Ok(())
    }

    fn add(&mut self, file: &str, number: u64, value: &Value) -> Result<(), TextEncoderError> {
        let token = value.as_object().and_then(added_token);
        let token = token.ok_or_else(|| self.fault(file, &format!("the added token {number}"), value))?;
        self.added.insert(number, token);
        Ok(())
    }

    pub(crate) fn fault(&self, file: &str, key: &str, found: &Value) -> TextEncoderError {
        TextEncoderError::Tokenizer {
            file: self.component.display(file),
            reason: format!(
                "{key} is {found}; a token is a text, or an object with the text `content` and true or false"
            ),
        }
    }
}

fn optional_json(component: &Component, file: &str) -> Result<Option<Map<String, Value>>, TextEncoderError> {
    match component.has(file) {
        true => Ok(Some(component.json(file)?)),
        false => Ok(None),
    }
}

fn as_special(token: &mut Map<String, Value>) {
    token.insert("special".into(), true.into());
}
