//! `CLIPVisionModel` (`transformers/models/clip/modeling_clip.py`), as far as its hidden states are of use.

mod config;

use burn::{
    module::{Initializer, Module, Param},
    nn::{
        Embedding, EmbeddingConfig,
        conv::{Conv2d, Conv2dConfig},
    },
    tensor::{DType, Device, Tensor},
};
pub use config::ClipVisionConfig;
use t2v_kernels::{LayerNorm, conv2d};
use t2v_weights::{Component, KeyMap, Network};

use crate::{TextEncoderError, clip_layer::ClipLayer};

#[derive(Module, Debug)]
struct Embeddings {
    class_embedding: Param<Tensor<1>>,
    /// A token for each square of pixels.
    patch_embedding: Conv2d,
    position_embedding: Embedding,
}

impl Embeddings {
    fn new(config: &ClipVisionConfig, device: &Device) -> Self {
        let (width, side) = (config.hidden_size, config.patch_size);
        let patches = Conv2dConfig::new([config.num_channels, width], [side, side]).with_stride([side, side]);
        Self {
            class_embedding: Initializer::Zeros.init([width], device),
            patch_embedding: patches.with_bias(false).init(device),
            position_embedding: EmbeddingConfig::new(config.tokens(), width).init(device),
        }
    }

    /// # Shapes
    /// - pixels: `[batch, channels, height, width]`
    /// - output: `[batch, tokens, hidden_size]`
    fn forward(&self, pixels: Tensor<4>) -> Tensor<3> {
        let dtype = pixels.dtype();
        let patches = conv2d(&self.patch_embedding, pixels).flatten::<3>(2, 3).swap_dims(1, 2);
        let [batch, _, width] = patches.dims();
        let class = self.class_embedding.val().cast(dtype).reshape([1, 1, width]);
        let tokens = Tensor::cat(vec![class.repeat_dim(0, batch), patches], 1);
        let positions: Tensor<3> = self.position_embedding.weight.val().cast(dtype).unsqueeze_dim(0);
        tokens + positions
    }
}

#[derive(Module, Debug)]
struct Encoder {
    layers: Vec<ClipLayer>,
}

/// The tower of CLIP that sees pictures: a transformer over squares of pixels, all of which see each other.
///
/// Diffusion models take the hidden states before its last layer; what follows them is not run.
#[derive(Module, Debug)]
pub struct ClipVisionModel {
    embeddings: Embeddings,
    /// So spelt in the checkpoints.
    pre_layrnorm: LayerNorm,
    encoder: Encoder,
    #[module(skip)]
    config: ClipVisionConfig,
}

impl Network for ClipVisionModel {
    type Config = ClipVisionConfig;
    type Error = TextEncoderError;

    fn read_config(component: &Component) -> Result<ClipVisionConfig, TextEncoderError> {
        ClipVisionConfig::from_component(component)
    }

    fn init(config: ClipVisionConfig, device: &Device) -> Result<Self, TextEncoderError> {
        config.check()?;
        let layers = 0..config.num_hidden_layers;
        Ok(Self {
            embeddings: Embeddings::new(&config, device),
            pre_layrnorm: LayerNorm::new(config.hidden_size, config.layer_norm_eps, device),
            encoder: Encoder {
                layers: layers.map(|_| ClipLayer::new(config.layer_sizes(), device)).collect(),
            },
            config,
        })
    }

    /// Older checkpoints hold a constant table of positions; those of a whole CLIP or `…WithProjection` have more than this tower.
    fn key_map() -> KeyMap {
        KeyMap::new()
            .rename(r"^vision_model\.", "")
            .ignore(r"^embeddings\.position_ids$")
            .ignore(r"^post_layernorm\.")
            .ignore(r"^visual_projection\.weight$")
    }
}

impl ClipVisionModel {
    /// The configuration it was built from.
    #[must_use]
    pub fn config(&self) -> &ClipVisionConfig {
        &self.config
    }

    fn dtype(&self) -> DType {
        let layer = self.encoder.layers.first();
        layer.map_or(DType::F32, ClipLayer::dtype)
    }

    /// The hidden states before the last layer (`hidden_states[-2]` upstream), of pictures that are prepared as
    /// `CLIPImageProcessor` does.
    ///
    /// # Shapes
    /// - pixels: `[batch, 3, image_size, image_size]`
    /// - output: `[batch, tokens, hidden_size]`, in the type that the network computes in
    ///
    /// # Panics
    /// On pictures of another size.
    #[must_use]
    pub fn penultimate(&self, pixels: Tensor<4>) -> Tensor<3> {
        let hidden = self.embeddings.forward(pixels.cast(self.dtype()));
        let mut hidden = self.pre_layrnorm.forward(hidden);
        let before_last = self.encoder.layers.len() - 1;
        for layer in &self.encoder.layers[..before_last] {
            hidden = layer.forward(hidden, false);
        }
        hidden
    }
}
