//! `T5Tokenizer` (`transformers/models/t5/tokenization_t5.py`): pieces of words by their probabilities, from `tokenizer.json` or
//! a SentencePiece model.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};
use t2v_weights::Component;
use tokenizers::{
    Tokenizer,
    models::unigram::Unigram,
    pre_tokenizers::{
        PreTokenizerWrapper,
        metaspace::{Metaspace, PrependScheme},
        sequence::Sequence,
        whitespace::WhitespaceSplit,
    },
};

use super::{charsmap::precompiled, sentence_piece::SentencePiece};
use crate::{
    TextEncoderError, Tokens,
    tokenizer::{CONFIG, EXTRA, Folder, check_settings, sides_left},
};

const JSON: &str = "tokenizer.json";
const SENTENCE_PIECE: &str = "spiece.model";
/// Stands for the space before a word.
const SPACE: char = '▁';
/// The place of the unknown token in every vocabulary.
const UNKNOWN: usize = 2;
/// Places left for gaps in a text, where the settings don't say how many.
const GAPS: u64 = 100;
const DEFAULTS: [(&str, &str); 3] = [("eos_token", "</s>"), ("unk_token", "<unk>"), ("pad_token", "<pad>")];

/// The tokenizer of T5 and its kin.
#[derive(Debug, Clone)]
pub struct T5Tokenizer {
    tokenizer: Tokenizer,
    end: u32,
}

/// What the files say of the pieces.
struct Files {
    vocabulary: Vec<(String, f64)>,
    /// How characters are replaced before pieces are looked for.
    characters: Option<Vec<u8>>,
    /// Tokens beside the vocabulary, as `tokenizer.json` has them.
    added: Vec<Value>,
    /// Symbols that stand for themselves, and whether they are control symbols.
    symbols: Vec<(String, bool)>,
    /// Settings that would be `left` by `tokenizer.json`.
    left: Vec<&'static str>,
}

impl T5Tokenizer {
    /// Reads `tokenizer.json`, or else `spiece.model`, and what `tokenizer_config.json`, `special_tokens_map.json` and
    /// `added_tokens.json` beside them add, as transformers does.
    ///
    /// # Errors
    /// A tokenizer of another class; files that are missing or don't make a tokenizer; settings that are not supported.
    pub fn from_component(component: &Component) -> Result<Self, TextEncoderError> {
        component.check_class(&["T5Tokenizer", "T5TokenizerFast"])?;
        let file = match component.has(JSON) {
            true => JSON,
            false => SENTENCE_PIECE,
        };
        let fault = |file: &str, reason: String| TextEncoderError::Tokenizer {
            file: component.display(file),
            reason,
        };
        let files = match file {
            JSON => from_tokenizer_json(component.json(JSON)?),
            _ => SentencePiece::read(&component.read(SENTENCE_PIECE)?).map(Files::from),
        };
        let mut files = files.map_err(|reason| fault(file, reason))?;
        let mut folder = Folder::read(component, &files.added)?;
        check_settings(&folder.settings, &files.left).map_err(|reason| fault(CONFIG, reason))?;
        let gaps = gaps(&folder.settings).map_err(|reason| fault(CONFIG, reason))?;
        if file == SENTENCE_PIECE {
            files
                .vocabulary
                .extend((0..gaps).rev().map(|gap| (gap_token(gap), 0.0)));
        }
        if !folder.settings.contains_key(EXTRA) {
            folder.settings.insert(EXTRA.into(), extra_tokens(&files.symbols, gaps));
        }
        let added = folder.tokens(&DEFAULTS)?;
        let mut tokenizer = tokenizer(files).map_err(|reason| fault(file, reason))?;
        tokenizer.add_tokens(&added.tokens);
        if folder.settings.get("split_special_tokens") == Some(&Value::Bool(true)) {
            tokenizer.set_encode_special_tokens(true);
        }
        let end = added.role("eos_token").and_then(|end| tokenizer.token_to_id(end));
        let end = end.ok_or_else(|| fault(CONFIG, "`eos_token` is null, or no token".into()))?;
        Ok(Self { tokenizer, end })
    }

    /// The tokens of a text and the one that ends it, at most `max_length` (1 at least) together. There is no padding.
    ///
    /// # Errors
    /// A text that the tokenizer refuses.
    pub fn encode(&self, text: &str, max_length: usize) -> Result<Tokens, TextEncoderError> {
        let encoding = self.tokenizer.encode(text, false);
        let encoding = encoding.map_err(|e| TextEncoderError::Tokenizer {
            file: "tokenizer".into(),
            reason: e.to_string(),
        })?;
        let ids = encoding.get_ids();
        let kept = ids.len().min(max_length.saturating_sub(1));
        Ok(Tokens {
            ids: ids[..kept].iter().copied().chain([self.end]).collect(),
            truncated: ids.len() - kept,
        })
    }
}

impl From<SentencePiece> for Files {
    fn from(model: SentencePiece) -> Self {
        Self {
            vocabulary: model.vocabulary,
            characters: model.characters,
            added: Vec::new(),
            symbols: model.symbols,
            left: Vec::new(),
        }
    }
}

/// As transformers does, only vocabulary, added tokens and the table of characters are taken.
fn from_tokenizer_json(mut json: Map<String, Value>) -> Result<Files, String> {
    let left = sides_left(&json);
    let added = match json.remove("added_tokens") {
        Some(Value::Array(added)) => added,
        _ => Vec::new(),
    };
    let characters = json.get("normalizer").and_then(charsmap);
    let characters = characters.map(|text| STANDARD.decode(text)).transpose();
    let pieces = json
        .get("model")
        .and_then(|model| model.get("vocab"))
        .and_then(Value::as_array);
    let pieces = pieces.ok_or("its `model` has no array `vocab`, as a unigram model has")?;
    let piece = |entry: &Value| Some((entry.get(0)?.as_str()?.to_owned(), entry.get(1)?.as_f64()?));
    let vocabulary: Option<Vec<_>> = pieces.iter().map(piece).collect();
    Ok(Files {
        vocabulary: vocabulary.ok_or("an entry of its `vocab` is not a piece and its score")?,
        characters: characters.map_err(|e| format!("its `precompiled_charsmap` is not in Base64: {e}"))?,
        added,
        symbols: Vec::new(),
        left,
    })
}

/// The first table of characters of a normaliser, or of a sequence of them.
fn charsmap(normalizer: &Value) -> Option<&str> {
    let steps = match normalizer.get("normalizers") {
        Some(Value::Array(steps)) => steps.as_slice(),
        _ => std::slice::from_ref(normalizer),
    };
    let step = steps.iter().find(|step| step["type"] == "Precompiled")?;
    step.get("precompiled_charsmap")?.as_str()
}

/// How many gaps in a text have tokens.
fn gaps(settings: &Map<String, Value>) -> Result<u64, String> {
    match settings.get("extra_ids") {
        None => Ok(GAPS),
        Some(value) => match value.as_u64() {
            Some(gaps) if gaps <= 1 << 16 => Ok(gaps),
            _ => Err(format!(
                "`extra_ids` is {value}; it is the number of tokens for gaps, 0 to {}",
                1 << 16
            )),
        },
    }
}

fn gap_token(gap: u64) -> String {
    format!("<extra_id_{gap}>")
}

/// Tokens beside the vocabulary where the settings name none: symbols of the model, and gaps.
fn extra_tokens(symbols: &[(String, bool)], gaps: u64) -> Value {
    let symbol =
        |(text, is_control): &(String, bool)| json!({"content": text, "special": is_control, "normalized": false});
    let symbols = symbols.iter().map(symbol);
    symbols.chain((0..gaps).map(|gap| json!(gap_token(gap)))).collect()
}

/// The pipeline that transformers assembles.
fn tokenizer(files: Files) -> Result<Tokenizer, String> {
    let model = Unigram::from(files.vocabulary, Some(UNKNOWN), false).map_err(|e| e.to_string())?;
    let mut tokenizer = Tokenizer::new(model);
    if let Some(characters) = &files.characters {
        tokenizer.with_normalizer(Some(precompiled(characters)?));
    }
    let words = PreTokenizerWrapper::WhitespaceSplit(WhitespaceSplit);
    let spaces = PreTokenizerWrapper::Metaspace(Metaspace::new(SPACE, PrependScheme::Always, true));
    tokenizer.with_pre_tokenizer(Some(Sequence::new(vec![words, spaces])));
    Ok(tokenizer)
}
