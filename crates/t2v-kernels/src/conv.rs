//! The convolutions that the models use.

use burn::{
    module::Param,
    nn::{
        PaddingConfig2d, PaddingConfig3d,
        conv::{Conv2d, Conv2dConfig, Conv3d, Conv3dConfig},
    },
    tensor::{DType, Device, Tensor},
};

use crate::{
    merge_frames,
    shape::{assert_shape, assert_whole_clips},
    split_frames,
};

/// A 3x3 convolution that keeps the size.
#[must_use]
pub fn conv3x3(in_channels: usize, out_channels: usize, device: &Device) -> Conv2d {
    conv_same(in_channels, out_channels, 3, device)
}

/// A convolution by a square of an odd side that keeps the size.
#[must_use]
pub fn conv_same(in_channels: usize, out_channels: usize, side: usize, device: &Device) -> Conv2d {
    let padding = side / 2;
    Conv2dConfig::new([in_channels, out_channels], [side, side])
        .with_padding(PaddingConfig2d::Explicit(padding, padding, padding, padding))
        .init(device)
}

/// A 1x1 convolution.
#[must_use]
pub fn conv1x1(in_channels: usize, out_channels: usize, device: &Device) -> Conv2d {
    Conv2dConfig::new([in_channels, out_channels], [1, 1]).init(device)
}

/// A convolution over three neighbouring frames that keeps their number.
#[must_use]
pub fn conv3x1x1(in_channels: usize, out_channels: usize, device: &Device) -> Conv3d {
    Conv3dConfig::new([in_channels, out_channels], [3, 1, 1])
        .with_padding(PaddingConfig3d::Explicit(1, 0, 0))
        .init(device)
}

/// A parameter in another type, for operators that take only one.
fn cast<const D: usize>(weight: &Param<Tensor<D>>, dtype: DType) -> Param<Tensor<D>> {
    Param::from_tensor(weight.val().cast(dtype))
}

/// Applies a convolution to images.
///
/// # Shapes
/// - x: `[batch, in_channels, height, width]`
/// - output: `[batch, out_channels, ...]`
///
/// # Panics
/// On images of another number of channels.
#[must_use]
pub fn conv2d(conv: &Conv2d, x: Tensor<4>) -> Tensor<4> {
    let [batch, _, height, width] = x.dims();
    let channels = conv.weight.dims()[1] * conv.groups;
    assert_shape("the input of a convolution", &x, [batch, channels, height, width]);
    #[cfg(feature = "cpu-operators")]
    let x = match crate::flex::conv2d(conv, x) {
        Ok(out) => return out,
        Err(x) => x,
    };
    if conv.weight.dtype() == x.dtype() {
        return conv.forward(x);
    }
    let mut widened = conv.clone();
    widened.weight = cast(&conv.weight, x.dtype());
    widened.forward(x)
}

/// Applies a convolution to several images of one shape whose channels take turns: the first channel of each, then the second
/// of each, and so on.
///
/// A convolution over the frames of a clip is this one: `[out, in, frames, height, width]` kernels, with the two axes after the
/// first as one, are those of an image that is made of so many frames in turns.
///
/// # Shapes
/// - images: each `[batch, in_channels / images, height, width]`
/// - output: `[batch, out_channels, ...]`
///
/// # Panics
/// On no images, and on images of other shapes.
#[must_use]
pub fn conv2d_turns(conv: &Conv2d, images: &[Tensor<4>]) -> Tensor<4> {
    let [batch, channels, height, width] = images[0].dims();
    for image in images {
        assert_shape("an image that takes turns", image, [batch, channels, height, width]);
    }
    let expected = conv.weight.dims()[1] * conv.groups;
    let (count, all) = (images.len(), images.len() * channels);
    assert!(
        all == expected,
        "{count} images in turns have {all} channels, not {expected}"
    );
    #[cfg(feature = "cpu-operators")]
    if let Some(out) = crate::flex::conv2d_turns(conv, images) {
        return out;
    }
    // Channels last, as the convolutions of a GPU want them.
    let last = images.iter().map(|image| image.clone().permute([0, 2, 3, 1]));
    let turns: Tensor<5> = Tensor::stack(last.collect(), 4);
    conv2d(conv, turns.reshape([batch, height, width, all]).permute([0, 3, 1, 2]))
}

/// Applies a [`conv3x1x1`] along the frames of each clip.
///
/// # Shapes
/// - x: `[batch * frames, in_channels, height, width]`
/// - output: `[batch * frames, out_channels, height, width]`
///
/// # Panics
/// On frames of another number of channels, and on no whole clips.
#[must_use]
pub fn conv_time(conv: &Conv3d, x: Tensor<4>, frames: usize) -> Tensor<4> {
    let [rows, _, height, width] = x.dims();
    let channels = conv.weight.dims()[1] * conv.groups;
    assert_whole_clips(rows, frames);
    assert_shape(
        "the input of a temporal convolution",
        &x,
        [rows, channels, height, width],
    );
    #[cfg(feature = "cpu-operators")]
    let x = match crate::flex::conv_time(conv, x, frames) {
        Ok(out) => return out,
        Err(x) => x,
    };
    let x = split_frames(x, frames);
    if conv.weight.dtype() == x.dtype() {
        return merge_frames(conv.forward(x));
    }
    let mut widened = conv.clone();
    widened.weight = cast(&conv.weight, x.dtype());
    merge_frames(widened.forward(x))
}
