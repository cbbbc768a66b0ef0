//! AnimateDiff ([Guo et al., 2023](https://arxiv.org/abs/2307.04725)): Stable Diffusion with motion modules between its
//! layers makes clips.
//!
//! `AnimateDiffPipeline` and `AnimateDiffVideoToVideoPipeline` of diffusers: a folder that they saved, or a folder of Stable
//! Diffusion and a motion adapter. A clip is one sample to schedulers.

use burn::tensor::Tensor;
use t2v_denoiser::{Conditioning, MotionAdapterConfig, UNet2d, UNet2dConfig};
use t2v_schedulers::{NoiseSource, TorchGenerator};
use t2v_vae::{LatentCodec, Posterior};
use t2v_weights::{Component, Network, WeightsError};

use super::{Family, Loaded, LoadedDenoiser, Opening, TextConditioner, clip_text, latent_diffusion::LatentDiffusion};
use crate::{
    MemoryMode, PipelineError, Report, ValidationError, defaults::Defaults, geometry::Geometry, request::MAX_FRAMES,
};

/// Frames that upstream encodes at once, and draws noise for at once.
const ENCODED_AT_ONCE: usize = 16;

struct AnimateDiff {
    parts: LatentDiffusion,
    unet: UNet2dConfig,
    /// Motion modules that the denoiser's own weights lack.
    adapter: Option<Component>,
    /// The longest clip is that of the motion modules' positions.
    geometry: Geometry,
}

/// Reads the configurations; the motion adapter that is given goes before the folder's own.
pub(super) fn open(opening: &Opening<'_>) -> Result<Box<dyn Family>, PipelineError> {
    let component = opening.folder.component("unet")?;
    let adapter = motion_adapter(opening, &component)?;
    let unet = match &adapter {
        Some(adapter) => UNet2dConfig::with_adapter(&component, &MotionAdapterConfig::from_component(adapter)?)?,
        None => UNet2dConfig::from_component(&component)?,
    };
    let Some(positions) = unet.motion_max_seq_length else {
        return Err(WeightsError::Config {
            file: format!("{}/model_index.json", opening.folder.name()),
            reason: "it has no motion modules: neither is the denoiser a `UNetMotionModel`, nor does it list a \
                     `motion_adapter`; give one beside the folder"
                .into(),
        }
        .into());
    };
    let parts = LatentDiffusion::open(opening, unet.cross_attention_dim, unet.out_channels)?;
    parts.check_input(unet.in_channels)?;
    Ok(Box::new(AnimateDiff {
        geometry: parts.geometry(positions, Some(MAX_FRAMES as usize)),
        parts,
        unet,
        adapter,
    }))
}

/// The adapter that the denoiser needs: none, where its folder has the motion modules.
fn motion_adapter(opening: &Opening<'_>, unet: &Component) -> Result<Option<Component>, PipelineError> {
    let is_whole = unet.entry().is_some_and(|entry| entry.class == "UNetMotionModel");
    match (opening.motion_adapter, is_whole) {
        (Some(_), true) => Err(PipelineError::Checkpoint(
            "the denoiser of the folder has motion modules already; leave the motion adapter out, or give it beside a folder \
             of Stable Diffusion"
                .into(),
        )),
        (Some(adapter), false) => Ok(Some(adapter.clone())),
        (None, true) => Ok(None),
        (None, false) => match opening.folder.entry("motion_adapter")? {
            Some(_) => Ok(Some(opening.folder.component("motion_adapter")?)),
            None => Ok(None),
        },
    }
}

impl Family for AnimateDiff {
    fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    fn defaults(&self) -> Defaults {
        let [height, width] = self.parts.pixels(self.unet.sample_size());
        Defaults {
            num_frames: 16.min(self.geometry.max_frames as u32),
            fps: 8,
            num_inference_steps: 50,
            guidance_scale: 7.5,
            strength: 0.8,
            width,
            height,
            scheduler: None,
        }
    }

    /// For 16 frames at a time, frame by frame.
    fn sample_posterior(&self, posterior: Posterior<5>, noise: &mut dyn NoiseSource) -> Tensor<5> {
        let [_, channels, frames, height, width] = posterior.mean.dims();
        let device = posterior.mean.device();
        let drawn = (0..frames).step_by(ENCODED_AT_ONCE).map(|first| {
            let count = ENCODED_AT_ONCE.min(frames - first);
            frames_first(noise, [count, channels, height, width], &device)
        });
        let drawn = Tensor::cat(drawn.collect(), 2);
        posterior.mean + posterior.std * drawn
    }

    fn noise_for(&self, samples: &Tensor<5>, noise: &mut dyn NoiseSource) -> Tensor<5> {
        let [_, channels, frames, height, width] = samples.dims();
        frames_first(noise, [frames, channels, height, width], &samples.device())
    }

    fn arrange_noise(&self, noise: Tensor<5>, report: &Report, generator: &mut TorchGenerator) -> Tensor<5> {
        match &report.free_noise {
            Some(free_noise) => free_noise.arrange(noise, generator),
            None => noise,
        }
    }

    fn condition(&self, conditioning: &mut Conditioning, report: &Report) {
        conditioning.windows = report.free_noise.map(|free_noise| free_noise.windows());
    }

    fn check(&self, plan: &Report, faults: &mut ValidationError) {
        clip_text::check(&self.parts.text, plan, faults);
        if let Some(free_noise) = &plan.free_noise {
            free_noise.check(self.geometry.max_frames, faults);
        }
    }

    fn text_conditioner(&self) -> Result<Box<dyn TextConditioner>, PipelineError> {
        self.parts.text_conditioner()
    }

    fn load_denoiser(&self, _mode: MemoryMode) -> Result<Box<dyn LoadedDenoiser>, PipelineError> {
        let (weights, options) = (self.parts.folder.component("unet")?.weights()?, &self.parts.options);
        let unet = match &self.adapter {
            Some(adapter) => UNet2d::with_adapter(self.unet.clone(), weights, adapter.weights()?, options)?,
            None => UNet2d::from_weights(self.unet.clone(), &weights, options)?,
        };
        Ok(self.parts.adapted(unet))
    }

    fn load_codec(&self) -> Result<Loaded<Box<dyn LatentCodec>>, PipelineError> {
        self.parts.load_codec()
    }
}

/// Noise that is drawn frame by frame, as a clip.
fn frames_first(
    noise: &mut dyn NoiseSource,
    [frames, channels, height, width]: [usize; 4],
    device: &burn::tensor::Device,
) -> Tensor<5> {
    noise
        .normal([1, frames, channels, height, width], device)
        .swap_dims(1, 2)
}
