//! What timestep, text and picture become before the blocks see them (`WanTimeTextImageEmbedding`).

use burn::{
    module::{Initializer, Module, Param},
    nn::Linear,
    tensor::{Device, Tensor},
};
use t2v_kernels::{Activation, LayerNorm, Products, dtype, linear, project};

use super::{
    WanTransformerConfig,
    attention::Context,
    block::{FeedForward, MODULATIONS},
};
use crate::{Conditioning, TimestepEmbedding, sinusoidal_embedding};

/// Epsilon of the picture's normalisations, torch's own.
const PICTURE_EPS: f64 = 1e-5;

/// Two linear layers over text embeddings.
#[derive(Module, Debug)]
struct TextProjection {
    linear_1: Linear,
    linear_2: Linear,
}

/// A feed-forward layer between two normalisations, over the embeddings of pictures.
#[derive(Module, Debug)]
struct PictureEmbedding {
    norm1: LayerNorm,
    ff: FeedForward,
    norm2: LayerNorm,
    pos_embed: Option<Param<Tensor<3>>>,
}

impl PictureEmbedding {
    fn new(picture_dim: usize, dim: usize, positions: Option<usize>, device: &Device) -> Self {
        let norm = |dim| LayerNorm::new(dim, PICTURE_EPS, device);
        Self {
            norm1: norm(picture_dim),
            ff: FeedForward::new([picture_dim, picture_dim, dim], Activation::Gelu, device),
            norm2: norm(dim),
            pos_embed: positions.map(|positions| Initializer::Zeros.init([1, positions, picture_dim], device)),
        }
    }

    /// # Shapes
    /// - x: `[batch, tokens, picture_dim]` -> `[batch, tokens, dim]`
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let x = match &self.pos_embed {
            Some(positions) => {
                let positions = positions.val().cast(x.dtype());
                x + positions
            }
            None => x,
        };
        self.norm2
            .forward(self.ff.forward(self.norm1.forward(x), Products::Exact))
    }
}

/// Embeddings of timesteps, one for each run of tokens.
pub(super) struct Time {
    /// `[runs, 1, dim]`, for the last layer
    pub(super) embedding: Tensor<3>,
    /// `[runs, 6, dim]`, for the blocks
    pub(super) modulations: Tensor<3>,
}

/// The embeddings of all that conditions the network.
#[derive(Module, Debug)]
pub(super) struct ConditionEmbedder {
    time_embedder: TimestepEmbedding,
    time_proj: Linear,
    text_embedder: TextProjection,
    image_embedder: Option<PictureEmbedding>,
    #[module(skip)]
    freq_dim: usize,
}

impl ConditionEmbedder {
    pub(super) fn new(config: &WanTransformerConfig, device: &Device) -> Self {
        let dim = config.inner_dim();
        let picture = |picture_dim| PictureEmbedding::new(picture_dim, dim, config.pos_embed_seq_len, device);
        Self {
            time_embedder: TimestepEmbedding::new(config.freq_dim, dim, None, Activation::Silu, device),
            time_proj: linear(dim, MODULATIONS * dim, true, device),
            text_embedder: TextProjection {
                linear_1: linear(config.text_dim, dim, true, device),
                linear_2: linear(dim, dim, true, device),
            },
            image_embedder: config.image_dim.map(picture),
            freq_dim: config.freq_dim,
        }
    }

    /// Embeds the timestep of each run of tokens.
    pub(super) fn time(&self, timesteps: &[f64], device: &Device) -> Time {
        let waves = timesteps
            .iter()
            .map(|timestep| sinusoidal_embedding(*timestep, self.freq_dim, device));
        let waves = Tensor::cat(waves.collect(), 0).cast(dtype(&self.time_proj));
        let embedding: Tensor<3> = self.time_embedder.forward(waves).unsqueeze_dim(0);
        let projected = project(&self.time_proj, Activation::Silu.forward(embedding.clone()));
        let ([_, runs, dim], count) = (embedding.dims(), MODULATIONS);
        Time {
            embedding: embedding.reshape([runs, 1, dim]),
            modulations: projected.reshape([runs, count, dim]),
        }
    }

    /// Embeds text and picture.
    pub(super) fn context(&self, conditioning: &Conditioning) -> Context {
        let TextProjection { linear_1, linear_2 } = &self.text_embedder;
        let hidden = project(linear_1, conditioning.text.clone());
        let picture = self.image_embedder.as_ref().zip(conditioning.image.clone());
        Context {
            text: project(linear_2, Activation::GeluNew.forward(hidden)),
            picture: picture.map(|(embedder, picture)| embedder.forward(picture)),
        }
    }
}
