//! `AutoencoderKL` (`diffusers/models/autoencoders/autoencoder_kl.py`).

use burn::{
    module::Module,
    nn::conv::Conv2d,
    tensor::{DType, Device, Tensor},
};
use t2v_kernels::{conv1x1, conv2d};
use t2v_weights::{Component, KeyMap, Network};

use crate::{
    AutoencoderKlConfig, VaeError,
    blocks::{Decoder, Encoder},
    keys,
};

/// The normal distribution of latents: a frame's, or as `Posterior<5>` a clip's.
#[derive(Debug, Clone)]
pub struct Posterior<const D: usize = 4> {
    /// `[batch, latent_channels, height, width]`, of a clip `[batch, latent_channels, frames, height, width]`
    pub mean: Tensor<D>,
    /// Like the mean.
    pub std: Tensor<D>,
}

/// The autoencoder of latent diffusion, for single frames.
#[derive(Module, Debug)]
pub struct AutoencoderKl {
    encoder: Encoder,
    decoder: Decoder,
    quant_conv: Option<Conv2d>,
    post_quant_conv: Option<Conv2d>,
    pub(crate) tiled: bool,
    #[module(skip)]
    config: AutoencoderKlConfig,
}

impl Network for AutoencoderKl {
    type Config = AutoencoderKlConfig;
    type Error = VaeError;

    fn read_config(component: &Component) -> Result<AutoencoderKlConfig, VaeError> {
        AutoencoderKlConfig::from_component(component)
    }

    fn init(config: AutoencoderKlConfig, device: &Device) -> Result<Self, VaeError> {
        config.check()?;
        let latent = config.latent_channels;
        Ok(Self {
            encoder: Encoder::new(&config, device),
            decoder: Decoder::new(&config, device),
            quant_conv: config.use_quant_conv.then(|| conv1x1(2 * latent, 2 * latent, device)),
            post_quant_conv: config.use_post_quant_conv.then(|| conv1x1(latent, latent, device)),
            tiled: false,
            config,
        })
    }

    fn key_map() -> KeyMap {
        keys::autoencoder_kl()
    }
}

impl AutoencoderKl {
    /// The configuration it was built from.
    #[must_use]
    pub fn config(&self) -> &AutoencoderKlConfig {
        &self.config
    }

    /// The type that it computes in. Frames and latents of any other are converted, and what it gives is as it was given.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.decoder.dtype()
    }

    /// Cuts frames that are larger than the size of training into overlapping tiles: less memory, slightly different
    /// frames. Off at first.
    #[must_use]
    pub fn with_tiling(mut self, tiled: bool) -> Self {
        self.tiled = tiled;
        self
    }

    /// A frame's distribution of latents, not scaled.
    ///
    /// # Shapes
    /// - frame: `[1, 3, height, width]` in -1..1, sides multiples of the scale factor
    #[must_use]
    pub fn encode_frame(&self, frame: Tensor<4>) -> Posterior {
        let whole = |x| {
            let moments = self.encoder.forward(x);
            match &self.quant_conv {
                Some(conv) => conv2d(conv, moments),
                None => moments,
            }
        };
        let [_, _, height, width] = frame.dims();
        let (given, frame) = (frame.dtype(), frame.cast(self.dtype()));
        let tiling = self.config.tiling();
        let moments = if self.tiled && height.max(width) > tiling.sample_size {
            tiling.encode(frame, whole)
        } else {
            whole(frame)
        }
        .cast(given);
        let halves = moments.chunk(2, 1);
        Posterior {
            mean: halves[0].clone(),
            std: (halves[1].clone().clamp(-30.0, 20.0) * 0.5).exp(),
        }
    }

    /// Frames from latents as the encoder gives them, not scaled.
    ///
    /// # Shapes
    /// - latents: `[frames, latent_channels, height, width]`
    /// - output: `[frames, 3, height * factor, width * factor]`, about -1..1
    #[must_use]
    pub fn decode_frame(&self, latents: Tensor<4>) -> Tensor<4> {
        let whole = |x| {
            let x = match &self.post_quant_conv {
                Some(conv) => conv2d(conv, x),
                None => x,
            };
            self.decoder.forward(x)
        };
        let [_, _, height, width] = latents.dims();
        let (given, latents) = (latents.dtype(), latents.cast(self.dtype()));
        let tiling = self.config.tiling();
        let frames = if self.tiled && height.max(width) > tiling.latent_size {
            tiling.decode(latents, whole)
        } else {
            whole(latents)
        };
        frames.cast(given)
    }

    /// From the encoder's latents to those of the denoiser: shifted and scaled as the configuration says.
    #[must_use]
    pub fn scale<const D: usize>(&self, latents: Tensor<D>) -> Tensor<D> {
        let shifted = match self.config.shift_factor {
            Some(shift) => latents - shift,
            None => latents,
        };
        shifted * self.config.scaling_factor
    }

    /// The inverse of [`scale`](Self::scale).
    #[must_use]
    pub fn unscale<const D: usize>(&self, latents: Tensor<D>) -> Tensor<D> {
        let latents = latents * (1.0 / self.config.scaling_factor);
        match self.config.shift_factor {
            Some(shift) => latents + shift,
            None => latents,
        }
    }
}
