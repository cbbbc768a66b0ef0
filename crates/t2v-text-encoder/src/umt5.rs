//! `UMT5EncoderModel` (`transformers/models/umt5/modeling_umt5.py`), the text encoder of Wan
//! ([Chung et al., 2023](https://arxiv.org/abs/2304.09151)).

mod charsmap;
mod config;
mod layers;
mod positions;
mod sentence_piece;
mod tokenizer;

use burn::{
    module::Module,
    nn::{Embedding, EmbeddingConfig},
    tensor::{DType, Device, Int, Tensor, TensorData},
};
pub use config::Umt5Config;
use layers::Layer;
use positions::Buckets;
use t2v_kernels::{RmsNorm, embed};
use t2v_weights::{Component, KeyMap, Network};
pub use tokenizer::T5Tokenizer;

use crate::TextEncoderError;

/// The encoder of UMT5: a transformer in which all tokens see each other.
///
/// It is given texts without padding. Where transformers pads them, it hides the padding from the text, which gives the same
/// embeddings and takes the time of the longest text.
#[derive(Module, Debug)]
pub struct Umt5Encoder {
    shared: Embedding,
    layers: Vec<Layer>,
    final_layer_norm: RmsNorm,
    #[module(skip)]
    config: Umt5Config,
}

impl Network for Umt5Encoder {
    type Config = Umt5Config;
    type Error = TextEncoderError;

    fn read_config(component: &Component) -> Result<Umt5Config, TextEncoderError> {
        Umt5Config::from_component(component)
    }

    fn init(config: Umt5Config, device: &Device) -> Result<Self, TextEncoderError> {
        config.check()?;
        let activation = config.activation()?;
        let layer = |_| Layer::new(&config, activation, device);
        Ok(Self {
            shared: EmbeddingConfig::new(config.vocab_size, config.d_model).init(device),
            layers: (0..config.num_layers).map(layer).collect(),
            final_layer_norm: RmsNorm::new(config.d_model, config.layer_norm_epsilon, device),
            config,
        })
    }

    fn key_map() -> KeyMap {
        keys()
    }
}

impl Umt5Encoder {
    /// The configuration it was built from.
    #[must_use]
    pub fn config(&self) -> &Umt5Config {
        &self.config
    }

    /// Embeddings of each token.
    ///
    /// # Shapes
    /// - tokens: `[batch, tokens]`, without padding, each below `vocab_size`
    /// - output: `[batch, tokens, d_model]`
    #[must_use]
    pub fn forward(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        let ([_, count], device) = (tokens.dims(), tokens.device());
        let rows = Buckets::new(&self.config).of_pairs(count);
        let rows = Tensor::<1, Int>::from_data(TensorData::new(rows, [count * count]), &device);
        let dtype = self.layers.first().map_or(DType::F32, Layer::dtype);
        let mut hidden = embed(&self.shared, tokens).cast(DType::F32);
        for layer in &self.layers {
            hidden = layer.forward(hidden, rows.clone());
        }
        self.final_layer_norm.forward(hidden).cast(dtype)
    }

    /// Embeddings of a text, followed by zeros up to `length` tokens, which is what Wan's denoiser is conditioned on.
    ///
    /// # Shapes
    /// - output: `[1, length, d_model]`
    ///
    /// # Errors
    /// A token that the table of embeddings lacks.
    ///
    /// # Panics
    /// On no tokens, and on more than `length`.
    pub fn embed(&self, ids: &[u32], length: usize) -> Result<Tensor<3>, TextEncoderError> {
        let (count, rows) = (ids.len(), self.config.vocab_size);
        assert!((1..=length).contains(&count), "{count} tokens don't fit in {length}");
        if let Some(id) = ids.iter().copied().find(|id| *id as usize >= rows) {
            return Err(TextEncoderError::UnknownToken { id, rows });
        }
        let device = self.shared.weight.device();
        let ids: Vec<i64> = ids.iter().copied().map(i64::from).collect();
        let embedded = self.forward(Tensor::from_data(TensorData::new(ids, [1, count]), &device));
        let padding = Tensor::zeros([1, length - count, self.config.d_model], (&device, embedded.dtype()));
        Ok(match count == length {
            true => embedded,
            false => Tensor::cat(vec![embedded, padding], 1),
        })
    }
}

/// From transformers' keys, from those of Wan's own code, and from those of GGUF files.
fn keys() -> KeyMap {
    let map = KeyMap::new()
        .rename(r"^encoder\.final_layer_norm\.", "final_layer_norm.")
        .rename(
            r"^encoder\.block\.(\d+)\.layer\.0\.SelfAttention\.",
            "layers.$1.attention.",
        )
        .rename(
            r"^encoder\.block\.(\d+)\.layer\.0\.layer_norm\.",
            "layers.$1.attention_norm.",
        )
        .rename(
            r"^encoder\.block\.(\d+)\.layer\.1\.DenseReluDense\.",
            "layers.$1.feed_forward.",
        )
        .rename(
            r"^encoder\.block\.(\d+)\.layer\.1\.layer_norm\.",
            "layers.$1.feed_forward_norm.",
        )
        // The same table under its other name, and what belongs to the decoder of a whole model.
        .ignore(r"^encoder\.embed_tokens\.weight$")
        .ignore(r"^decoder\.")
        .ignore(r"^dec\.")
        .ignore(r"^lm_head\.");
    [
        (r"^token_embedding\.", "shared."),
        (r"^norm\.", "final_layer_norm."),
        (r"^blocks\.(\d+)\.norm1\.", "layers.$1.attention_norm."),
        (r"^blocks\.(\d+)\.norm2\.", "layers.$1.feed_forward_norm."),
        (r"^blocks\.(\d+)\.attn\.", "layers.$1.attention."),
        (
            r"^blocks\.(\d+)\.pos_embedding\.embedding\.",
            "layers.$1.attention.relative_attention_bias.",
        ),
        (r"^blocks\.(\d+)\.ffn\.gate\.0\.", "layers.$1.feed_forward.wi_0."),
        (r"^blocks\.(\d+)\.ffn\.fc1\.", "layers.$1.feed_forward.wi_1."),
        (r"^blocks\.(\d+)\.ffn\.fc2\.", "layers.$1.feed_forward.wo."),
        (r"^token_embd\.", "shared."),
        (r"^enc\.output_norm\.", "final_layer_norm."),
        (r"^enc\.blk\.(\d+)\.attn_norm\.", "layers.$1.attention_norm."),
        (r"^enc\.blk\.(\d+)\.attn_([qkvo])\.", "layers.$1.attention.$2."),
        (
            r"^enc\.blk\.(\d+)\.attn_rel_b\.",
            "layers.$1.attention.relative_attention_bias.",
        ),
        (r"^enc\.blk\.(\d+)\.ffn_norm\.", "layers.$1.feed_forward_norm."),
        (r"^enc\.blk\.(\d+)\.ffn_gate\.", "layers.$1.feed_forward.wi_0."),
        (r"^enc\.blk\.(\d+)\.ffn_up\.", "layers.$1.feed_forward.wi_1."),
        (r"^enc\.blk\.(\d+)\.ffn_down\.", "layers.$1.feed_forward.wo."),
    ]
    .into_iter()
    .fold(map, |map, (from, to)| map.rename(from, to))
}
