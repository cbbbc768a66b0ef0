//! GPT-2 ([Radford et al., 2019](https://cdn.openai.com/better-language-models/language_models_are_unsupervised_multitask_learners.pdf)),
//! which continues texts: `GPT2LMHeadModel` (`transformers/models/gpt2/modeling_gpt2.py`).
//!
//! Every token is computed from the whole text before it, without a cache of keys and values: prompts are short.

mod config;
mod sampling;
mod tokenizer;

use std::path::Path;

use burn::{
    module::Module,
    nn::{Embedding, EmbeddingConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig},
    tensor::{DType, Device, Int, Tensor, TensorData},
};
pub use config::Gpt2Config;
pub use sampling::Sampling;
use t2v_kernels::{Activation, MultiHead, attention};
use t2v_weights::{Component, KeyMap};

use crate::TextEncoderError;
use tokenizer::Gpt2Tokenizer;

#[derive(Module, Debug)]
struct Attention {
    c_attn: Linear,
    c_proj: Linear,
    #[module(skip)]
    split: MultiHead,
}

#[derive(Module, Debug)]
struct Mlp {
    c_fc: Linear,
    c_proj: Linear,
    #[module(skip)]
    activation: Activation,
}

#[derive(Module, Debug)]
struct Block {
    ln_1: LayerNorm,
    attn: Attention,
    ln_2: LayerNorm,
    mlp: Mlp,
}

impl Block {
    fn new(config: &Gpt2Config, device: &Device) -> Self {
        let (width, inner) = (config.n_embd, config.n_inner.unwrap_or(4 * config.n_embd));
        // Upstream's `Conv1D` stores `[in, out]`, which is Burn's own layout.
        let linear = |d_in, d_out| LinearConfig::new(d_in, d_out).init(device);
        Self {
            ln_1: norm(config, device),
            attn: Attention {
                c_attn: linear(width, 3 * width),
                c_proj: linear(width, width),
                split: MultiHead {
                    heads: config.n_head,
                    head_dim: width / config.n_head,
                },
            },
            ln_2: norm(config, device),
            mlp: Mlp {
                c_fc: linear(width, inner),
                c_proj: linear(inner, width),
                activation: config.activation_function,
            },
        }
    }

    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let joint = self.attn.c_attn.forward(self.ln_1.forward(x.clone())).chunk(3, 2);
        let (query, key, value) = (joint[0].clone(), joint[1].clone(), joint[2].clone());
        let x = x + self
            .attn
            .c_proj
            .forward(attention(query, key, value, self.attn.split, true));
        let hidden = self.mlp.c_fc.forward(self.ln_2.forward(x.clone()));
        x + self.mlp.c_proj.forward(self.mlp.activation.forward(hidden))
    }
}

fn norm(config: &Gpt2Config, device: &Device) -> LayerNorm {
    let norm = LayerNormConfig::new(config.n_embd).with_epsilon(config.layer_norm_epsilon);
    norm.init(device)
}

#[derive(Module, Debug)]
struct Transformer {
    wte: Embedding,
    wpe: Embedding,
    h: Vec<Block>,
    ln_f: LayerNorm,
}

/// A GPT-2 model and its tokenizer.
#[derive(Debug)]
pub struct Gpt2 {
    transformer: Transformer,
    tokenizer: Gpt2Tokenizer,
    config: Gpt2Config,
    device: Device,
}

impl Gpt2 {
    /// Loads a folder of transformers: `config.json`, weights, and `tokenizer.json` or `vocab.json` and `merges.txt`.
    ///
    /// # Errors
    /// Files that are missing or damaged, a configuration of another class, weights that don't fit it.
    pub fn open(folder: impl AsRef<Path>, device: &Device) -> Result<Self, TextEncoderError> {
        let component = Component::open(folder)?;
        let config: Gpt2Config = component.config(&["GPT2LMHeadModel", "GPT2Model"])?;
        config.check()?;
        let embedding = |rows| EmbeddingConfig::new(rows, config.n_embd).init(device);
        let mut transformer = Transformer {
            wte: embedding(config.vocab_size),
            wpe: embedding(config.n_positions),
            h: (0..config.n_layer).map(|_| Block::new(&config, device)).collect(),
            ln_f: norm(&config, device),
        };
        component.weights()?.load(&mut transformer, &keys(), DType::F32)?;
        Ok(Self {
            transformer,
            tokenizer: Gpt2Tokenizer::from_component(&component, config.vocab_size)?,
            config,
            device: device.clone(),
        })
    }

    /// The configuration it was built from.
    #[must_use]
    pub fn config(&self) -> &Gpt2Config {
        &self.config
    }

    /// The tokens of a text.
    ///
    /// # Errors
    /// The tokenizer refuses the text, which no text should make it do.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, TextEncoderError> {
        self.tokenizer.encode(text)
    }

    /// How likely each token is to come after each of `tokens`, as logits.
    ///
    /// # Shapes
    /// - tokens: `[batch, tokens]`, at most `n_positions` of them
    /// - output: `[batch, tokens, vocab_size]`
    #[must_use]
    pub fn logits(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        self.head(self.hidden(tokens))
    }

    /// Logits of the token after `tokens`.
    fn next_logits(&self, tokens: &[u32]) -> Vec<f32> {
        let len = tokens.len();
        let ids: Vec<i64> = tokens.iter().map(|id| i64::from(*id)).collect();
        let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, [1, len]), &self.device);
        let last = self.hidden(ids).slice_dim(1, len - 1..len);
        self.head(last).into_data().iter::<f32>().collect()
    }

    fn hidden(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        let [_, len] = tokens.dims();
        let positions = Tensor::<1, Int>::arange(0..len as i64, &tokens.device()).unsqueeze::<2>();
        let mut hidden = self.transformer.wte.forward(tokens) + self.transformer.wpe.forward(positions);
        for block in &self.transformer.h {
            hidden = block.forward(hidden);
        }
        self.transformer.ln_f.forward(hidden)
    }

    /// The table of token embeddings is the output layer too.
    fn head(&self, hidden: Tensor<3>) -> Tensor<3> {
        let table = self.transformer.wte.weight.val();
        hidden.matmul(table.swap_dims(0, 1).unsqueeze())
    }
}

/// Older checkpoints hold the causal mask, and the output layer a second time.
fn keys() -> KeyMap {
    KeyMap::new()
        .rename(r"^transformer\.", "")
        .ignore(r"^h\.\d+\.attn\.(masked_)?bias$")
        .ignore(r"^lm_head\.weight$")
}
