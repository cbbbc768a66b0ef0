//! `CLIPTextModel` (`transformers/models/clip/modeling_clip.py`).

use burn::{
    module::{Module, Param},
    nn::{Embedding, EmbeddingConfig},
    tensor::{DType, Device, Int, Tensor, TensorData},
};
use t2v_kernels::LayerNorm;
use t2v_weights::{Component, KeyMap, Network};

use crate::{ClipTextConfig, TextEncoderError, clip_layer::ClipLayer};

#[derive(Module, Debug)]
struct Embeddings {
    token_embedding: Embedding,
    position_embedding: Embedding,
}

#[derive(Module, Debug)]
struct Encoder {
    layers: Vec<ClipLayer>,
}

/// The text tower of CLIP: a transformer in which each token sees the tokens before it.
#[derive(Module, Debug)]
pub struct ClipTextModel {
    embeddings: Embeddings,
    encoder: Encoder,
    final_layer_norm: LayerNorm,
    #[module(skip)]
    config: ClipTextConfig,
}

impl Network for ClipTextModel {
    type Config = ClipTextConfig;
    type Error = TextEncoderError;

    fn read_config(component: &Component) -> Result<ClipTextConfig, TextEncoderError> {
        ClipTextConfig::from_component(component)
    }

    fn init(config: ClipTextConfig, device: &Device) -> Result<Self, TextEncoderError> {
        config.check()?;
        let width = config.hidden_size;
        Ok(Self {
            embeddings: Embeddings {
                token_embedding: EmbeddingConfig::new(config.vocab_size, width).init(device),
                position_embedding: EmbeddingConfig::new(config.max_position_embeddings, width).init(device),
            },
            encoder: Encoder {
                layers: (0..config.num_hidden_layers)
                    .map(|_| ClipLayer::new(config.layer_sizes(), device))
                    .collect(),
            },
            final_layer_norm: LayerNorm::new(width, config.layer_norm_eps, device),
            config,
        })
    }

    fn key_map() -> KeyMap {
        keys()
    }
}

impl ClipTextModel {
    /// The type that it computes in: also that of the token embeddings, unless they are halves that were left so.
    fn dtype(&self) -> DType {
        let layer = self.encoder.layers.first();
        layer.map_or(DType::F32, ClipLayer::dtype)
    }

    /// The configuration it was built from.
    #[must_use]
    pub fn config(&self) -> &ClipTextConfig {
        &self.config
    }

    pub(crate) fn device(&self) -> Device {
        self.embeddings.token_embedding.weight.val().device()
    }

    /// Overwrites the rows of the embedding table from `first` on, at most one past its end; the table grows as needed.
    pub(crate) fn set_token_embeddings(&mut self, first: usize, values: &[f32]) {
        let table = self.embeddings.token_embedding.weight.val().cast(self.dtype());
        let [rows, width] = table.dims();
        let count = values.len() / width;
        let values = TensorData::new(values.to_vec(), [count, width]);
        let values = Tensor::<2>::from_data(values, &table.device()).cast(table.dtype());
        let mut parts = vec![table.clone().slice_dim(0, 0..first), values];
        if first + count < rows {
            parts.push(table.slice_dim(0, first + count..rows));
        }
        self.config.vocab_size = rows.max(first + count);
        self.embeddings.token_embedding.weight = Param::from_tensor(Tensor::cat(parts, 0));
    }

    /// Embeddings of each token. `clip_skip` leaves out that many of the last layers; the final norm is always applied.
    ///
    /// # Shapes
    /// - tokens: `[batch, tokens]`, at most `max_position_embeddings` of them, each below `vocab_size`
    /// - output: `[batch, tokens, hidden_size]`
    ///
    /// # Errors
    /// More layers to leave out than there are.
    pub fn forward(&self, tokens: Tensor<2, Int>, clip_skip: usize) -> Result<Tensor<3>, TextEncoderError> {
        let layers = self.encoder.layers.len();
        if clip_skip > layers {
            return Err(TextEncoderError::ClipSkip { clip_skip, layers });
        }
        let [_, len] = tokens.dims();
        let positions = Tensor::<1, Int>::arange(0..len as i64, &tokens.device()).unsqueeze::<2>();
        let Embeddings {
            token_embedding,
            position_embedding,
        } = &self.embeddings;
        let [token, position] = [token_embedding.forward(tokens), position_embedding.forward(positions)]
            .map(|embeddings| embeddings.cast(self.dtype()));
        let mut hidden = token + position;
        for layer in &self.encoder.layers[..layers - clip_skip] {
            hidden = layer.forward(hidden, true);
        }
        Ok(self.final_layer_norm.forward(hidden))
    }
}

/// Older checkpoints hold a constant table of positions; `…WithProjection` a projection that diffusion does not use.
fn keys() -> KeyMap {
    KeyMap::new()
        .rename(r"^text_model\.", "")
        .ignore(r"^embeddings\.position_ids$")
        .ignore(r"^text_projection\.weight$")
}
