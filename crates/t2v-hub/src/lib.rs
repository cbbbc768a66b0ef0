//! Model folders of the [Hugging Face Hub](https://huggingface.co/models): those that its cache has, and with the feature
//! `download` all others.
//!
//! The key decision: the cache is that of Python's `huggingface_hub`, in its layout and found by its environment variables, so
//! what was downloaded there is not downloaded again, and the other way round. Of a repository only what a pipeline needs is
//! downloaded: configurations, vocabularies, one set of weights for each network.

#[cfg(feature = "download")]
mod download;
mod error;
#[cfg(any(feature = "download", test))]
mod files;
mod hub;
mod hub_model;

pub use error::HubError;
pub use hub::Hub;
pub use hub_model::{HubModel, is_hub_id};
