//! Any autoencoder of clips, as a pipeline uses it.

use burn::tensor::Tensor;
use t2v_kernels::is_cpu;

use crate::{AutoencoderKl, Posterior};

/// Clips to latents and back, a chunk of frames at a time: memory grows with a chunk, not with the clip.
pub trait LatentCodec: Send {
    /// Distributions of a clip's latents, chunk after chunk of the clip's length, not normalised.
    ///
    /// # Shapes
    /// - clip: `[1, 3, frames, height, width]` in -1..1
    /// - items: `[1, channels, latent frames of the chunk, latent height, latent width]`
    fn encode<'a>(&'a self, clip: Tensor<5>) -> Box<dyn Iterator<Item = Posterior<5>> + 'a>;

    /// From the autoencoder's latents to those of the denoiser.
    ///
    /// # Shapes
    /// - latents: `[batch, channels, frames, height, width]`, as the result
    fn normalize(&self, latents: Tensor<5>) -> Tensor<5>;

    /// A clip from the denoiser's latents, chunk after chunk.
    ///
    /// # Shapes
    /// - latents: `[1, channels, latent frames, latent height, latent width]`
    /// - items: `[1, 3, frames of the chunk, height, width]`, about -1..1
    fn decode<'a>(&'a self, latents: Tensor<5>) -> Box<dyn Iterator<Item = Tensor<5>> + 'a>;

    /// Sets whether frames larger than those of training are cut into overlapping tiles: less memory, slightly different
    /// results. Off at first.
    fn set_tiling(&mut self, tiled: bool);
}

/// Each frame is an image of its own. Only the scaling factor counts: diffusers' video pipelines know no shift factor.
impl LatentCodec for AutoencoderKl {
    fn encode<'a>(&'a self, clip: Tensor<5>) -> Box<dyn Iterator<Item = Posterior<5>> + 'a> {
        let frames = clip.dims()[2];
        Box::new((0..frames).map(move |frame| {
            let Posterior { mean, std } = self.encode_frame(image(&clip, frame));
            Posterior {
                mean: mean.unsqueeze_dim(2),
                std: std.unsqueeze_dim(2),
            }
        }))
    }

    fn normalize(&self, latents: Tensor<5>) -> Tensor<5> {
        latents * self.config().scaling_factor
    }

    fn decode<'a>(&'a self, latents: Tensor<5>) -> Box<dyn Iterator<Item = Tensor<5>> + 'a> {
        let [_, _, frames, height, width] = latents.dims();
        let at_once = match is_cpu(&latents.device()) {
            // Which has more to do in a frame than cores, and less in its caches.
            true => 1,
            false => self.frames_at_once(height, width),
        };
        let latents = latents * (1.0 / self.config().scaling_factor);
        Box::new((0..frames).step_by(at_once).map(move |first| {
            let chunk = latents.clone().slice_dim(2, first..frames.min(first + at_once));
            let images = chunk.squeeze_dim::<4>(0).swap_dims(0, 1);
            self.decode_frame(images).swap_dims(0, 1).unsqueeze_dim(0)
        }))
    }

    fn set_tiling(&mut self, tiled: bool) {
        self.tiled = tiled;
    }
}

/// Bytes of the largest intermediate result that frames decoded together may have: every device takes such buffers.
const LARGEST_RESULT: usize = 1 << 27;

impl AutoencoderKl {
    /// Frames to decode together, by the height and width of their latents.
    fn frames_at_once(&self, height: usize, width: usize) -> usize {
        let factor = self.config().scale_factor();
        let (mut height, mut width) = (height * factor, width * factor);
        if self.tiled {
            let tile = self.config().tiling().sample_size;
            (height, width) = (height.min(tile), width.min(tile));
        }
        // The last level is entered with the channels of the one before it.
        let channels = self.config().block_out_channels.iter().take(2).max();
        let bytes = height * width * channels.copied().unwrap_or(1) * self.dtype().size();
        (LARGEST_RESULT / bytes.max(1)).max(1)
    }
}

/// One frame of a clip of a batch of one: `[1, channels, height, width]`.
pub(crate) fn image(clip: &Tensor<5>, frame: usize) -> Tensor<4> {
    clip.clone().slice_dim(2, frame..frame + 1).squeeze_dim(2)
}
