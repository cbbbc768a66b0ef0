//! Captions to tokens and embeddings, as the model's pipeline makes them of prompts.

use burn::tensor::Tensor;
use t2v_text_encoder::{
    Chunk, ClipTextConfig, ClipTextModel, ClipTokenizer, T5Tokenizer, Tokens, Umt5Encoder, clean_prompt,
};
use t2v_weights::{Component, LoadOptions, Network};

use crate::TrainError;

/// Tokens that Wan attends to, with those that only fill up.
const MAX_UMT5_TOKENS: usize = 512;

#[allow(clippy::large_enum_variant)] // There is one of them.
enum Tokenizer {
    Clip(ClipTokenizer),
    T5(T5Tokenizer),
}

/// A tokenizer, and where the model is that goes with it.
pub(crate) struct TextEncoder {
    tokenizer: Tokenizer,
    model: Component,
    options: LoadOptions,
}

/// What makes text embeddings of tokens.
#[allow(clippy::large_enum_variant)] // There is one of them.
pub(crate) enum Embedder {
    Clip(ClipTextModel),
    Umt5(Umt5Encoder),
}

impl TextEncoder {
    pub(super) fn clip(tokenizer: &Component, model: Component, options: LoadOptions) -> Result<Self, TrainError> {
        let most = ClipTextConfig::from_component(&model)?.max_position_embeddings;
        Ok(Self {
            tokenizer: Tokenizer::Clip(ClipTokenizer::from_component(tokenizer, most)?),
            model,
            options,
        })
    }

    pub(super) fn umt5(tokenizer: &Component, model: Component, options: LoadOptions) -> Result<Self, TrainError> {
        Ok(Self {
            tokenizer: Tokenizer::T5(T5Tokenizer::from_component(tokenizer)?),
            model,
            options,
        })
    }

    /// The tokens of a caption, as many as the model takes at once.
    pub(crate) fn tokens(&self, caption: &str) -> Result<Tokens, TrainError> {
        Ok(match &self.tokenizer {
            Tokenizer::Clip(tokenizer) => tokenizer.encode(caption)?,
            Tokenizer::T5(tokenizer) => tokenizer.encode(&clean_prompt(caption), MAX_UMT5_TOKENS)?,
        })
    }

    /// Loads the model.
    pub(crate) fn embedder(&self) -> Result<Embedder, TrainError> {
        Ok(match &self.tokenizer {
            Tokenizer::Clip(_) => Embedder::Clip(ClipTextModel::from_component(&self.model, &self.options)?),
            Tokenizer::T5(_) => Embedder::Umt5(Umt5Encoder::from_component(&self.model, &self.options)?),
        })
    }
}

impl Embedder {
    /// `[1, tokens, dim]`
    pub(crate) fn embed(&self, tokens: &Tokens) -> Result<Tensor<3>, TrainError> {
        Ok(match self {
            Self::Clip(model) => {
                let (ids, weights) = (tokens.ids.clone(), vec![1.0; tokens.ids.len()]);
                model.embed(&[Chunk { ids, weights }], 0)?
            }
            Self::Umt5(model) => model.embed(&tokens.ids, MAX_UMT5_TOKENS)?,
        })
    }
}
