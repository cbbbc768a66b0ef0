//! A part of a picture painted anew, the rest kept (`StableDiffusionInpaintPipeline` in diffusers).

use burn::tensor::{Device, Tensor, TensorData};
use image::GrayImage;
use t2v_schedulers::Scheduler;

use crate::{PipelineError, resize::resize_grey};

/// From this grey value on a mask means "anew".
const THRESHOLD: u8 = 128;

/// What a denoiser that was not made for inpainting needs to keep what the mask does not show: after each step it is put back.
pub(crate) struct Inpainting {
    /// 1 where latents are made anew, `[1, 1, 1, height, width]`.
    pub(crate) mask: Tensor<5>,
    /// Of the whole picture.
    pub(crate) latents: Tensor<5>,
    /// That the picture is noised with.
    pub(crate) noise: Tensor<5>,
}

impl Inpainting {
    /// `samples` where the mask shows, the picture's latents elsewhere: as noisy as call `next` takes them, clean after the last.
    pub(crate) fn keep_the_rest(
        &self,
        samples: Tensor<5>,
        scheduler: &dyn Scheduler,
        next: Option<usize>,
    ) -> Result<Tensor<5>, PipelineError> {
        let known = match next {
            Some(call) => scheduler.add_noise(self.latents.clone(), self.noise.clone(), call)?,
            None => self.latents.clone(),
        };
        Ok((1.0 - self.mask.clone()) * known + self.mask.clone() * samples)
    }
}

/// A mask at the size of a picture: 1 where it is painted anew, otherwise 0.
pub(crate) struct Mask {
    values: Vec<f32>,
    width: usize,
    height: usize,
}

impl Mask {
    pub(crate) fn new(mask: &GrayImage, width: usize, height: usize) -> Self {
        let resized = resize_grey(mask, width as u32, height as u32);
        let values = resized
            .as_raw()
            .iter()
            .map(|grey| f32::from(u8::from(*grey >= THRESHOLD)));
        Self {
            values: values.collect(),
            width,
            height,
        }
    }

    /// The picture, `[1, 3, 1, height, width]`, grey where it is painted anew.
    pub(crate) fn cover(&self, picture: Tensor<5>) -> Tensor<5> {
        let kept: Vec<f32> = self.values.iter().map(|value| 1.0 - value).collect();
        let kept = TensorData::new(kept, [1, 1, 1, self.height, self.width]);
        picture.clone() * Tensor::from_data(kept, &picture.device())
    }

    /// For latents of another size, by the nearest pixel above and to the left: `[1, 1, 1, height, width]`.
    pub(crate) fn of_latents(&self, height: usize, width: usize, device: &Device) -> Tensor<5> {
        let pixel = |y: usize, x: usize| self.values[y * self.height / height * self.width + x * self.width / width];
        let values: Vec<f32> = (0..height).flat_map(|y| (0..width).map(move |x| pixel(y, x))).collect();
        Tensor::from_data(TensorData::new(values, [1, 1, 1, height, width]), device)
    }
}
