//! The networks of Wan, run one at a time and timed.

use std::time::Duration;

use burn::tensor::{DType, Device, Tensor};
use t2v_denoiser::{Conditioning, Denoiser, WanTransformer, WanTransformerConfig};
use t2v_text_encoder::{Umt5Config, Umt5Encoder};
use t2v_vae::{AutoencoderKlWan, AutoencoderKlWanConfig, LatentCodec};
use t2v_weights::{LoadOptions, ModelFolder};

use super::{Networks, TIMESTEP, latent_size, noise, read, timed};
use crate::{Clip, Error, Target};

/// Tokens of a text that the transformer attends to.
const TOKENS: usize = 512;

/// Text encoder, transformer and autoencoder, read when they are first run.
pub(super) struct WanStages {
    folder: ModelFolder,
    device: Device,
    dtype: DType,
    options: LoadOptions,
    text: Umt5Config,
    transformer: WanTransformerConfig,
    vae: AutoencoderKlWanConfig,
    text_encoder: Option<Umt5Encoder>,
    denoiser: Option<WanTransformer>,
    autoencoder: Option<AutoencoderKlWan>,
}

impl WanStages {
    pub(super) fn new(folder: ModelFolder, target: &Target) -> Result<Self, Error> {
        Ok(Self {
            device: target.device().clone(),
            dtype: target.dtype()?,
            options: target.placement().load_options()?,
            text: Umt5Config::from_component(&folder.component("text_encoder")?)?,
            transformer: WanTransformerConfig::from_component(&folder.component("transformer")?)?,
            vae: AutoencoderKlWanConfig::from_component(&folder.component("vae")?)?,
            folder,
            text_encoder: None,
            denoiser: None,
            autoencoder: None,
        })
    }

    /// Latent frames, and height and width of latents.
    fn latents(&self, clip: Clip) -> Result<[usize; 3], Error> {
        let group = self.vae.temporal_factor();
        if clip.frames % group != 1 % group {
            return Err(format!(
                "there are {} frames; the model needs a multiple of {group}, and one",
                clip.frames
            )
            .into());
        }
        let [height, width] = latent_size(clip, self.vae.spatial_factor())?;
        Ok([(clip.frames - 1) / group + 1, height, width])
    }

    fn text_encoder(&mut self) -> Result<&Umt5Encoder, Error> {
        read(&mut self.text_encoder, &self.folder, "text_encoder", &self.options)
    }

    fn denoiser(&mut self) -> Result<&WanTransformer, Error> {
        read(&mut self.denoiser, &self.folder, "transformer", &self.options)
    }

    fn autoencoder(&mut self) -> Result<&AutoencoderKlWan, Error> {
        read(&mut self.autoencoder, &self.folder, "vae", &self.options)
    }
}

impl Networks for WanStages {
    fn load(&mut self) -> Result<(), Error> {
        self.text_encoder()?;
        self.denoiser()?;
        self.autoencoder()?;
        Ok(self.device.sync()?)
    }

    fn encode_text(&mut self) -> Result<Duration, Error> {
        let (vocabulary, device) = (self.text.vocab_size, self.device.clone());
        let prompt = |first: usize| -> Vec<u32> {
            let ids = (0..TOKENS).map(|i| ((first + i * 7) % vocabulary) as u32);
            ids.collect()
        };
        let prompts = [prompt(300), prompt(301)];
        let model = self.text_encoder()?;
        timed(&device, || {
            let embedded = prompts.iter().map(|ids| model.embed(ids, TOKENS));
            Ok(embedded.collect::<Result<Vec<Tensor<3>>, _>>()?)
        })
    }

    /// What depends on the text alone is computed before, as a generation does it, once for all its steps.
    fn denoise(&mut self, [clips, prompts]: [usize; 2], clip: Clip) -> Result<Duration, Error> {
        let [frames, height, width] = self.latents(clip)?;
        let [_, patch_height, patch_width] = self.transformer.patch_size;
        if height % patch_height != 0 || width % patch_width != 0 {
            let fault = format!("latents of {height}x{width} are no whole patches of {patch_height}x{patch_width}");
            return Err(fault.into());
        }
        let shape = [clips, self.transformer.in_channels, frames, height, width];
        let latents = noise(&self.device, shape).cast(self.dtype);
        let text = noise(&self.device, [clips * prompts, TOKENS, self.transformer.text_dim]).cast(self.dtype);
        let device = self.device.clone();
        let model = self.denoiser()?;
        let conditioning = model.prepare(Conditioning::new(text));
        timed(&device, || {
            let noise = model.forward(latents, TIMESTEP, &conditioning);
            Ok(vec![noise.cast(DType::F32)])
        })
    }

    /// Frames are used when they come, and not kept, as a generation does.
    fn decode(&mut self, clip: Clip) -> Result<Duration, Error> {
        let [frames, height, width] = self.latents(clip)?;
        let latents = noise(&self.device, [1, self.vae.z_dim, frames, height, width]);
        let device = self.device.clone();
        let codec = self.autoencoder()?;
        timed(&device, || {
            Ok(codec.decode(latents).map(|frames| frames.abs().max()).collect())
        })
    }
}
