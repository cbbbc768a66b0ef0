//! What stands behind a name: a model, or what requests add to models.

use serde::{Deserialize, Serialize};

/// What a source is used as.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EntryKind {
    /// A model: a folder in diffusers' layout, or an id of the hub.
    #[default]
    Model,
    /// A checkpoint in one file.
    Checkpoint,
    /// A LoRA, for `lora_model`.
    Lora,
    /// A learnt word, for `embeddings_model`.
    Embeddings,
}

impl EntryKind {
    /// As the API of 2023 calls it: the `model_type` of `load_model`.
    #[must_use]
    pub fn model_type(self) -> &'static str {
        match self {
            Self::Model => "huggingface",
            Self::Checkpoint => "custom_ckpt",
            Self::Lora => "lora",
            Self::Embeddings => "embeddings",
        }
    }

    /// Whether it is a model, with whatever files.
    #[must_use]
    pub fn is_model(self) -> bool {
        matches!(self, Self::Model | Self::Checkpoint)
    }
}

/// What stands behind a name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// What it is used as.
    #[serde(default)]
    pub kind: EntryKind,
    /// A folder, a file, or an id of the hub.
    pub source: String,
    /// Of a model of pictures: the motion modules that make it one of videos, a folder or a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub motion_adapter: Option<String>,
    /// Of a checkpoint in one file: the folder with its tokenizer and configurations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
}

impl Entry {
    /// A source by itself.
    #[must_use]
    pub fn new(kind: EntryKind, source: impl Into<String>) -> Self {
        Self {
            kind,
            source: source.into(),
            ..Self::default()
        }
    }

    /// As it is stored: a plain model as its source, anything else as JSON.
    #[must_use]
    pub fn to_text(&self) -> String {
        match *self == Self::new(EntryKind::Model, &self.source) {
            true => self.source.clone(),
            false => serde_json::to_string(self).unwrap_or_default(),
        }
    }

    /// From what was stored.
    ///
    /// # Errors
    /// JSON of something else.
    pub fn from_text(text: &str) -> Result<Self, String> {
        match text.starts_with('{') {
            true => serde_json::from_str(text).map_err(|error| format!("what is stored of it is damaged: {error}")),
            false => Ok(Self::new(EntryKind::Model, text)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_survive_being_stored() {
        let plain = Entry::new(EntryKind::Model, "owner/name");
        assert_eq!(plain.to_text(), "owner/name");
        let with_adapter = Entry {
            motion_adapter: Some("adapter".into()),
            ..plain.clone()
        };
        for entry in [plain, with_adapter, Entry::new(EntryKind::Lora, "ink.safetensors")] {
            assert_eq!(Entry::from_text(&entry.to_text()), Ok(entry));
        }
        assert!(Entry::from_text("{\"kind\": \"sculpture\"}").is_err());
    }
}
