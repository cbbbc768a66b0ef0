//! The networks of ModelScope, Zeroscope, Stable Diffusion and AnimateDiff, run one at a time and timed.

use std::{path::Path, time::Duration};

use burn::tensor::{DType, Device, Int, Tensor};
use t2v_denoiser::{
    Conditioning, Denoiser, MotionAdapterConfig, UNet2d, UNet2dConfig, UNet3d, UNet3dConfig, open_motion_adapter,
};
use t2v_kernels::lay_out;
use t2v_text_encoder::{ClipTextConfig, ClipTextModel};
use t2v_vae::{AutoencoderKl, AutoencoderKlConfig, LatentCodec};
use t2v_weights::{Component, LoadOptions, ModelFolder, Network};

use super::{Networks, TIMESTEP, latent_size, noise, read, timed};
use crate::{Clip, Error, Target};

/// The denoisers that there are.
enum UNetConfig {
    ThreeD(UNet3dConfig),
    /// With motion modules from elsewhere, if any.
    TwoD(Box<UNet2dConfig>, Option<Component>),
}

impl UNetConfig {
    fn open(folder: &ModelFolder, motion_adapter: Option<&Path>) -> Result<Self, Error> {
        let component = folder.component("unet")?;
        if component
            .entry()
            .is_some_and(|entry| entry.class == "UNet3DConditionModel")
        {
            return Ok(Self::ThreeD(UNet3dConfig::from_component(&component)?));
        }
        let adapter = motion_adapter.map(open_motion_adapter).transpose()?;
        let config = match &adapter {
            Some(adapter) => UNet2dConfig::with_adapter(&component, &MotionAdapterConfig::from_component(adapter)?)?,
            None => UNet2dConfig::from_component(&component)?,
        };
        Ok(Self::TwoD(Box::new(config), adapter))
    }

    /// Channels of the latents, and width of the text embeddings.
    fn widths(&self) -> [usize; 2] {
        match self {
            Self::ThreeD(config) => [config.in_channels, config.cross_attention_dim],
            Self::TwoD(config, _) => [config.in_channels, config.cross_attention_dim],
        }
    }

    fn load(&self, folder: &ModelFolder, options: &LoadOptions) -> Result<Box<dyn Denoiser>, Error> {
        let component = folder.component("unet")?;
        Ok(match self {
            Self::ThreeD(_) => Box::new(lay_out(UNet3d::from_component(&component, options)?, options.device())),
            Self::TwoD(config, adapter) => {
                let (config, weights) = (UNet2dConfig::clone(config), component.weights()?);
                let network = match adapter {
                    Some(adapter) => UNet2d::with_adapter(config, weights, adapter.weights()?, options)?,
                    None => UNet2d::from_weights(config, &weights, options)?,
                };
                Box::new(lay_out(network, options.device()))
            }
        })
    }
}

/// Text encoder, U-Net and autoencoder, read when they are first run.
pub(super) struct UNetStages {
    folder: ModelFolder,
    device: Device,
    dtype: DType,
    options: LoadOptions,
    codec_options: LoadOptions,
    text: ClipTextConfig,
    unet: UNetConfig,
    vae: AutoencoderKlConfig,
    text_encoder: Option<ClipTextModel>,
    denoiser: Option<Box<dyn Denoiser>>,
    autoencoder: Option<AutoencoderKl>,
}

impl UNetStages {
    pub(super) fn new(folder: ModelFolder, motion_adapter: Option<&Path>, target: &Target) -> Result<Self, Error> {
        let options = target.placement().load_options()?;
        let vae = AutoencoderKlConfig::from_component(&folder.component("vae")?)?;
        Ok(Self {
            device: target.device().clone(),
            dtype: target.dtype()?,
            // As a pipeline loads it.
            codec_options: match vae.force_upcast {
                Some(true) => options.clone().in_single_precision(),
                _ => options.clone(),
            },
            options,
            text: ClipTextConfig::from_component(&folder.component("text_encoder")?)?,
            unet: UNetConfig::open(&folder, motion_adapter)?,
            vae,
            folder,
            text_encoder: None,
            denoiser: None,
            autoencoder: None,
        })
    }

    fn text_encoder(&mut self) -> Result<&ClipTextModel, Error> {
        read(&mut self.text_encoder, &self.folder, "text_encoder", &self.options)
    }

    fn denoiser(&mut self) -> Result<&dyn Denoiser, Error> {
        let network = match self.denoiser.take() {
            Some(network) => network,
            None => self.unet.load(&self.folder, &self.options)?,
        };
        Ok(&**self.denoiser.insert(network))
    }

    fn autoencoder(&mut self) -> Result<&AutoencoderKl, Error> {
        read(&mut self.autoencoder, &self.folder, "vae", &self.codec_options)
    }
}

impl Networks for UNetStages {
    fn load(&mut self) -> Result<(), Error> {
        self.text_encoder()?;
        self.denoiser()?;
        self.autoencoder()?;
        Ok(self.device.sync()?)
    }

    fn encode_text(&mut self) -> Result<Duration, Error> {
        let (tokens, vocabulary) = (self.text.max_position_embeddings, self.text.vocab_size);
        let ids: Vec<i64> = (0..2 * tokens).map(|i| ((300 + i * 7) % vocabulary) as i64).collect();
        let ids = Tensor::<1, Int>::from_data(ids.as_slice(), &self.device).reshape([2, tokens]);
        let device = self.device.clone();
        let model = self.text_encoder()?;
        timed(&device, || Ok(vec![model.forward(ids, 0)?]))
    }

    fn denoise(&mut self, [clips, prompts]: [usize; 2], clip: Clip) -> Result<Duration, Error> {
        let [height, width] = latent_size(clip, self.vae.scale_factor())?;
        let [channels, width_of_text] = self.unet.widths();
        let latents = noise(&self.device, [clips, channels, clip.frames, height, width]);
        let text = noise(
            &self.device,
            [clips * prompts, self.text.max_position_embeddings, width_of_text],
        );
        let conditioning = Conditioning::new(text.cast(self.dtype));
        let latents = latents.cast(self.dtype);
        let device = self.device.clone();
        let model = self.denoiser()?;
        timed(&device, || {
            let noise = model.forward(latents, TIMESTEP, &conditioning);
            Ok(vec![noise.cast(DType::F32)])
        })
    }

    fn decode(&mut self, clip: Clip) -> Result<Duration, Error> {
        let [height, width] = latent_size(clip, self.vae.scale_factor())?;
        let latents = noise(&self.device, [1, self.vae.latent_channels, clip.frames, height, width]);
        let device = self.device.clone();
        let codec: &dyn LatentCodec = self.autoencoder()?;
        timed(&device, || Ok(codec.decode(latents).collect()))
    }
}
