//! What the models compute with: operators, and the layers that more than one model is built of.
//!
//! The key decision: a model crate names the operation ([`attention`], [`conv2d`], a residual block) and this crate
//! decides how it runs. Every operation is expressed in Burn's own operators, so it runs on each of its backends; with
//! the feature `cpu-operators`, tensors in f32 on the CPU take the operators in `flex/` instead, which build on the `rten`
//! crates. For diagnosis, the environment variable `T2V_CPU_OPERATORS=off` leaves all tensors to Burn's operators, as if that
//! feature were off; it is read once, by the first operator.
//!
//! The layers follow `diffusers/models/resnet.py`, `downsampling.py` and `upsampling.py`, and name their parameters as
//! diffusers' checkpoints do.

mod activation;
mod arithmetic;
mod attention;
mod conv;
mod embedding;
#[cfg(feature = "cpu-operators")]
mod flex;
mod frames;
mod layout;
mod linear;
mod modulation;
mod norm;
mod products;
mod resample;
mod resnet_block;
mod rms_norm;
mod rotary;
#[cfg(feature = "cpu-operators")]
mod settings;
mod shape;

use burn::tensor::{DType, Device};

/// Whether the operators of a model in `dtype` also take large weights in half precision or in quantised blocks, which they
/// widen while they compute: those for f32 on the CPU do.
#[must_use]
pub fn takes_half_weights(dtype: DType, device: &Device) -> bool {
    #[cfg(feature = "cpu-operators")]
    return settings::settings().cpu_operators && dtype == DType::F32 && is_cpu(device);
    #[cfg(not(feature = "cpu-operators"))]
    {
        let _ = (dtype, device);
        false
    }
}

/// Gives memory back that is kept for the next results: what the CPU's operators keep, up to 512 MB, and the pools of
/// another device.
///
/// Call it when a model is dropped, or after a generation that was cancelled. It may be called at any time: buffers in use
/// are not touched, and the next operator allocates what it needs.
pub fn release_memory(device: &Device) {
    #[cfg(feature = "cpu-operators")]
    flex::release_pool();
    device.memory_cleanup();
}

/// Whether tensors of a device are the CPU's; otherwise operators are launched on it, which wants few and large ones.
#[must_use]
pub fn is_cpu(device: &Device) -> bool {
    #[cfg(feature = "cpu-operators")]
    return *device == Device::flex();
    #[cfg(not(feature = "cpu-operators"))]
    {
        let _ = device;
        false
    }
}

pub use activation::{Activation, geglu};
pub use arithmetic::{add, add_to_channels};
pub use attention::{MultiHead, attention, attention_frames};
pub use conv::{conv_same, conv_time, conv1x1, conv2d, conv2d_turns, conv3x1x1, conv3x3};
pub use embedding::embed;
pub use frames::{merge_frames, repeat_batch, split_frames};
pub use layout::lay_out;
pub use linear::{dtype, feed_forward, linear, mlp, project, project_add, project_add_image};
pub use modulation::{add_gated, modulated_norm};
pub use norm::{ChannelRmsNorm, LayerNorm, group_norm, group_norm_frames};
pub use products::Products;
pub use resample::{Downsample2d, Upsample2d, cat_channels, upsample_nearest};
pub use resnet_block::{ResnetBlock2d, ResnetBlock2dConfig};
pub use rms_norm::RmsNorm;
pub use rotary::Rotation;
