//! `AutoencoderKLWan` of Wan 2.1 and 2.2 ([Wan Team, 2025](https://arxiv.org/abs/2503.20314)): clips to latents in which a
//! frame stands for several, and back.
//!
//! The key decision: the networks take one frame at a time. Their convolutions see only a frame and those before it, so
//! each remembers two frames of its input and nothing else depends on the length of a clip. A 3x3x3 convolution is then one
//! over an image, whose channels are those of three frames in turns: the fast one that every backend has.
//!
//! Upstream: `diffusers/models/autoencoders/autoencoder_kl_wan.py`.

mod attention;
mod autoencoder;
mod codec;
mod config;
mod decoder;
mod encoder;
mod history;
pub mod original;
mod patches;
mod resample;
mod residual;
mod shortcut;
mod tiling;

pub use autoencoder::AutoencoderKlWan;
pub use config::AutoencoderKlWanConfig;
pub use tiling::WanTiling;
