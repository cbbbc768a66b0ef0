//! What the families on Stable Diffusion's networks have in common: CLIP's text encoder, the U-Net of pictures, with motion
//! modules or without, the autoencoder of pictures.

use t2v_denoiser::{UNet2d, UNet2dConfig};
use t2v_kernels::lay_out;
use t2v_text_encoder::ClipTextConfig;
use t2v_vae::{AutoencoderKl, AutoencoderKlConfig, LatentCodec};
use t2v_weights::{Component, LoadOptions, LoraTarget, ModelFolder, Network};

use super::{Loaded, LoadedDenoiser, TextConditioner, adapted::Adapted, clip_text::ClipText, parameter_bytes};
use crate::{PipelineError, request::MAX_SIDE};

/// The components of a folder, with configurations that are read and fit together.
pub(super) struct LatentDiffusion {
    pub(super) folder: ModelFolder,
    /// Motion modules from elsewhere.
    adapter: Option<Component>,
    options: LoadOptions,
    pub(super) text: ClipTextConfig,
    pub(super) unet: UNet2dConfig,
    pub(super) vae: AutoencoderKlConfig,
    codec_options: LoadOptions,
}

impl LatentDiffusion {
    pub(super) fn open(
        folder: &ModelFolder,
        adapter: Option<Component>,
        unet: UNet2dConfig,
        options: &LoadOptions,
    ) -> Result<Self, PipelineError> {
        let vae = AutoencoderKlConfig::from_component(&folder.component("vae")?)?;
        let parts = Self {
            folder: folder.clone(),
            adapter,
            text: ClipTextConfig::from_component(&folder.component("text_encoder")?)?,
            unet,
            codec_options: match vae.force_upcast {
                Some(true) => options.clone().in_single_precision(),
                _ => options.clone(),
            },
            vae,
            options: options.clone(),
        };
        parts.check()?;
        Ok(parts)
    }

    fn check(&self) -> Result<(), PipelineError> {
        let (text, width) = (self.text.hidden_size, self.unet.cross_attention_dim);
        if text != width {
            return Err(PipelineError::Checkpoint(format!(
                "the text encoder gives embeddings of width {text}, the denoiser takes {width}"
            )));
        }
        let (latents, output) = (self.vae.latent_channels, self.unet.out_channels);
        if output != latents {
            return Err(PipelineError::Checkpoint(format!(
                "the denoiser gives {output} channels, the VAE's latents have {latents}"
            )));
        }
        Ok(())
    }

    /// # Errors
    /// The denoiser takes more than latents.
    pub(super) fn takes_latents_alone(&self) -> Result<(), PipelineError> {
        let (latents, input) = (self.vae.latent_channels, self.unet.in_channels);
        match input == latents {
            true => Ok(()),
            false => Err(PipelineError::Checkpoint(format!(
                "the denoiser takes {input} channels, the VAE's latents have {latents}"
            ))),
        }
    }

    /// Height and width of the pictures of training, where they are known.
    pub(super) fn size(&self) -> [Option<u32>; 2] {
        let factor = self.vae.scale_factor();
        let pixels = |latents: usize| {
            let side = u32::try_from(latents.checked_mul(factor)?).ok();
            side.filter(|side| (1..=MAX_SIDE).contains(side))
        };
        self.unet.sample_size().map_or([None; 2], |sides| sides.map(pixels))
    }

    pub(super) fn text_conditioner(&self) -> Result<Box<dyn TextConditioner>, PipelineError> {
        Ok(Box::new(ClipText::new(
            self.folder.component("tokenizer")?,
            self.folder.component("text_encoder")?,
            &self.text,
            &self.options,
        )?))
    }

    pub(super) fn load_denoiser(&self) -> Result<Box<dyn LoadedDenoiser>, PipelineError> {
        let weights = self.folder.component("unet")?.weights()?;
        let unet = match &self.adapter {
            Some(adapter) => UNet2d::with_adapter(self.unet.clone(), weights, adapter.weights()?, &self.options)?,
            None => UNet2d::from_weights(self.unet.clone(), &weights, &self.options)?,
        };
        Ok(Box::new(Adapted::new(unet, LoraTarget::Denoiser, &self.options)))
    }

    pub(super) fn load_codec(&self) -> Result<Loaded<Box<dyn LatentCodec>>, PipelineError> {
        let vae = AutoencoderKl::from_component(&self.folder.component("vae")?, &self.codec_options)?;
        let vae = lay_out(vae, self.options.device());
        Ok(Loaded {
            bytes: parameter_bytes(&vae),
            network: Box::new(vae),
        })
    }
}
