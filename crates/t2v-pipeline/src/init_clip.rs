//! Pictures to start from as a tensor.

use burn::tensor::{Device, Tensor, TensorData};
use image::RgbImage;
use t2v_media::InitMedia;

use crate::resize::{Filter, resize_rgb};

/// The pictures at `width` x `height` as a clip, `[1, 3, pictures, height, width]` in -1..1.
pub(crate) fn init_clip(init: &InitMedia, width: usize, height: usize, device: &Device) -> Tensor<5> {
    let frames = init
        .pictures()
        .iter()
        .map(|picture| tensor(picture, width, height, device));
    Tensor::stack(frames.collect(), 2)
}

fn tensor(picture: &RgbImage, width: usize, height: usize, device: &Device) -> Tensor<4> {
    let size = (width as u32, height as u32);
    let resized;
    let picture = if picture.dimensions() == size {
        picture
    } else {
        resized = resize_rgb(picture, size.0, size.1, Filter::Lanczos);
        &resized
    };
    let values: Vec<f32> = picture.as_raw().iter().map(|v| f32::from(*v) / 255.0).collect();
    let data = TensorData::new(values, [1, height, width, 3]);
    Tensor::<4>::from_data(data, device).permute([0, 3, 1, 2]) * 2.0 - 1.0
}
