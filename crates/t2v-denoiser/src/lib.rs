//! Denoising models for video latents, behind one trait.
//!
//! [`UNet3d`] is `UNet3DConditionModel` of diffusers, the network of ModelScope's text-to-video and of Zeroscope
//! ([Wang et al., 2023](https://arxiv.org/abs/2308.06571)): the two-dimensional U-Net of Stable Diffusion with a temporal
//! convolution after every residual block and a temporal transformer after every spatial one.
//!
//! [`UNet2d`] is `UNet2DConditionModel`, Stable Diffusion's network for pictures, and with AnimateDiff's motion modules
//! between its layers
//! `UNetMotionModel` ([Guo et al., 2023](https://arxiv.org/abs/2307.04725)).
//!
//! [`WanTransformer`] is `WanTransformer3DModel`, the transformer of Wan 2.1 and 2.2
//! ([Wan team, 2025](https://arxiv.org/abs/2503.20314)).
//!
//! The key decision: inside a U-Net frames are a part of the batch, `[batch * frames, channels, height, width]`, as
//! in diffusers, so spatial layers are the image model's. Text is *not* repeated for each frame: the queries of all
//! frames of a clip attend to one set of keys and values, which is the same sum. And the two halves of guidance are one clip until a
//! layer first looks at the text.
//!
//! Upstream: `diffusers/models/unets/unet_3d_condition.py` and `unet_3d_blocks.py`.

mod checks;
mod conditioning;
mod config;
mod context_windows;
mod error;
mod feature_cache;
#[cfg(test)]
mod golden_tests;
mod history;
mod keys;
pub mod ldm;
mod motion_module;
mod prompts;
mod shortcuts;
mod temporal_conv;
mod timesteps;
mod transformer_2d;
mod transformer_block;
mod transformer_temporal;
mod unet_2d;
mod unet_3d;
mod unet_blocks;
mod unet_body;
mod wan;

use burn::tensor::Tensor;
pub use conditioning::Conditioning;
pub use config::{DownBlockType, UNet3dConfig, UpBlockType};
pub use context_windows::{ContextWindows, WindowWeighting};
pub use error::DenoiserError;
pub use feature_cache::{DeepFeatures, FeatureCache};
pub use history::History;
pub use motion_module::{motion_module, motion_module_config, open_motion_adapter};
pub use shortcuts::Shortcuts;
pub use temporal_conv::TemporalConv;
pub use timesteps::{TimestepEmbedding, TimestepFrequencies, sinusoidal_embedding};
pub use transformer_2d::Transformer2d;
pub(crate) use transformer_block::{Context, TransformerBlock};
pub use transformer_temporal::TransformerTemporal;
pub use unet_2d::{MotionAdapterConfig, UNet2d, UNet2dConfig};
pub use unet_3d::UNet3d;
pub use unet_blocks::{BlockConfig, ResnetsConfig, UNetBlock};
pub use wan::{
    Prepared, StreamedWanTransformer, WanTransformer, WanTransformerConfig, check_wan_transformer, wan_transformer,
    wan_transformer_config,
};

/// A network that predicts noise, velocity or the clean sample from noisy latents.
pub trait Denoiser: Send {
    /// Computes what depends on the conditioning alone, once for all steps of a generation; the result is used by this network
    /// and stays of use until its weights, or text and pictures of the conditioning are changed. Whether it is called changes no
    /// value. Networks that have nothing of the kind give the conditioning back.
    #[must_use]
    fn prepare(&self, conditioning: Conditioning) -> Conditioning {
        conditioning
    }

    /// One call of the network.
    ///
    /// The conditioning may be for several times as many clips as there are latents: all of them under one prompt, then all under the
    /// next. That gives what repeated latents would, but for rounding, in less time. Guidance is one clip under two prompts.
    ///
    /// # Shapes
    /// - latents: `[clips, in_channels, frames, height, width]`
    /// - conditioning: of a batch that is `clips` or a multiple of it
    /// - output: `[batch, out_channels, frames, height, width]`
    fn forward(&self, latents: Tensor<5>, timestep: f64, conditioning: &Conditioning) -> Tensor<5> {
        self.call(latents, timestep, conditioning, Shortcuts::default())
    }

    /// Whether [`call`](Self::call) can leave out layers.
    fn reuses_features(&self) -> bool {
        false
    }

    /// As [`forward`](Self::forward), with [shortcuts](Shortcuts).
    ///
    /// # Shapes
    /// Those of `forward`; with reused features the batch may be the last entries of the one that they were kept from.
    fn call(
        &self,
        latents: Tensor<5>,
        timestep: f64,
        conditioning: &Conditioning,
        shortcuts: Shortcuts<'_>,
    ) -> Tensor<5>;
}
