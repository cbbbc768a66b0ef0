//! Stable Diffusion 1.x and 2.x: still pictures from text, from a picture, into a hole of a picture.
//!
//! `StableDiffusionPipeline`, `StableDiffusionImg2ImgPipeline` and `StableDiffusionInpaintPipeline` of diffusers, which are
//! one model with three ways to begin. A folder's safety checker is not run. With a motion adapter the same folder is
//! [`animatediff`](super::animatediff)'s.

use burn::tensor::Tensor;
use serde_json::{Map, Value};
use t2v_denoiser::{Conditioning, UNet2d, UNet2dConfig};
use t2v_schedulers::SchedulerKind;
use t2v_vae::LatentCodec;
use t2v_weights::Network;

use super::{
    Family, Loaded, LoadedDenoiser, Opening, TextConditioner, animatediff, clip_text, latent_diffusion::LatentDiffusion,
};
use crate::{MemoryMode, PipelineError, Report, ValidationError, defaults::Defaults, geometry::Geometry};

/// Channels that a denoiser made for inpainting takes beside the latents: the mask, and those of the masked picture.
fn inpainting_channels(latents: usize) -> usize {
    1 + latents
}

struct StableDiffusion {
    parts: LatentDiffusion,
    unet: UNet2dConfig,
    geometry: Geometry,
}

/// Opens the folder as a model of pictures, or of clips where there is a motion adapter.
pub(super) fn open(opening: &Opening<'_>) -> Result<Box<dyn Family>, PipelineError> {
    if opening.motion_adapter.is_some() {
        return animatediff::open(opening);
    }
    let unet = UNet2dConfig::from_component(&opening.folder.component("unet")?)?;
    if unet.motion_max_seq_length.is_some() {
        return animatediff::open(opening);
    }
    let parts = LatentDiffusion::open(opening, unet.cross_attention_dim, unet.out_channels)?;
    let (latents, input) = (parts.vae.latent_channels, unet.in_channels);
    let more = inpainting_channels(latents);
    if input != latents && input != latents + more {
        return Err(PipelineError::Checkpoint(format!(
            "the denoiser takes {input} channels; with the VAE's {latents} it takes {latents}, or {} for inpainting",
            latents + more
        )));
    }
    Ok(Box::new(StableDiffusion {
        geometry: parts.geometry(1, None),
        parts,
        unet,
    }))
}

impl StableDiffusion {
    fn is_for_inpainting(&self) -> bool {
        self.unet.in_channels != self.parts.vae.latent_channels
    }
}

impl Family for StableDiffusion {
    fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    fn defaults(&self) -> Defaults {
        let [height, width] = self.parts.pixels(self.unet.sample_size());
        Defaults {
            num_frames: 1,
            fps: 8,
            num_inference_steps: 50,
            guidance_scale: 7.5,
            strength: 0.8,
            width,
            height,
            scheduler: None,
        }
    }

    /// Upstream's constructors change what the folder says, and that for masks changes something else.
    fn scheduler_config(&self, class: SchedulerKind, config: &mut Map<String, Value>, inpaints: bool) {
        use SchedulerKind as Kind;
        let has_no_offset = [
            Kind::DpmSolverSinglestep,
            Kind::Ipndm,
            Kind::KarrasVe,
            Kind::ScoreSdeVe,
            Kind::FlowMatchEulerDiscrete,
            Kind::FlowMatchHeunDiscrete,
        ];
        if !has_no_offset.contains(&class) || config.contains_key("steps_offset") {
            config.insert("steps_offset".into(), 1.into());
        }
        if inpaints {
            if class == Kind::Pndm || config.contains_key("skip_prk_steps") {
                config.insert("skip_prk_steps".into(), true.into());
            }
            return;
        }
        let clips = [Kind::Ddim, Kind::Ddpm, Kind::DdimInverse].contains(&class);
        if clips || config.contains_key("clip_sample") {
            config.insert("clip_sample".into(), false.into());
        }
    }

    fn check(&self, plan: &Report, faults: &mut ValidationError) {
        clip_text::check(&self.parts.text, plan, faults);
        if self.is_for_inpainting() && plan.mask.is_none() {
            faults.add(
                "mask",
                "The model is for inpainting: give a picture to start from and a mask of what of it is painted anew.",
            );
        }
        if plan.free_init.is_some() {
            faults.add("free_init", "The model makes still pictures: FreeInit is for clips.");
        }
    }

    fn makes_pictures(&self) -> bool {
        true
    }

    fn takes_masked_pictures(&self) -> bool {
        self.is_for_inpainting()
    }

    /// A model that was distilled to know the guidance scale is told it instead.
    fn is_guided(&self, report: &Report) -> bool {
        report.is_guided() && self.unet.time_cond_proj_dim.is_none()
    }

    fn condition(&self, conditioning: &mut Conditioning, report: &Report) {
        if let Some(width) = self.unet.time_cond_proj_dim {
            let embedding = guidance_embedding(report.guidance_scale - 1.0, width);
            let embedding = Tensor::<1>::from_floats(embedding.as_slice(), &conditioning.text.device());
            conditioning.guidance = Some(embedding.cast(conditioning.dtype()).unsqueeze());
        }
    }

    fn text_conditioner(&self) -> Result<Box<dyn TextConditioner>, PipelineError> {
        self.parts.text_conditioner()
    }

    fn load_denoiser(&self, _mode: MemoryMode) -> Result<Box<dyn LoadedDenoiser>, PipelineError> {
        let weights = self.parts.folder.component("unet")?.weights()?;
        let unet = UNet2d::from_weights(self.unet.clone(), &weights, &self.parts.options)?;
        Ok(self.parts.adapted(unet))
    }

    fn load_codec(&self) -> Result<Loaded<Box<dyn LatentCodec>>, PipelineError> {
        self.parts.load_codec()
    }
}

/// Sines, then cosines, of a thousand times the scale at frequencies from 1 down to 1/10000; an odd width ends in a zero
/// ([Meng et al., 2022](https://arxiv.org/abs/2210.03142)).
fn guidance_embedding(scale: f64, width: usize) -> Vec<f32> {
    let half = width / 2;
    let step = 10000_f32.ln() / (half as f32 - 1.0);
    let angles: Vec<f32> = (0..half)
        .map(|i| (scale * 1000.0) as f32 * (i as f32 * -step).exp())
        .collect();
    let mut values: Vec<f32> = angles.iter().map(|angle| angle.sin()).collect();
    values.extend(angles.iter().map(|angle| angle.cos()));
    values.resize(width, 0.0);
    values
}
