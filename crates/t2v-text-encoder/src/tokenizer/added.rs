//! The tokens beside the vocabulary, in the order in which transformers 5.23 adds them (`__init__` in
//! `tokenization_utils_tokenizers.py`).

use serde_json::{Map, Value};
use tokenizers::AddedToken;

use super::folder::{CONFIG, EXTRA, Folder, OLD_EXTRA, ROLES};
use crate::TextEncoderError;

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

/// The tokens to add to the vocabulary, and those that have a role.
pub(crate) struct AddedTokens {
    /// In order; the last of one text says how it is looked for.
    pub(crate) tokens: Vec<AddedToken>,
    /// Roles, such as `eos_token`, each with its token's text.
    roles: Vec<(String, String)>,
}

impl AddedTokens {
    /// The text of the token that has a role.
    pub(crate) fn role(&self, role: &str) -> Option<&str> {
        let found = self.roles.iter().find(|(key, _)| key == role);
        found.map(|(_, text)| text.as_str())
    }
}

impl Folder<'_> {
    /// The tokens to add, in order. `defaults` are roles with the tokens that have them where the files don't say which.
    pub(crate) fn tokens(&self, defaults: &[(&str, &str)]) -> Result<AddedTokens, TextEncoderError> {
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
        Ok(AddedTokens {
            tokens: self.in_order(&roles)?,
            roles: roles
                .iter()
                .map(|(role, named)| ((*role).to_owned(), named.text().to_owned()))
                .collect(),
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
            Value::Object(object) => added_token(object).map(Named::Token),
            _ => None,
        };
        named.ok_or_else(|| self.fault(CONFIG, &format!("`{key}`"), value))
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

/// An object as a token; none where it is no such object.
pub(super) fn added_token(object: &Map<String, Value>) -> Option<AddedToken> {
    let flag = |key: &str, default: bool| object.get(key).map_or(Some(default), Value::as_bool);
    let special = flag("special", false)?;
    let token = AddedToken::from(object.get("content")?.as_str()?, special)
        .single_word(flag("single_word", false)?)
        .lstrip(flag("lstrip", false)?)
        .rstrip(flag("rstrip", false)?);
    Some(token.normalized(flag("normalized", !special)?))
}
