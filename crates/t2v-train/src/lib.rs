//! Trains LoRAs for text-to-video diffusion models, in Rust, on Burn's autodiff.
//!
//! A [`Base`] is a model folder that is being trained on; a [`Dataset`] is a folder of clips with captions, encoded once by the
//! base's own autoencoder and text encoder; a [`Trainer`] turns both into [`Adapters`], which [`save_lora`] writes as a LoRA that
//! diffusers, ComfyUI and `t2v` load. The program `t2v-train` does these in order.
//!
//! The key decision: the networks know nothing of LoRAs. Their weights are constants; each call of a network is one of a copy in
//! which the weight `W` of an adapted layer is the tensor `W + alpha / rank · up · down`, computed on an autodiff device from the
//! adapter's two matrices ([`Adapters`]). So what is trained is the very module that generates, every layer of it, and what
//! training saw is what `t2v-weights` makes of the file when it adds a LoRA to a checkpoint's weights. The operators of
//! `t2v-kernels` for the CPU, which have no gradients, leave autodiff tensors to Burn.
//!
//! Networks whose weights are stored in half precision are widened to f32: small gradients vanish in half precision.
//!
//! Each step's random numbers follow from the seed and the step's number alone (`draws`): a run that was interrupted goes on as
//! if it had not been, and there is no state of a generator to keep.
//!
//! Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", <https://arxiv.org/abs/2106.09685>.

mod adapters;
mod attach;
mod base;
mod curve;
mod data;
mod draws;
mod ema;
mod error;
mod factors;
mod learning_rate;
mod lora_file;
mod objective;
mod optimiser;
mod recording;
mod settings;
mod state;
mod targets;
mod tensor_file;
mod timesteps;
mod trainer;

pub use adapters::{Adapter, Adapters};
pub use attach::{attach, attach_to, freeze};
pub use base::{Base, Denoisers, Trainable};
pub use curve::loss_curve;
pub use data::{Caption, ClipSize, Dataset, Example, find_clips};
pub use error::TrainError;
pub use factors::Factors;
pub use lora_file::{LoraLabel, lora_bytes, save_lora};
pub use objective::{Draw, Objective};
pub use optimiser::OptimiserKind;
pub use settings::TrainSettings;
pub use state::SavedState;
pub use targets::TargetModules;
pub use timesteps::TimestepDensity;
pub use trainer::{StepReport, Trainer};
