//! The tests of the crate from outside.

#![allow(clippy::unwrap_used)]

mod bad_checkpoints;
mod config_numbers;
mod fields;
mod folders;
mod generate;
mod golden;
mod golden_sd;
mod golden_wan;
mod golden_wan_pictures;
#[cfg(feature = "wgpu")]
mod gpu;
mod hub_cache;
#[cfg(feature = "hub")]
mod hub_download;
mod limits;
mod prompts;
mod registry;
mod requests;
mod running;
mod speed;
mod stable_diffusion;
mod wan;
mod wan_experts;
mod wan_gguf;
mod wan_streamed;
