//! The autoencoder of both versions (`AutoencoderKLWan` upstream).

use burn::{
    module::Module,
    nn::conv::Conv2d,
    tensor::{DType, Device, Tensor},
};
use t2v_kernels::{conv1x1, conv2d};
use t2v_weights::{Component, KeyMap, Network};

use super::{
    config::AutoencoderKlWanConfig,
    decoder::{Decoder, DecoderState},
    encoder::{Encoder, EncoderState},
    tiling::WanTiling,
};
use crate::VaeError;

/// The autoencoder of Wan 2.1 and 2.2, for clips. What it does with them: [`LatentCodec`](crate::LatentCodec).
///
/// The first frame of a clip is a latent frame of its own, each group of
/// [`temporal_factor`](AutoencoderKlWanConfig::temporal_factor) frames after it one more.
#[derive(Module, Debug)]
pub struct AutoencoderKlWan {
    encoder: Encoder,
    decoder: Decoder,
    quant_conv: Conv2d,
    post_quant_conv: Conv2d,
    pub(super) tiled: bool,
    #[module(skip)]
    pub(super) tiling: WanTiling,
    #[module(skip)]
    config: AutoencoderKlWanConfig,
}

impl Network for AutoencoderKlWan {
    type Config = AutoencoderKlWanConfig;
    type Error = VaeError;

    fn read_config(component: &Component) -> Result<AutoencoderKlWanConfig, VaeError> {
        AutoencoderKlWanConfig::from_component(component)
    }

    fn init(config: AutoencoderKlWanConfig, device: &Device) -> Result<Self, VaeError> {
        config.check()?;
        let latents = config.z_dim;
        Ok(Self {
            encoder: Encoder::new(&config, device),
            decoder: Decoder::new(&config, device),
            quant_conv: conv1x1(2 * latents, 2 * latents, device),
            post_quant_conv: conv1x1(latents, latents, device),
            tiled: false,
            tiling: WanTiling::default(),
            config,
        })
    }

    fn key_map() -> KeyMap {
        // Of torch's `Sequential` of a padding or an enlargement and a convolution only the latter has parameters.
        KeyMap::new()
            .rename(r"\.resample\.1\.", ".resample.")
            .rename(r"\.upsamplers\.0\.", ".upsampler.")
    }
}

impl AutoencoderKlWan {
    /// The configuration it was built from.
    #[must_use]
    pub fn config(&self) -> &AutoencoderKlWanConfig {
        &self.config
    }

    /// The type that it computes in. Frames and latents of any other are converted, and what it gives is as it was given.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.decoder.dtype()
    }

    /// Sets the sizes of tiles for when [tiling](crate::LatentCodec::set_tiling) is on; diffusers' own at first.
    #[must_use]
    pub fn with_tiles(mut self, tiling: WanTiling) -> Self {
        self.tiling = tiling;
        self
    }

    /// Before the first frame of a clip to encode.
    pub(super) fn start_encoding(&self) -> EncoderState {
        self.encoder.start()
    }

    /// The next frame of a clip, in patches; mean and log variance of a latent frame, if one is complete.
    ///
    /// # Shapes
    /// - frame: `[1, in_channels, height, width]`
    /// - output: `[1, 2 * z_dim, latent height, latent width]`
    pub(super) fn encode_next(&self, frame: Tensor<4>, state: &mut EncoderState) -> Option<Tensor<4>> {
        let moments = self.encoder.forward(frame.cast(self.dtype()), state)?;
        Some(conv2d(&self.quant_conv, moments))
    }

    /// Before the first latent frame of a clip to decode.
    pub(super) fn start_decoding(&self) -> DecoderState {
        self.decoder.start()
    }

    /// The next latent frame of a clip; the frames that it stands for, in patches.
    ///
    /// # Shapes
    /// - latents: `[1, z_dim, latent height, latent width]`
    /// - output: each `[1, out_channels, height, width]`
    pub(super) fn decode_next(&self, latents: Tensor<4>, state: &mut DecoderState) -> Vec<Tensor<4>> {
        let latents = conv2d(&self.post_quant_conv, latents.cast(self.dtype()));
        self.decoder.forward(latents, state)
    }

    /// From the encoder's latents to those of the denoiser.
    ///
    /// # Shapes
    /// - latents: `[batch, z_dim, frames, height, width]`, as the result
    #[must_use]
    pub fn scale(&self, latents: Tensor<5>) -> Tensor<5> {
        let (mean, inverse) = self.statistics(&latents);
        (latents - mean) * inverse
    }

    /// The inverse of [`scale`](Self::scale).
    #[must_use]
    pub fn unscale(&self, latents: Tensor<5>) -> Tensor<5> {
        let (mean, inverse) = self.statistics(&latents);
        latents / inverse + mean
    }

    /// Means and inverse standard deviations of the channels, for tensors like this one.
    fn statistics(&self, like: &Tensor<5>) -> (Tensor<5>, Tensor<5>) {
        let of_channels = |values: Vec<f32>| {
            let channels = Tensor::<1>::from_floats(values.as_slice(), &like.device()).cast(like.dtype());
            channels.reshape([1, values.len(), 1, 1, 1])
        };
        let mean = self.config.latents_mean.iter().map(|&mean| mean as f32);
        let inverse = self.config.latents_std.iter().map(|&std| 1.0 / std as f32);
        (of_channels(mean.collect()), of_channels(inverse.collect()))
    }
}
