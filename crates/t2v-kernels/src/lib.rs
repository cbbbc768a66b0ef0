//! What the models compute with: operators, and the layers that more than one model is built of.
//!
//! The key decision: a model crate names the operation (`attention`, `upsample_nearest`, a residual block) and this
//! crate decides how it runs. Here every operation is expressed in Burn's own operators, so it runs on each of its
//! backends; faster paths for a device belong behind the same functions.
//!
//! The layers follow `diffusers/models/resnet.py`, `downsampling.py` and `upsampling.py`, and name their parameters as
//! diffusers' checkpoints do.

mod activation;
mod attention;
mod conv;
mod linear;
mod resample;
mod resnet_block;

pub use activation::Activation;
pub use attention::{MultiHead, attention};
pub use conv::{conv1x1, conv3x3};
pub use linear::linear;
pub use resample::{Downsample2d, Upsample2d, upsample_nearest};
pub use resnet_block::{ResnetBlock2d, ResnetBlock2dConfig};
