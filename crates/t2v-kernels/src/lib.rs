//! What the models compute with: operators, and the layers that more than one model is built of.
//!
//! The key decision: a model crate names the operation ([`attention`], [`conv2d`], a residual block) and this crate
//! decides how it runs. Every operation is expressed in Burn's own operators, so it runs on each of its backends; with
//! the feature `rten`, tensors in f32 on the CPU take the operators in `flex/` instead, which build on the crates of that name.
//!
//! The layers follow `diffusers/models/resnet.py`, `downsampling.py` and `upsampling.py`, and name their parameters as
//! diffusers' checkpoints do.

mod activation;
mod arithmetic;
mod attention;
mod conv;
#[cfg(feature = "rten")]
mod flex;
mod frames;
mod linear;
mod norm;
mod resample;
mod resnet_block;

use burn::tensor::{DType, Device};

/// Whether the operators of a model in `dtype` also take large weights in half precision, which they widen while they
/// compute: those for f32 on the CPU do.
#[must_use]
pub fn takes_half_weights(dtype: DType, device: &Device) -> bool {
    #[cfg(feature = "rten")]
    return dtype == DType::F32 && *device == Device::flex();
    #[cfg(not(feature = "rten"))]
    {
        let _ = (dtype, device);
        false
    }
}

pub use activation::{Activation, geglu};
pub use arithmetic::{add, add_to_channels};
pub use attention::{MultiHead, attention, attention_frames};
pub use conv::{conv_time, conv1x1, conv2d, conv3x1x1, conv3x3};
pub use frames::{merge_frames, split_frames};
pub use linear::{feed_forward, linear, project, project_add, project_add_image};
pub use norm::{LayerNorm, group_norm, group_norm_frames};
pub use resample::{Downsample2d, Upsample2d, cat_channels, upsample_nearest};
pub use resnet_block::{ResnetBlock2d, ResnetBlock2dConfig};
