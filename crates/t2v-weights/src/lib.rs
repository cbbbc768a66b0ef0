//! Reads diffusers model folders into Burn modules.
//!
//! A folder holds `model_index.json` and one sub-folder a component (`unet`, `vae`, `text_encoder`, `tokenizer`,
//! `scheduler`), each with its configuration and, where it has any, its weights: one safetensors file, several with an
//! index, a variant such as `fp16`, a PyTorch pickle, or GGUF.
//!
//! The key decision: weights are lists of *deferred* tensors. Opening a file reads its header alone; a tensor's bytes
//! are read, widened and handed to the module when the module asks for that one parameter, so loading never holds a
//! second copy of the model. The same code reads a checkpoint that is embedded in the binary. Of a network that is larger than the
//! memory, [`LayerWeights`] reads a layer at a time.
//!
//! Quantised blocks of GGUF files are widened when they are read, or, where a model's operators know of them, stay as they are in
//! memory (`t2v_quant::Quantized`).
//!
//! A file that holds several components under another layout's names becomes a folder by [`FolderParts`]: a [`Selection`] a
//! component says which of the file's tensors are its own, and what it calls them.
//!
//! ```no_run
//! # use burn::{module::Module, nn::Linear, tensor::DType};
//! # fn main() -> Result<(), t2v_weights::WeightsError> {
//! # let device = burn::tensor::Device::default();
//! # let mut module = burn::nn::LinearConfig::new(1, 1).init(&device);
//! use t2v_weights::{KeyMap, ModelFolder};
//!
//! let folder = ModelFolder::open("models/zeroscope")?;
//! let unet = folder.component("unet")?;
//! unet.weights()?.load(&mut module, &KeyMap::new(), DType::F32)?;
//! # Ok(())
//! # }
//! ```
//!
//! File layout: <https://huggingface.co/docs/diffusers/using-diffusers/other-formats>; weights:
//! <https://github.com/huggingface/safetensors#format>.

mod blocks;
mod bounds;
mod component;
mod error;
mod floats;
mod folder;
mod gguf;
mod json;
mod keys;
mod layers;
mod layout;
mod load;
mod lora;
mod meter;
mod named;
mod network;
mod parameters;
mod parts;
mod pickle_globals;
mod quantize;
mod safetensors;
mod sample_size;
mod selection;
mod settings;
mod source;
mod tensor_file;
mod tensors;
mod weight_files;

pub use bounds::{epsilon_fault, size_fault};
pub use burn_store::ModuleSnapshot;
pub use component::Component;
pub use error::WeightsError;
pub use floats::Floats;
pub use folder::{IndexEntry, ModelFolder};
pub use json::parse_json;
pub use keys::KeyMap;
pub use layers::{LayerWeights, ReadLayer};
pub use load::{LoadReport, Weights};
pub use lora::{AppliedLoras, Lora, LoraPlan, LoraSet, LoraTarget};
pub use meter::ReadMeter;
pub use network::{LoadOptions, Network};
pub use parts::FolderParts;
pub use sample_size::SampleSize;
pub use selection::{Selection, Taken};
pub use source::EmbeddedFile;
pub use tensor_file::TensorFile;
