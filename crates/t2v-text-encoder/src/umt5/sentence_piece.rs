//! What a SentencePiece model (`spiece.model`) says, as far as a tokenizer needs it.
//!
//! Upstream: `sentencepiece_model.proto` of <https://github.com/google/sentencepiece>.

use prost::Message;

/// The kind of model that `tokenizers` calls Unigram.
const UNIGRAM: i32 = 1;
/// Kinds of pieces that are looked for in the text as they are: control symbols and symbols of the user.
const CONTROL: i32 = 3;
const OF_USER: i32 = 4;

#[derive(Clone, PartialEq, Message)]
struct Piece {
    #[prost(string, optional, tag = "1")]
    piece: Option<String>,
    #[prost(float, optional, tag = "2")]
    score: Option<f32>,
    #[prost(int32, optional, tag = "3")]
    kind: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
struct Trainer {
    #[prost(int32, optional, tag = "3")]
    model_type: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
struct Normalizer {
    #[prost(bytes = "vec", optional, tag = "2")]
    precompiled_charsmap: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct Model {
    #[prost(message, repeated, tag = "1")]
    pieces: Vec<Piece>,
    #[prost(message, optional, tag = "2")]
    trainer_spec: Option<Trainer>,
    #[prost(message, optional, tag = "3")]
    normalizer_spec: Option<Normalizer>,
}

/// Pieces with their scores, and how characters are replaced before they are looked for.
#[derive(Debug)]
pub(super) struct SentencePiece {
    pub(super) vocabulary: Vec<(String, f64)>,
    pub(super) characters: Option<Vec<u8>>,
    /// Pieces that stand for themselves in a text, and whether they are control symbols.
    pub(super) symbols: Vec<(String, bool)>,
}

impl SentencePiece {
    /// The error says what is wrong with the file.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, String> {
        let model = Model::decode(bytes).map_err(|e| format!("it is no SentencePiece model: {e}"))?;
        let trainer = model.trainer_spec.unwrap_or_default();
        // Unigram is what the format takes where nothing is said.
        let kind = trainer.model_type.unwrap_or(UNIGRAM);
        if kind != UNIGRAM {
            return Err(format!(
                "its `model_type` is {kind}; only {UNIGRAM} (unigram) is supported"
            ));
        }
        if model.pieces.is_empty() {
            return Err("it is no SentencePiece model: it has no pieces".into());
        }
        let is_symbol = |piece: &&Piece| matches!(piece.kind, Some(CONTROL | OF_USER));
        let symbols = model.pieces.iter().filter(is_symbol);
        let symbols = symbols.map(|piece| (piece.piece().to_owned(), piece.kind == Some(CONTROL)));
        Ok(Self {
            symbols: symbols.collect(),
            vocabulary: model
                .pieces
                .iter()
                .map(|piece| (piece.piece().to_owned(), f64::from(piece.score())))
                .collect(),
            characters: model
                .normalizer_spec
                .and_then(|normalizer| normalizer.precompiled_charsmap)
                .filter(|map| !map.is_empty()),
        })
    }
}
