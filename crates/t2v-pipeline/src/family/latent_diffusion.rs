//! What the families on latents of pictures have in common, whatever their denoiser: CLIP's text encoder and the autoencoder of
//! pictures.

use t2v_kernels::lay_out;
use t2v_text_encoder::ClipTextConfig;
use t2v_vae::{AutoencoderKl, AutoencoderKlConfig, LatentCodec};
use t2v_weights::{LoadOptions, LoraTarget, ModelFolder, Network};

use super::{Loaded, LoadedDenoiser, Opening, TextConditioner, adapted::Adapted, clip_text::ClipText, parameter_bytes};
use crate::{PipelineError, geometry::Geometry, request::USUAL_SIDE};

/// The components of a folder around its denoiser, with configurations that are read and fit it.
pub(super) struct LatentDiffusion {
    pub(super) folder: ModelFolder,
    pub(super) options: LoadOptions,
    pub(super) text: ClipTextConfig,
    pub(super) vae: AutoencoderKlConfig,
    /// How the autoencoder is loaded.
    codec_options: LoadOptions,
}

impl LatentDiffusion {
    /// For a denoiser that takes text of `text_width` and gives `output` channels.
    pub(super) fn open(opening: &Opening<'_>, text_width: usize, output: usize) -> Result<Self, PipelineError> {
        let Opening { folder, options, .. } = *opening;
        let text = ClipTextConfig::from_component(&folder.component("text_encoder")?)?;
        let vae = AutoencoderKlConfig::from_component(&folder.component("vae")?)?;
        let latents = vae.latent_channels;
        if output != latents {
            return Err(PipelineError::Checkpoint(format!(
                "the denoiser gives {output} channels, the VAE's latents have {latents}"
            )));
        }
        if text.hidden_size != text_width {
            return Err(PipelineError::Checkpoint(format!(
                "the text encoder gives embeddings of width {}, the denoiser takes {text_width}",
                text.hidden_size
            )));
        }
        Ok(Self {
            folder: folder.clone(),
            options: options.clone(),
            text,
            codec_options: match vae.force_upcast {
                Some(true) => options.clone().in_single_precision(),
                _ => options.clone(),
            },
            vae,
        })
    }

    /// # Errors
    /// The denoiser takes something else than latents.
    pub(super) fn check_input(&self, input: usize) -> Result<(), PipelineError> {
        let latents = self.vae.latent_channels;
        match input == latents {
            true => Ok(()),
            false => Err(PipelineError::Checkpoint(format!(
                "the denoiser takes {input} channels, the VAE's latents have {latents}"
            ))),
        }
    }

    /// Of clips in which a latent frame is a frame.
    pub(super) fn geometry(&self, max_frames: usize, windows_to: Option<usize>) -> Geometry {
        let factor = self.vae.scale_factor();
        Geometry {
            channels: self.vae.latent_channels,
            spatial_factor: factor,
            side_multiple: factor,
            max_side: USUAL_SIDE,
            temporal_factor: 1,
            max_frames,
            windows_to,
        }
    }

    /// Height and width in pixels of latents of a size, where they are known and can be asked for.
    pub(super) fn pixels(&self, latents: Option<[usize; 2]>) -> [Option<u32>; 2] {
        let factor = self.vae.scale_factor();
        let pixels = |latents: usize| {
            let side = u32::try_from(latents.checked_mul(factor)?).ok();
            side.filter(|side| (1..=USUAL_SIDE).contains(side))
        };
        latents.map_or([None; 2], |sides| sides.map(pixels))
    }

    /// A denoiser that was loaded, ready for LoRAs.
    pub(super) fn adapted<N>(&self, denoiser: N) -> Box<dyn LoadedDenoiser>
    where
        N: Network + 'static,
        Adapted<N>: LoadedDenoiser,
    {
        Box::new(Adapted::new(denoiser, LoraTarget::Denoiser, &self.options))
    }

    pub(super) fn text_conditioner(&self) -> Result<Box<dyn TextConditioner>, PipelineError> {
        Ok(Box::new(ClipText::new(
            self.folder.component("tokenizer")?,
            self.folder.component("text_encoder")?,
            &self.text,
            &self.options,
        )?))
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
