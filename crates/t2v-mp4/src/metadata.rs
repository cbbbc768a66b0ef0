//! What is said about the video inside its file.

use serde_json::{Map, Value};

use crate::error::{Mp4Error, Result};

/// The most bytes of all keys and values together.
pub(crate) const MAX_BYTES: usize = 1 << 20;
/// The most entries.
pub(crate) const MAX_ENTRIES: usize = 4096;
/// The longest key, which is PNG's limit.
const MAX_KEY: usize = 79;

/// Texts by key, in the order in which they were set: the parameters of a generation, or anything else.
///
/// ```
/// use t2v_mp4::Metadata;
///
/// let metadata = Metadata::new()
///     .with_prompt("a red ball, 赤いボール")
///     .with_seed(7)
///     .with("licence", "CC0");
/// assert_eq!(metadata.get("seed"), Some("7"));
/// ```
///
/// In MP4 the keys appear as they are in `ffprobe` and `exiftool`. Players that know only the customary tags get the
/// prompt as title and all entries as JSON in the comment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Metadata {
    entries: Vec<(String, String)>,
}

impl Metadata {
    /// The key of the prompt.
    pub const PROMPT: &str = "prompt";
    /// The key of the negative prompt.
    pub const NEGATIVE_PROMPT: &str = "negative_prompt";
    /// The key of the seed.
    pub const SEED: &str = "seed";
    /// The key of the scheduler.
    pub const SCHEDULER: &str = "scheduler";
    /// The key of the number of denoising steps.
    pub const STEPS: &str = "num_inference_steps";
    /// The key of the guidance scale.
    pub const GUIDANCE: &str = "guidance_scale";
    /// The key of the model.
    pub const MODEL: &str = "model";
    /// The key of the whole request as JSON.
    pub const REQUEST: &str = "request";

    /// Nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { entries: Vec::new() }
    }

    /// Sets the text of a key, in the place of an earlier one.
    pub fn set(&mut self, key: impl Into<String>, value: impl Into<String>) {
        let (key, value) = (key.into(), value.into());
        match self.entries.iter_mut().find(|(known, _)| *known == key) {
            Some((_, old)) => *old = value,
            None => self.entries.push((key, value)),
        }
    }

    /// The same with the text of a key [set](Self::set).
    #[must_use]
    pub fn with(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.set(key, value);
        self
    }

    /// Sets what the video shows.
    #[must_use]
    pub fn with_prompt(self, prompt: impl Into<String>) -> Self {
        self.with(Self::PROMPT, prompt)
    }

    /// Sets what the video should not show.
    #[must_use]
    pub fn with_negative_prompt(self, negative_prompt: impl Into<String>) -> Self {
        self.with(Self::NEGATIVE_PROMPT, negative_prompt)
    }

    /// Sets the seed of the random numbers.
    #[must_use]
    pub fn with_seed(self, seed: u64) -> Self {
        self.with(Self::SEED, seed.to_string())
    }

    /// Sets the name of the scheduler.
    #[must_use]
    pub fn with_scheduler(self, scheduler: impl Into<String>) -> Self {
        self.with(Self::SCHEDULER, scheduler)
    }

    /// Sets the number of denoising steps.
    #[must_use]
    pub fn with_steps(self, steps: u32) -> Self {
        self.with(Self::STEPS, steps.to_string())
    }

    /// Sets the weight of the prompt against the negative prompt.
    #[must_use]
    pub fn with_guidance(self, scale: f64) -> Self {
        self.with(Self::GUIDANCE, scale.to_string())
    }

    /// Sets the name of the model.
    #[must_use]
    pub fn with_model(self, model: impl Into<String>) -> Self {
        self.with(Self::MODEL, model)
    }

    /// Sets the whole request, as JSON.
    #[must_use]
    pub fn with_request(self, json: impl Into<String>) -> Self {
        self.with(Self::REQUEST, json)
    }

    /// The text of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.iter().find_map(|(known, value)| (known == key).then_some(value))
    }

    /// Keys and texts, in the order in which they were set.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// The number of keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All entries as one JSON object of strings.
    #[must_use]
    pub fn to_json(&self) -> String {
        let fields = self.iter().map(|(key, value)| (key.to_owned(), Value::from(value)));
        Value::Object(fields.collect::<Map<_, _>>()).to_string()
    }

    /// Whether it can be written.
    ///
    /// # Errors
    ///
    /// [`Mp4Error::Metadata`] for a key that is not 1 to 79 ASCII letters, digits, `_`, `-`, `.` or `:` (what all formats
    /// and readers can take), above 1 MiB of keys and texts together, and for more than 4096 entries.
    pub fn validate(&self) -> Result<()> {
        let fault = |key: &str, reason| {
            let key = key.to_owned();
            Err(Mp4Error::Metadata { key, reason })
        };
        let mut bytes = 0;
        for (index, (key, value)) in self.iter().enumerate() {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.:".contains(&byte);
            if key.is_empty() || key.len() > MAX_KEY || !key.bytes().all(plain) {
                return fault(key, "a key needs 1 to 79 letters (a-z), digits, `_`, `-`, `.` or `:`");
            }
            bytes += key.len() + value.len();
            if bytes > MAX_BYTES {
                return fault(key, "together with the entries before it takes more than 1 MiB");
            }
            if index == MAX_ENTRIES {
                return fault(key, "there are more than 4096 entries");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_set_once() {
        let metadata = Metadata::new().with_seed(1).with_steps(20).with_seed(2);
        let entries: Vec<_> = metadata.iter().collect();
        assert_eq!(entries, [("seed", "2"), ("num_inference_steps", "20")]);
        assert_eq!(metadata.to_json(), r#"{"seed":"2","num_inference_steps":"20"}"#);
    }

    #[test]
    fn unusable_keys_are_named() {
        for key in ["", "two words", "naïve", "a=b", &"x".repeat(80)] {
            let error = Metadata::new().with(key, "").validate().unwrap_err();
            assert!(error.to_string().contains(&format!("{key:?}")), "{error}");
        }
        let large = Metadata::new()
            .with("small", "")
            .with("large", "x".repeat(MAX_BYTES))
            .validate();
        assert!(large.unwrap_err().to_string().contains("\"large\""));
        let all = Metadata::new().with("com.example:a-b_c", "any\ntext\0 \u{1f600}");
        assert!(all.validate().is_ok());
    }
}
