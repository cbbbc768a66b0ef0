//! Clips through the networks, frame by frame.

use std::iter;

use burn::tensor::Tensor;

use super::{
    autoencoder::AutoencoderKlWan,
    patches::{patchify, unpatchify},
};
use crate::{LatentCodec, Posterior, codec::image, tiling::crop};

/// A chunk is a latent frame: the first frame of a clip, then each group of the temporal factor. Frames after the last whole
/// group are left out, as upstream does. Whole frames hold on to what one latent frame needs, whatever the length.
///
/// With tiles each goes through all frames of the clip before the next one does: what the networks remember of a tile is
/// far more than the frames that come out of it, so that these are held, and chunks come when all tiles are done.
impl LatentCodec for AutoencoderKlWan {
    fn encode<'a>(&'a self, clip: Tensor<5>) -> Box<dyn Iterator<Item = Posterior<5>> + 'a> {
        let ([_, _, frames, height, width], given) = (clip.dims(), clip.dtype());
        let patch = self.config().patch();
        if self.tiled && self.tiling.cuts([height, width], 1) {
            let moments = iter::once_with(move || self.encode_tiles(clip));
            let each = move |all: Tensor<4>| (0..all.dims()[0]).map(move |frame| row(&all, frame));
            return Box::new(
                moments
                    .flat_map(each)
                    .map(move |moments| posterior(moments.cast(given))),
            );
        }
        let mut state = self.start_encoding();
        Box::new((0..frames).filter_map(move |frame| {
            let frame = patchify(image(&clip, frame), patch);
            let moments = self.encode_next(frame, &mut state)?;
            Some(posterior(moments.cast(given)))
        }))
    }

    fn normalize(&self, latents: Tensor<5>) -> Tensor<5> {
        self.scale(latents)
    }

    fn decode<'a>(&'a self, latents: Tensor<5>) -> Box<dyn Iterator<Item = Tensor<5>> + 'a> {
        let ([_, _, frames, height, width], given) = (latents.dims(), latents.dtype());
        let (patch, factor) = (self.config().patch(), self.config().spatial_factor());
        let latents = self.unscale(latents);
        let finished = move |frames: Tensor<4>| {
            let frames = unpatchify(frames, patch).clamp(-1.0, 1.0).cast(given);
            frames.swap_dims(0, 1).unsqueeze_dim(0)
        };
        if self.tiled && self.tiling.cuts([height, width], factor) {
            let group = self.config().temporal_factor();
            let all = iter::once_with(move || self.decode_tiles(latents));
            let chunks = move |all: Tensor<4>| {
                (0..frames).map(move |index| {
                    let end = index * group + 1;
                    let start = end - if index == 0 { 1 } else { group };
                    all.clone().slice_dim(0, start..end)
                })
            };
            return Box::new(all.flat_map(chunks).map(finished));
        }
        let mut state = self.start_decoding();
        Box::new((0..frames).map(move |frame| {
            let frames = self.decode_next(image(&latents, frame), &mut state);
            finished(Tensor::cat(frames, 0))
        }))
    }

    fn set_tiling(&mut self, tiled: bool) {
        self.tiled = tiled;
    }
}

impl AutoencoderKlWan {
    /// Means and log variances of a clip, `[latent frames, 2 * z_dim, latent height, latent width]`.
    fn encode_tiles(&self, clip: Tensor<5>) -> Tensor<4> {
        let (patch, factor) = (self.config().patch(), self.config().spatial_factor());
        let frames = patchify(clip.squeeze_dim::<4>(0).swap_dims(0, 1), patch);
        let [_, _, height, width] = frames.dims();
        let moments = self.tiling.of_patches(factor, patch).run(frames, |tile| {
            let mut state = self.start_encoding();
            let frames = 0..tile.dims()[0];
            let moments = frames.filter_map(|frame| self.encode_next(row(&tile, frame), &mut state));
            Tensor::cat(moments.collect(), 0)
        });
        crop(moments, [height, width].map(|side| side * patch / factor))
    }

    /// A clip in patches, `[frames, out_channels, height, width]`.
    fn decode_tiles(&self, latents: Tensor<5>) -> Tensor<4> {
        let (patch, factor) = (self.config().patch(), self.config().spatial_factor());
        let latents = latents.squeeze_dim::<4>(0).swap_dims(0, 1);
        let [_, _, height, width] = latents.dims();
        let frames = self.tiling.of_latents(factor, patch).run(latents, |tile| {
            let mut state = self.start_decoding();
            let latents = 0..tile.dims()[0];
            let frames = latents.flat_map(|frame| self.decode_next(row(&tile, frame), &mut state));
            Tensor::cat(frames.collect(), 0)
        });
        crop(frames, [height, width].map(|side| side * factor / patch))
    }
}

/// One entry of a batch, as a batch.
fn row(all: &Tensor<4>, index: usize) -> Tensor<4> {
    all.clone().slice_dim(0, index..index + 1)
}

/// From mean and log variance of a latent frame, `[1, 2 * channels, height, width]`.
fn posterior(moments: Tensor<4>) -> Posterior<5> {
    let halves = moments.unsqueeze_dim::<5>(2).chunk(2, 1);
    Posterior {
        mean: halves[0].clone(),
        std: (halves[1].clone().clamp(-30.0, 20.0) * 0.5).exp(),
    }
}
