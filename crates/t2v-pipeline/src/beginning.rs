//! Pictures that clips begin or end with, of models whose denoiser is shown them (`prepare_latents` of
//! `WanImageToVideoPipeline` in diffusers).

use burn::tensor::{Device, Tensor, TensorData};

/// How a denoiser is shown the pictures that a clip begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beginning {
    /// By channels beside the latents: a mask of the frames that are given, and the latents of a clip in which all others are grey.
    Channels,
    /// By the first latent frame, which is that of the picture and is not noised.
    FirstFrame,
}

impl Beginning {
    /// The clip whose latents are wanted, `[1, 3, frames, height, width]`, from the pictures, `[1, 3, pictures, height, width]`.
    pub(crate) fn clip(self, pictures: Tensor<5>, frames: usize) -> Tensor<5> {
        let [_, channels, count, height, width] = pictures.dims();
        let first = pictures.clone().slice_dim(2, 0..1);
        if self == Self::FirstFrame || frames <= count {
            return first;
        }
        let between = Tensor::zeros([1, channels, frames - count, height, width], &pictures.device());
        let last = (count > 1).then(|| pictures.slice_dim(2, 1..count));
        Tensor::cat([first, between].into_iter().chain(last).collect(), 2)
    }
}

/// Which frames are given: 1 where they are. A latent frame has a channel for each frame that it stands for; the first stands for
/// one, in all of them.
///
/// # Shapes
/// - shape: `[1, _, latent frames, height, width]`
/// - output: `[1, temporal_factor, latent frames, height, width]`
pub(crate) fn mask(shape: [usize; 5], temporal_factor: usize, has_last: bool, device: &Device) -> Tensor<5> {
    let [_, _, frames, height, width] = shape;
    let is_given = |channel, frame| frame == 0 || (has_last && frame + 1 == frames && channel + 1 == temporal_factor);
    let values: Vec<f32> = (0..temporal_factor)
        .flat_map(|channel| (0..frames).map(move |frame| f32::from(u8::from(is_given(channel, frame)))))
        .collect();
    let values = TensorData::new(values, [1, temporal_factor, frames, 1, 1]);
    Tensor::<5>::from_data(values, device).expand([1, temporal_factor, frames, height, width])
}

/// The first latent frame of a clip, where it is given.
pub(crate) struct GivenFrame {
    /// `[1, channels, 1, height, width]`
    latents: Tensor<5>,
}

impl GivenFrame {
    pub(crate) fn new(latents: Tensor<5>) -> Self {
        Self { latents }
    }

    /// A clip with it in place of its own first frame.
    pub(crate) fn put(&self, clip: Tensor<5>) -> Tensor<5> {
        match clip.dims()[2] {
            1 => self.latents.clone(),
            frames => Tensor::cat(vec![self.latents.clone(), clip.slice_dim(2, 1..frames)], 2),
        }
    }

    /// What the timestep is multiplied by in each of so many latent frames.
    pub(crate) fn timestep_factors(frames: usize) -> Vec<f64> {
        (0..frames).map(|frame| if frame == 0 { 0.0 } else { 1.0 }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(tensor: Tensor<5>) -> Vec<f32> {
        tensor.into_data().iter().collect()
    }

    #[test]
    fn the_mask_counts_frames() {
        let mask = |frames, has_last| values(mask([1, 16, frames, 1, 1], 2, has_last, &Device::flex()));
        assert_eq!(mask(3, false), [1.0, 0.0, 0.0, 1.0, 0.0, 0.0]);
        assert_eq!(mask(3, true), [1.0, 0.0, 0.0, 1.0, 0.0, 1.0]);
        assert_eq!(mask(1, false), [1.0, 1.0]);
    }

    #[test]
    fn other_frames_are_grey() {
        let pictures = Tensor::<1>::from_floats([0.5, -0.5], &Device::flex()).reshape([1, 1, 2, 1, 1]);
        let first = pictures.clone().slice_dim(2, 0..1);
        assert_eq!(values(Beginning::Channels.clip(first.clone(), 3)), [0.5, 0.0, 0.0]);
        assert_eq!(
            values(Beginning::Channels.clip(pictures.clone(), 4)),
            [0.5, 0.0, 0.0, -0.5]
        );
        assert_eq!(values(Beginning::Channels.clip(first.clone(), 1)), [0.5]);
        assert_eq!(values(Beginning::FirstFrame.clip(pictures.clone(), 5)), [0.5]);
        let given = GivenFrame::new(first);
        assert_eq!(values(given.put(pictures.zeros_like())), [0.5, 0.0]);
        assert_eq!(GivenFrame::timestep_factors(3), [0.0, 1.0, 1.0]);
    }
}
