//! ModelScope's text to video and what was trained from it: Zeroscope, potat1.
//!
//! `TextToVideoSDPipeline` and `VideoToVideoSDPipeline` of diffusers: CLIP's text encoder, a U-Net with temporal layers, the
//! autoencoder of images. Schedulers see frames as the batch: the order of the noise of stochastic solvers, and what is one
//! sample to thresholding, follow from it.

use burn::tensor::Tensor;
use t2v_denoiser::{UNet3d, UNet3dConfig};
use t2v_kernels::lay_out;
use t2v_text_encoder::ClipTextConfig;
use t2v_vae::{AutoencoderKl, AutoencoderKlConfig, LatentCodec};
use t2v_weights::{LoadOptions, LoraTarget, ModelFolder, Network};

use super::{
    Family, Loaded, LoadedDenoiser, Opening, TextConditioner,
    adapted::Adapted,
    clip_text::{self, ClipText},
    parameter_bytes,
};
use crate::{PipelineError, Report, ValidationError, defaults::Defaults, geometry::Geometry, request::MAX_SIDE};

const MAX_FRAMES: usize = 128;

struct ModelScope {
    folder: ModelFolder,
    options: LoadOptions,
    text: ClipTextConfig,
    unet: UNet3dConfig,
    /// How the autoencoder is loaded.
    codec_options: LoadOptions,
    geometry: Geometry,
}

/// Reads the configurations and checks that they belong together.
pub(super) fn open(opening: &Opening<'_>) -> Result<Box<dyn Family>, PipelineError> {
    let Opening { folder, options, .. } = *opening;
    let text = ClipTextConfig::from_component(&folder.component("text_encoder")?)?;
    let unet = UNet3dConfig::from_component(&folder.component("unet")?)?;
    let vae = AutoencoderKlConfig::from_component(&folder.component("vae")?)?;
    check_widths(&text, &unet, &vae)?;
    let factor = vae.scale_factor();
    Ok(Box::new(ModelScope {
        folder: folder.clone(),
        codec_options: match vae.force_upcast {
            Some(true) => options.clone().in_single_precision(),
            _ => options.clone(),
        },
        options: options.clone(),
        text,
        unet,
        geometry: Geometry {
            channels: vae.latent_channels,
            spatial_factor: factor,
            side_multiple: factor,
            temporal_factor: 1,
            max_frames: MAX_FRAMES,
            windows_to: None,
        },
    }))
}

fn check_widths(text: &ClipTextConfig, unet: &UNet3dConfig, vae: &AutoencoderKlConfig) -> Result<(), PipelineError> {
    let latents = vae.latent_channels;
    let (input, output) = (unet.in_channels, unet.out_channels);
    if (input, output) != (latents, latents) {
        return Err(PipelineError::Checkpoint(format!(
            "the denoiser takes {input} channels and gives {output}, the VAE's latents have {latents}"
        )));
    }
    let (text, width) = (text.hidden_size, unet.cross_attention_dim);
    if text != width {
        return Err(PipelineError::Checkpoint(format!(
            "the text encoder gives embeddings of width {text}, the denoiser takes {width}"
        )));
    }
    Ok(())
}

impl Family for ModelScope {
    fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// Those of diffusers' pipeline, at the size of training.
    fn defaults(&self) -> Defaults {
        let pixels = |latents: usize| {
            let side = latents.checked_mul(self.geometry.spatial_factor)?;
            u32::try_from(side).ok().filter(|side| (1..=MAX_SIDE).contains(side))
        };
        let [height, width] = match self.unet.sample_size() {
            Some(sides) => sides.map(pixels),
            None => [None; 2],
        };
        Defaults {
            num_frames: 16,
            fps: 8,
            num_inference_steps: 50,
            guidance_scale: 9.0,
            strength: 0.6,
            width,
            height,
            scheduler: None,
        }
    }

    /// `[frames, channels, 1, height, width]`.
    fn as_samples(&self, clip: Tensor<5>) -> Tensor<5> {
        let [_, channels, frames, height, width] = clip.dims();
        clip.swap_dims(1, 2).reshape([frames, channels, 1, height, width])
    }

    fn as_clip(&self, samples: Tensor<5>) -> Tensor<5> {
        let [frames, channels, _, height, width] = samples.dims();
        samples.reshape([1, frames, channels, height, width]).swap_dims(1, 2)
    }

    fn check(&self, plan: &Report, faults: &mut ValidationError) {
        clip_text::check(&self.text, plan, faults);
    }

    fn text_conditioner(&self) -> Result<Box<dyn TextConditioner>, PipelineError> {
        Ok(Box::new(ClipText::new(
            self.folder.component("tokenizer")?,
            self.folder.component("text_encoder")?,
            &self.text,
            &self.options,
        )?))
    }

    fn load_denoiser(&self) -> Result<Box<dyn LoadedDenoiser>, PipelineError> {
        let unet = UNet3d::from_component(&self.folder.component("unet")?, &self.options)?;
        Ok(Box::new(Adapted::new(unet, LoraTarget::Denoiser, &self.options)))
    }

    fn load_codec(&self) -> Result<Loaded<Box<dyn LatentCodec>>, PipelineError> {
        let vae = AutoencoderKl::from_component(&self.folder.component("vae")?, &self.codec_options)?;
        let vae = lay_out(vae, self.options.device());
        Ok(Loaded {
            bytes: parameter_bytes(&vae),
            network: Box::new(vae),
        })
    }
}
