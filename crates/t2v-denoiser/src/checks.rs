//! What no U-Net's configuration can say, whatever its class.

use t2v_weights::{SampleSize, epsilon_fault, size_fault};

use crate::DenoiserError;

/// Far above any model's.
pub(crate) const MAX_CHANNELS: usize = 1 << 16;
pub(crate) const MAX_LAYERS: usize = 64;
const MAX_LEVELS: usize = 16;
/// Latents of a side.
const MAX_SAMPLE_SIZE: usize = 1 << 13;

pub(crate) fn fault(key: &'static str, reason: impl Into<String>) -> DenoiserError {
    let reason = reason.into();
    DenoiserError::Config { key, reason }
}

/// A number of things, from 1 to `most`.
pub(crate) fn check_size(key: &'static str, size: usize, most: usize) -> Result<(), DenoiserError> {
    size_fault(size, 1..=most).map_or(Ok(()), |reason| Err(fault(key, reason)))
}

pub(crate) fn check_sample_size(size: Option<SampleSize>) -> Result<(), DenoiserError> {
    let sides = size.map_or([1, 1], SampleSize::height_width);
    sides
        .into_iter()
        .try_for_each(|side| check_size("sample_size", side, MAX_SAMPLE_SIZE))
}

/// As many types of blocks, down and up, as resolutions. Gives their number.
pub(crate) fn check_levels(channels: &[usize], down: usize, up: usize) -> Result<usize, DenoiserError> {
    let levels = channels.len();
    if !(1..=MAX_LEVELS).contains(&levels) {
        let reason = format!("has {levels} entries; it has one a resolution, 1 to {MAX_LEVELS}");
        return Err(fault("block_out_channels", reason));
    }
    for (key, len) in [("down_block_types", down), ("up_block_types", up)] {
        if len != levels {
            return Err(fault(
                key,
                format!("has {len} entries; `block_out_channels` has {levels}"),
            ));
        }
    }
    Ok(levels)
}

/// Channels of a resolution, which are normalised in groups.
pub(crate) fn check_channels(channels: usize, groups: usize) -> Result<(), DenoiserError> {
    let key = "block_out_channels";
    if let Some(reason) = size_fault(channels, 1..=MAX_CHANNELS) {
        return Err(fault(key, format!("has an entry that {reason}")));
    }
    if !channels.is_multiple_of(groups) {
        let reason = format!("has {channels}, which is not a multiple of `norm_num_groups` ({groups})");
        return Err(fault(key, reason));
    }
    Ok(())
}

pub(crate) fn check_numbers(padding: usize, eps: f64, mid_block_scale: f64) -> Result<(), DenoiserError> {
    if padding > 1 {
        let reason = format!("is {padding}; a strided convolution halves its input with 0 and 1 alone");
        return Err(fault("downsample_padding", reason));
    }
    if let Some(reason) = epsilon_fault(eps) {
        return Err(fault("norm_eps", reason));
    }
    if !(mid_block_scale as f32).is_normal() {
        let reason = format!(
            "is {mid_block_scale}; sums are divided by it in single precision, so it can't be 0 or as good as it"
        );
        return Err(fault("mid_block_scale_factor", reason));
    }
    Ok(())
}
