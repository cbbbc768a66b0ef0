//! The tokens beside the vocabulary, from all the files that name some, in the order in which transformers 5.23 merges
//! them (`_from_pretrained` in `tokenization_utils_base.py`, `__init__` in `tokenization_utils_tokenizers.py`).

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use t2v_weights::Component;
use tokenizers::AddedToken;

use crate::TextEncoderError;

pub(super) const CONFIG: &str = "tokenizer_config.json";
const SPECIAL_TOKENS: &str = "special_tokens_map.json";
const ADDED_TOKENS: &str = "added_tokens.json";
/// Roles that every tokenizer has, in the order in which their tokens are added.
const ROLES: [&str; 7] = [
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
];
const EXTRA: &str = "extra_special_tokens";
const OLD_EXTRA: &str = "additional_special_tokens";
/// In `tokenizer_config.json` an object with this key is a token.
const TYPE: &str = "__type";

/// A token as a file has it: its text, or all that is known of it.
#[derive(Debug, Clone, PartialEq)]
enum Named {
    Text(String),
    Token(AddedToken),
}

impl Named {
    fn text(&self) -> &str {
        match self {
            Named::Text(text) => text,
            Named::Token(token) => &token.content,
        }
    }
}

/// What the files of a tokenizer folder say, besides vocabulary and merges.
pub(super) struct Folder<'a> {
    component: &'a Component,
    /// `tokenizer_config.json`, into which the other files are merged.
    settings: Map<String, Value>,
    /// Roles of one model's own, such as `image_token`.
    own_roles: Map<String, Value>,
    /// Tokens by the number that orders them.
    added: BTreeMap<u64, AddedToken>,
}

/// The tokens to add to the vocabulary, and those that have a role.
pub(super) struct AddedTokens {
    /// In order; the last of one text says how it is looked for.
    pub(super) tokens: Vec<AddedToken>,
    pub(super) start: String,
    pub(super) end: String,
    pub(super) pad: String,
    /// Stands for characters that the vocabulary lacks.
    pub(super) unknown: Option<String>,
}

impl<'a> Folder<'a> {
    /// Merges the files of the folder. `from_tokenizer_json` are the added tokens of `tokenizer.json`, where it exists.
    pub(super) fn read(component: &'a Component, from_tokenizer_json: &[Value]) -> Result<Self, TextEncoderError> {
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
                    folder.add("tokenizer.json", number, entry, None)?;
                }
            }
        }
        Ok(folder)
    }

    /// The merged settings.
    pub(super) fn settings(&self) -> &Map<String, Value> {
        &self.settings
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
            self.add(CONFIG, number, token, None)?;
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

    fn add(&mut self, file: &str, number: u64, token: &Value, special: Option<bool>) -> Result<(), TextEncoderError> {
        let token = token.as_object().and_then(|object| added_token(object, special));
        let token = token.ok_or_else(|| self.fault(file, &format!("the added token {number}"), &Value::Null))?;
        self.added.insert(number, token);
        Ok(())
    }

    /// The tokens to add, in order.
    pub(super) fn tokens(&self, start: &str, end: &str) -> Result<AddedTokens, TextEncoderError> {
        let defaults = [
            ("bos_token", start),
            ("eos_token", end),
            ("unk_token", end),
            ("pad_token", end),
        ];
        let mut roles: Vec<(&str, Named)> = Vec::new();
        for role in ROLES {
            let default = defaults.iter().find(|(key, _)| *key == role);
            let named = match self.settings.get(role) {
                Some(Value::Null) => None,
                Some(value) => Some(self.known(self.named(role, value)?)),
                None => default.map(|(_, text)| Named::Text(text.to_string())),
            };
            roles.extend(named.map(|named| (role, named)));
        }
        for (role, value) in self.late_roles().chain(&self.own_roles) {
            roles.push((role, self.named(role, value)?));
        }
        let of = |role: &str| {
            roles
                .iter()
                .find(|(key, _)| *key == role)
                .map(|(_, named)| named.text().to_string())
        };
        let needed = |role: &str| of(role).ok_or_else(|| self.fault(CONFIG, &format!("`{role}`"), &Value::Null));
        Ok(AddedTokens {
            start: needed("bos_token")?,
            end: needed("eos_token")?,
            pad: needed("pad_token")?,
            unknown: of("unk_token"),
            tokens: self.in_order(&roles)?,
        })
    }

    /// Roles of one model's own that `special_tokens_map.json` brought.
    fn late_roles(&self) -> impl Iterator<Item = (&String, &Value)> {
        let is_token = |value: &Value| value.is_string() || value.get("content").is_some();
        let is_own = |key: &str| key.ends_with("_token") && !ROLES.contains(&key) && !self.own_roles.contains_key(key);
        self.settings
            .iter()
            .filter(move |(key, value)| is_own(key) && is_token(value))
    }

    fn in_order(&self, roles: &[(&str, Named)]) -> Result<Vec<AddedToken>, TextEncoderError> {
        let mut tokens: Vec<Named> = self.added.values().cloned().map(Named::Token).collect();
        let known: Vec<&str> = self.added.values().map(|token| token.content.as_str()).collect();
        let extra = self.settings.get(EXTRA).or_else(|| self.settings.get(OLD_EXTRA));
        let extra = extra.and_then(Value::as_array).into_iter().flatten();
        let extra = extra
            .map(|value| self.named(EXTRA, value))
            .collect::<Result<Vec<_>, _>>()?;
        for named in roles.iter().map(|(_, named)| named).chain(&extra) {
            if !known.contains(&named.text()) && !tokens.contains(named) {
                tokens.push(named.clone());
            }
        }
        let has_role = |text: &str| roles.iter().any(|(_, named)| named.text() == text);
        let finish = |named| match named {
            Named::Text(text) => AddedToken::from(text, true),
            Named::Token(token) => {
                let special = token.special || has_role(&token.content);
                token.special(special)
            }
        };
        Ok(last_of_each(tokens.into_iter().map(finish)))
    }

    /// What is known of a token that was added with the same text.
    fn known(&self, named: Named) -> Named {
        let added = self.added.values().rev().find(|token| token.content == named.text());
        added.cloned().map_or(named, Named::Token)
    }

    fn named(&self, key: &str, value: &Value) -> Result<Named, TextEncoderError> {
        let named = match value {
            Value::String(text) => Some(Named::Text(text.clone())),
            Value::Object(object) => added_token(object, None).map(Named::Token),
            _ => None,
        };
        named.ok_or_else(|| self.fault(CONFIG, &format!("`{key}`"), value))
    }

    fn fault(&self, file: &str, key: &str, found: &Value) -> TextEncoderError {
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

/// Where several tokens have one text, the last one in the place of the first.
fn last_of_each(tokens: impl Iterator<Item = AddedToken>) -> Vec<AddedToken> {
    let mut each: Vec<AddedToken> = Vec::new();
    for token in tokens {
        match each.iter_mut().find(|other| other.content == token.content) {
            Some(other) => *other = token,
            None => each.push(token),
        }
    }
    each
}

fn as_special(token: &mut Map<String, Value>) {
    token.insert("special".into(), true.into());
}

/// An object as a token; none where it is no such object.
fn added_token(object: &Map<String, Value>, special: Option<bool>) -> Option<AddedToken> {
    let flag = |key: &str, default: bool| object.get(key).map_or(Some(default), Value::as_bool);
    let special = special.map_or_else(|| flag("special", false), Some)?;
    let token = AddedToken::from(object.get("content")?.as_str()?, special)
        .single_word(flag("single_word", false)?)
        .lstrip(flag("lstrip", false)?)
        .rstrip(flag("rstrip", false)?);
    Some(token.normalized(flag("normalized", !special)?))
}
