//! Video autoencoders: latents to frames and back.
//!
//! [`AutoencoderKl`] is the image autoencoder of latent diffusion
//! ([Rombach et al., 2022](https://arxiv.org/abs/2112.10752)), which the ModelScope family applies frame by frame.
//!
//! The key decision: frames are decoded and encoded one at a time, so peak memory is that of one frame whatever the
//! length, and a caller can report progress or stop between frames. Group normalisation makes frames independent, so
//! the result is that of one big batch.
//!
//! Upstream: `diffusers/models/autoencoders/autoencoder_kl.py` and `vae.py`.

mod attention;
mod autoencoder_kl;
mod blocks;
mod codec;
mod config;
mod error;
mod keys;
pub mod ldm;
mod tiling;

pub use autoencoder_kl::{AutoencoderKl, Posterior};
pub use codec::LatentCodec;
pub use config::AutoencoderKlConfig;
pub use error::VaeError;
pub use tiling::Tiling;
