//! ModelScope's text to video and what was trained from it: Zeroscope, potat1.
//!
//! `TextToVideoSDPipeline` and `VideoToVideoSDPipeline` of diffusers: CLIP's text encoder, a U-Net with temporal layers, the
//! autoencoder of images. Schedulers see frames as the batch: the order of the noise of stochastic solvers, and what is one
//! sample to thresholding, follow from it.

use burn::tensor::Tensor;
use t2v_denoiser::{UNet3d, UNet3dConfig};
use t2v_vae::LatentCodec;
use t2v_weights::Network;

use super::{Family, Loaded, LoadedDenoiser, Opening, TextConditioner, clip_text, latent_diffusion::LatentDiffusion};
use crate::{MemoryMode, PipelineError, Report, ValidationError, defaults::Defaults, geometry::Geometry};

const MAX_FRAMES: usize = 128;

struct ModelScope {
    parts: LatentDiffusion,
    unet: UNet3dConfig,
    geometry: Geometry,
}

/// Reads the configurations and checks that they belong together.
pub(super) fn open(opening: &Opening<'_>) -> Result<Box<dyn Family>, PipelineError> {
    if opening.motion_adapter.is_some() {
        return Err(PipelineError::Checkpoint(
            "a motion adapter goes with a folder of Stable Diffusion, not with one of ModelScope's family".into(),
        ));
    }
    let unet = UNet3dConfig::from_component(&opening.folder.component("unet")?)?;
    let parts = LatentDiffusion::open(opening, unet.cross_attention_dim, unet.out_channels)?;
    parts.check_input(unet.in_channels)?;
    Ok(Box::new(ModelScope {
        geometry: parts.geometry(MAX_FRAMES, None),
        parts,
        unet,
    }))
}

impl Family for ModelScope {
    fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// Those of diffusers' pipeline, at the size of training.
    fn defaults(&self) -> Defaults {
        let [height, width] = self.parts.pixels(self.unet.sample_size());
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
        clip_text::check(&self.parts.text, plan, faults);
    }

    fn text_conditioner(&self) -> Result<Box<dyn TextConditioner>, PipelineError> {
        self.parts.text_conditioner()
    }

    fn load_denoiser(&self, _mode: MemoryMode) -> Result<Box<dyn LoadedDenoiser>, PipelineError> {
        let component = self.parts.folder.component("unet")?;
        let unet = UNet3d::from_component(&component, &self.parts.options)?;
        Ok(self.parts.adapted(unet))
    }

    fn load_codec(&self) -> Result<Loaded<Box<dyn LatentCodec>>, PipelineError> {
        self.parts.load_codec()
    }
}
