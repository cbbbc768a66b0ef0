//! A folder of clips with captions, as what a network is shown.
//!
//! Faults of the folder are collected, and told all at once before anything is encoded; then each clip is encoded once by the
//! base's own autoencoder and each caption by its text encoder.

mod captions;
mod clips;
mod encode;
mod entries;
mod frames;
mod kept;
mod masks;

pub use captions::{Caption, find_clips};
use clips::Clip;
pub use encode::{Dataset, Example};
pub(crate) use frames::ClipLimits;
pub use frames::ClipSize;
use masks::Mask;
