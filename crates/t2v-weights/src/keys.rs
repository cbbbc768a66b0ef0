//! From a checkpoint's keys to a module's field paths.

use burn_store::KeyRemapper;

/// Renamings, applied in order to every key of a checkpoint, and the keys that may stay unused.
///
/// The patterns are regular expressions with `$1`-style replacements. A pattern that does not compile is reported when
/// the map is used.
#[derive(Debug, Clone, Default)]
pub struct KeyMap {
    pub(crate) renames: Vec<(String, String)>,
    pub(crate) ignored: Vec<String>,
}

impl KeyMap {
    /// A map that changes nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Replaces what `pattern` matches in each key.
    #[must_use]
    pub fn rename(mut self, pattern: &str, replacement: &str) -> Self {
        self.renames.push((pattern.into(), replacement.into()));
        self
    }

    /// Keys that match `pattern`, after all renamings, are known extras: no error where no field takes them.
    #[must_use]
    pub fn ignore(mut self, pattern: &str) -> Self {
        self.ignored.push(pattern.into());
        self
    }

    /// The map as a function. The error says which pattern does not compile.
    pub(crate) fn renaming(&self) -> Result<impl Fn(&str) -> String + use<>, String> {
        // `KeyRemapper` compiles the patterns: this crate needs no regex dependency of its own.
        let remapper = KeyRemapper::from_patterns(self.renames.clone()).map_err(|e| {
            let reason = e.to_string();
            let reason = reason.lines().last().unwrap_or_default();
            format!("a pattern of the model's key map does not compile: {reason}")
        })?;
        let patterns = remapper.to_regex_pairs();
        Ok(move |key: &str| {
            let mut key = key.to_string();
            for (pattern, replacement) in &patterns {
                key = pattern.replace_all(&key, replacement.as_str()).into_owned();
            }
            key
        })
    }
}
