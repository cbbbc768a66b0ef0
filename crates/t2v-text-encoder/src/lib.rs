//! Prompts to text embeddings.
//!
//! [`ClipTokenizer`] and [`ClipTextModel`] are the tokenizer and the text tower of CLIP
//! ([Radford et al., 2021](https://arxiv.org/abs/2103.00020)), with which Stable Diffusion and the ModelScope family are
//! conditioned.
//!
//! Beyond upstream, and only where it is asked for: weights of words ([`parse_weights`]), prompts longer than the text
//! encoder takes at once ([`ClipTokenizer::encode_chunks`], [`ClipTextModel::embed`]), and learnt words
//! ([`TextualInversion`]). [`Gpt2`] continues texts.
//!
//! [`T5Tokenizer`] and [`Umt5Encoder`] are the tokenizer and the encoder of UMT5
//! ([Chung et al., 2023](https://arxiv.org/abs/2304.09151)), with which Wan is conditioned; [`clean_prompt`] is what its pipeline
//! does to prompts before. [`ClipVisionModel`] is CLIP's other tower, which sees the pictures that its clips begin with.
//!
//! The key decision: the tokenizer is the `tokenizers` crate with exactly the pipeline that transformers assembles, so
//! that every Unicode corner falls as it does there; this crate adds only the reading of the files, truncation and
//! padding.
//!
//! Upstream: `transformers/models/clip/modeling_clip.py` and `tokenization_clip.py`, `transformers/models/umt5/modeling_umt5.py`
//! and `transformers/models/t5/tokenization_t5.py`.

mod chunks;
mod clean;
mod clip;
mod clip_layer;
mod clip_vision;
mod config;
mod embed;
mod error;
mod gpt2;
mod html;
pub mod ldm;
mod textual_inversion;
mod tokenizer;
mod umt5;
mod weighting;

pub use chunks::{Chunk, Chunks};
pub use clean::clean_prompt;
pub use clip::ClipTextModel;
pub use clip_vision::{ClipVisionConfig, ClipVisionModel};
pub use config::ClipTextConfig;
pub use error::TextEncoderError;
pub use gpt2::{Gpt2, Gpt2Config, Sampling};
pub use textual_inversion::TextualInversion;
pub use tokenizer::{ClipTokenizer, Tokens};
pub use umt5::{T5Tokenizer, Umt5Config, Umt5Encoder};
pub use weighting::{WeightedText, parse_weights};
