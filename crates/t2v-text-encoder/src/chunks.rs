//! Prompts of any length as sequences of the text encoder's length.

use crate::{ClipTokenizer, TextEncoderError, Tokens, WeightedText};

/// A sequence of the tokenizer's length: start, text, end, padding.
#[derive(Debug, Clone, PartialEq)]
pub struct Chunk {
    /// Tokens.
    pub ids: Vec<u32>,
    /// What the embedding of each token is multiplied by; 1 but for the text.
    pub weights: Vec<f32>,
}

/// A prompt as one chunk or more.
#[derive(Debug, Clone, PartialEq)]
pub struct Chunks {
    /// At least one.
    pub chunks: Vec<Chunk>,
    /// How many tokens of the prompt did not fit.
    pub truncated: usize,
}

impl ClipTokenizer {
    /// Start token, text, end token, padding. What does not fit is left out from the end of the text.
    ///
    /// # Errors
    /// The tokenizer refuses the text, which no text should make it do.
    pub fn encode(&self, text: &str) -> Result<Tokens, TextEncoderError> {
        let ids = self.text_ids(text)?;
        let kept = ids.len().min(self.room());
        let weights = vec![1.0; kept];
        Ok(Tokens {
            ids: self.chunk(&ids[..kept], &weights).ids,
            truncated: ids.len() - kept,
        })
    }

    /// The parts of a prompt, one after the other, cut where a chunk is full; at most `most` chunks, at least one.
    ///
    /// # Errors
    /// As for [`encode`](Self::encode).
    pub fn encode_chunks(&self, parts: &[WeightedText], most: usize) -> Result<Chunks, TextEncoderError> {
        let (mut ids, mut weights) = (Vec::new(), Vec::new());
        for part in parts {
            ids.extend(self.text_ids(&part.text)?);
            weights.resize(ids.len(), part.weight);
        }
        let kept = ids.len().min(self.room().saturating_mul(most.max(1)));
        let truncated = ids.len() - kept;
        let size = self.room().max(1);
        let mut chunks: Vec<Chunk> = ids[..kept]
            .chunks(size)
            .zip(weights[..kept].chunks(size))
            .map(|(ids, weights)| self.chunk(ids, weights))
            .collect();
        if chunks.is_empty() {
            chunks.push(self.empty_chunk());
        }
        Ok(Chunks { chunks, truncated })
    }

    /// The chunk of the empty text, with which a shorter prompt is brought to as many chunks as a longer one.
    #[must_use]
    pub fn empty_chunk(&self) -> Chunk {
        self.chunk(&[], &[])
    }

    fn chunk(&self, ids: &[u32], weights: &[f32]) -> Chunk {
        let [start, end, pad] = self.special_ids();
        let mut all = vec![start];
        all.extend_from_slice(ids);
        all.push(end);
        all.resize(self.max_length(), pad);
        let mut all_weights = vec![1.0];
        all_weights.extend_from_slice(weights);
        all_weights.resize(self.max_length(), 1.0);
        Chunk {
            ids: all,
            weights: all_weights,
        }
    }
}
