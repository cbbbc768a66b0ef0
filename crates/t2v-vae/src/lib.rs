//! Video autoencoders: latents to frames and back.
//!
//! [`AutoencoderKl`] is the image autoencoder of latent diffusion
//! ([Rombach et al., 2022](https://arxiv.org/abs/2112.10752)), which the ModelScope family applies frame by frame;
//! [`AutoencoderKlWan`] is that of Wan, which sees a frame and those before it.
//!
//! The key decision: frames are decoded and encoded one at a time, so peak memory is that of one frame whatever the
//! length, and a caller can report progress or stop between frames. In the first, group normalisation makes frames
//! independent, so the result is that of one big batch; the second remembers what its next frame needs of those before.
//!
//! Upstream: `diffusers/models/autoencoders/autoencoder_kl.py`, `vae.py` and `autoencoder_kl_wan.py`.

mod attention;
mod autoencoder_kl;
mod blocks;
mod codec;
mod config;
mod error;
mod keys;
pub mod ldm;
mod tiling;
pub mod wan;

pub use autoencoder_kl::{AutoencoderKl, Posterior};
pub use codec::LatentCodec;
pub use config::AutoencoderKlConfig;
pub use error::VaeError;
pub use tiling::Tiling;
pub use wan::{AutoencoderKlWan, AutoencoderKlWanConfig, WanTiling};
