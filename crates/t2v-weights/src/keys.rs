//! From a checkpoint's keys to a module's field paths.

/// Renamings, applied in order to every key of a checkpoint, and the keys that may stay unused.
///
/// The patterns are regular expressions with `$1`-style replacements. A pattern that does not compile is reported when
/// the map is used.
#[derive(Debug, Clone, Default)]
pub struct KeyMap {
    pub(crate) renames: Vec<(String, String)>,
    pub(crate) ignored: Vec<String>,
    pub(crate) optional: Vec<String>,
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

    /// Fields whose path matches `pattern` keep what they were made with where no key fills them.
    #[must_use]
    pub fn optional(mut self, pattern: &str) -> Self {
        self.optional.push(pattern.into());
        self
    }
}
