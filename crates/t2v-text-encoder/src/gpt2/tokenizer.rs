//! GPT-2's byte-level byte-pair encoding, in which the space before a word is a part of it.

use serde_json::json;
use t2v_weights::Component;
use tokenizers::Tokenizer;

use crate::{TextEncoderError, tokenizer::Files};

const END: &str = "<|endoftext|>";

/// The tokenizer of a GPT-2 folder.
#[derive(Debug)]
pub(super) struct Gpt2Tokenizer {
    tokenizer: Tokenizer,
    /// Ends a text, where the vocabulary has it.
    end: Option<u32>,
}

impl Gpt2Tokenizer {
    /// `rows` is the size of the embedding table, which every token must be in.
    pub(super) fn from_component(component: &Component, rows: usize) -> Result<Self, TextEncoderError> {
        let (file, files) = match component.has("tokenizer.json") {
            true => ("tokenizer.json", Files::from_tokenizer_json(component)?),
            false => ("vocab.json", Files::from_vocabulary(component)?),
        };
        let fault = |reason: String| TextEncoderError::Tokenizer {
            file: component.display(file),
            reason,
        };
        let Files {
            vocabulary,
            merges,
            mut added,
            ..
        } = files.map_err(fault)?;
        let end = vocabulary.get(END).cloned();
        if let Some(id) = &end
            && added.is_empty()
        {
            added.push(json!({
                "id": id, "content": END, "special": true,
                "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
            }));
        }
        let byte_level =
            json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
        let definition = json!({
            "version": "1.0",
            "added_tokens": added,
            "pre_tokenizer": byte_level,
            "decoder": byte_level,
            "model": {
                "type": "BPE", "dropout": null, "unk_token": null,
                "continuing_subword_prefix": "", "end_of_word_suffix": "",
                "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
                "vocab": vocabulary, "merges": merges,
            },
        });
        let tokenizer = Tokenizer::from_bytes(definition.to_string()).map_err(|e| fault(e.to_string()))?;
        let largest = tokenizer.get_vocab(true).into_values().max().unwrap_or(0);
        if largest as usize >= rows {
            return Err(fault(format!(
                "it has a token {largest}, the model knows tokens below {rows} alone"
            )));
        }
        Ok(Self {
            end: tokenizer.token_to_id(END),
            tokenizer,
        })
    }

    pub(super) fn end(&self) -> Option<u32> {
        self.end
    }

    pub(super) fn encode(&self, text: &str) -> Result<Vec<u32>, TextEncoderError> {
        let encoding = self.tokenizer.encode(text, false).map_err(refused)?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The text of tokens; bytes that make no character are replaced.
    pub(super) fn decode(&self, ids: &[u32]) -> Result<String, TextEncoderError> {
        self.tokenizer.decode(ids, true).map_err(refused)
    }
}

fn refused(error: tokenizers::Error) -> TextEncoderError {
    TextEncoderError::Tokenizer {
        file: "tokenizer".into(),
        reason: error.to_string(),
    }
}
