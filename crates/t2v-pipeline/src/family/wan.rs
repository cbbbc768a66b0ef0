//! Wan 2.1 and 2.2 ([Wan team, 2025](https://arxiv.org/abs/2503.20314)): clips from text, and from text and a picture.
//!
//! `WanPipeline` and `WanImageToVideoPipeline` of diffusers: UMT5, a transformer over patches of latents (in the large model of Wan 2.2 two, one after the
//! other), an autoencoder in which a latent frame stands for several. A clip is one sample to schedulers.

use serde::Deserialize;
use serde_json::{Map, Value};
use t2v_denoiser::WanTransformerConfig;
use t2v_kernels::lay_out;
use t2v_schedulers::SchedulerKind;
use t2v_text_encoder::Umt5Config;
use t2v_vae::{AutoencoderKlWan, AutoencoderKlWanConfig, LatentCodec};
use t2v_weights::{LoadOptions, ModelFolder, Network, WeightsError};

use super::{
    Family, Loaded, LoadedDenoiser, Opening, PictureEncoder, TextConditioner, parameter_bytes,
    wan_experts::{Experts, Transformer},
    wan_pictures::Pictures,
    wan_preview,
    wan_text::{self, WanText},
};
use crate::{
    InitMedia, MemoryMode, PipelineError, Report, ValidationError, beginning::Beginning, defaults::Defaults,
    expert::Expert, geometry::Geometry, preview::PreviewDecoder, request::MAX_SIDE,
};

const INDEX: &str = "model_index.json";
/// Three times as long as the clips of training.
const MAX_FRAMES: usize = 241;
/// Timesteps of training where a scheduler's configuration does not say.
const TRAIN_TIMESTEPS: f64 = 1000.0;

/// What the index says beside the components.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Index {
    /// The share of the timesteps below which the second transformer denoises.
    boundary_ratio: Option<f64>,
    /// Whether latent frames have timesteps of their own, so that the first may be that of a picture.
    expand_timesteps: bool,
}

/// What is read of a scheduler's configuration.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Schedule {
    num_train_timesteps: Option<f64>,
}

struct Wan {
    folder: ModelFolder,
    options: LoadOptions,
    transformer: WanTransformerConfig,
    /// The second transformer, and the lowest timestep of the first.
    second: Option<(WanTransformerConfig, f64)>,
    vae: AutoencoderKlWanConfig,
    pictures: Pictures,
    geometry: Geometry,
}

/// Reads the configurations and checks that they belong together.
pub(super) fn open(opening: &Opening<'_>) -> Result<Box<dyn Family>, PipelineError> {
    if opening.motion_adapter.is_some() {
        return Err(PipelineError::Checkpoint(
            "a motion adapter goes with a folder of Stable Diffusion, not with one of Wan".into(),
        ));
    }
    let folder = opening.folder;
    let transformer = WanTransformerConfig::from_component(&folder.component(Expert::Noisy.component())?)?;
    let index: Index = folder.optional_config(INDEX)?.unwrap_or_default();
    let second = second(folder, &index)?;
    let text = Umt5Config::from_component(&folder.component("text_encoder")?)?;
    let vae = AutoencoderKlWanConfig::from_component(&folder.component("vae")?)?;
    for config in [Some(&transformer), second.as_ref().map(|(config, _)| config)]
        .into_iter()
        .flatten()
    {
        check_fit(config, &text, &vae)?;
    }
    if let Some((second, _)) = &second
        && (second.patch_size, second.in_channels) != (transformer.patch_size, transformer.in_channels)
    {
        return Err(PipelineError::Checkpoint(format!(
            "the transformers have patches of {:?} and {:?}, and take {} and {} channels; they denoise the same latents",
            transformer.patch_size, second.patch_size, transformer.in_channels, second.in_channels
        )));
    }
    Ok(Box::new(Wan {
        folder: folder.clone(),
        options: opening.options.clone(),
        geometry: geometry(&transformer, &vae),
        pictures: Pictures::of(folder, &transformer, &vae, index.expand_timesteps)?,
        transformer,
        second,
        vae,
    }))
}

/// The second transformer, if the folder has one that is used: with the lowest timestep of the first.
fn second(folder: &ModelFolder, index: &Index) -> Result<Option<(WanTransformerConfig, f64)>, PipelineError> {
    let second = Expert::Clear.component();
    let Some(ratio) = index.boundary_ratio else {
        if folder.has_given_weights(second) {
            return Err(PipelineError::Checkpoint(format!(
                "weights are given for `{second}`, which is not used: `{INDEX}` has no `boundary_ratio`, the share of the timesteps below \
                 which it denoises"
            )));
        }
        return Ok(None);
    };
    if !(0.0..=1.0).contains(&ratio) {
        return Err(WeightsError::Config {
            file: format!("{}/{INDEX}", folder.name()),
            reason: format!("`boundary_ratio` is {ratio}; it is a share of the timesteps, 0 to 1"),
        }
        .into());
    }
    let schedule: Schedule = folder
        .optional_config("scheduler/scheduler_config.json")?
        .unwrap_or_default();
    let boundary = ratio * schedule.num_train_timesteps.unwrap_or(TRAIN_TIMESTEPS);
    let config = WanTransformerConfig::from_component(&folder.component(second)?)?;
    Ok(Some((config, boundary)))
}

/// # Errors
/// A transformer that takes other text or other latents than there are.
fn check_fit(
    transformer: &WanTransformerConfig,
    text: &Umt5Config,
    vae: &AutoencoderKlWanConfig,
) -> Result<(), PipelineError> {
    let fault = |reason: String| Err(PipelineError::Checkpoint(reason));
    let (width, latents) = (transformer.text_dim, vae.z_dim);
    if text.d_model != width {
        return fault(format!(
            "the text encoder gives embeddings of width {}, the denoiser takes {width}",
            text.d_model
        ));
    }
    let given = transformer.out_channels();
    if given != latents {
        return fault(format!(
            "the denoiser gives {given} channels, the VAE's latents have {latents}"
        ));
    }
    match transformer.patch_size[0] {
        1 => Ok(()),
        frames => fault(format!(
            "the denoiser takes patches of {frames} latent frames; clips have any number of them, so that it must be 1"
        )),
    }
}

fn geometry(transformer: &WanTransformerConfig, vae: &AutoencoderKlWanConfig) -> Geometry {
    let (spatial_factor, temporal_factor) = (vae.spatial_factor(), vae.temporal_factor());
    let [_, height, width] = transformer.patch_size;
    let patch = (1..=height).map(|n| n * width).find(|side| side.is_multiple_of(height));
    let positions = (transformer.rope_max_seq_len - 1) * temporal_factor + 1;
    Geometry {
        channels: vae.z_dim,
        spatial_factor,
        side_multiple: spatial_factor * patch.unwrap_or(width * height),
        max_side: MAX_SIDE,
        temporal_factor,
        max_frames: MAX_FRAMES.min(positions),
        windows_to: None,
    }
}

impl Wan {
    fn transformer(&self, expert: Expert, config: &WanTransformerConfig) -> Result<Transformer, PipelineError> {
        Ok(Transformer {
            component: self.folder.component(expert.component())?,
            config: config.clone(),
            options: self.options.clone(),
        })
    }
}

impl Family for Wan {
    fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// Those of diffusers' pipeline, at the number of frames a second of its examples: 24 for the small model of Wan 2.2, 16 for the others.
    fn defaults(&self) -> Defaults {
        let fitting = |side: u32| side / self.geometry.side_multiple as u32 * self.geometry.side_multiple as u32;
        let side = |side| Some(fitting(side)).filter(|side| *side > 0);
        Defaults {
            num_frames: self.geometry.nearest_frames(81),
            fps: match self.pictures {
                Pictures::Optional => 24,
                Pictures::None | Pictures::Required { .. } => 16,
            },
            num_inference_steps: 50,
            guidance_scale: 5.0,
            strength: 0.8,
            width: side(832),
            height: side(480),
            scheduler: None,
        }
    }

    /// The configuration of a scheduler that is for flows alone does not say what solvers for any prediction have to know: diffusers' `from_config`
    /// would have them predict noise.
    fn scheduler_config(&self, class: SchedulerKind, config: &mut Map<String, Value>, _inpaints: bool) {
        use SchedulerKind::{FlowMatchEulerDiscrete, FlowMatchHeunDiscrete};
        if !matches!(class, FlowMatchEulerDiscrete | FlowMatchHeunDiscrete) {
            return;
        }
        let shift = config.get("shift").cloned().unwrap_or_else(|| 1.0.into());
        for (key, value) in [
            ("prediction_type", "flow_prediction".into()),
            ("use_flow_sigmas", true.into()),
            ("flow_shift", shift),
        ] {
            config.entry(key).or_insert(value);
        }
    }

    fn check(&self, plan: &Report, faults: &mut ValidationError) {
        wan_text::check(plan, faults);
        if plan.free_init.is_some() {
            faults.add(
                "free_init",
                "FreeInit is for models whose latents have as many frames as the clip.",
            );
        }
    }

    fn beginning(&self) -> Option<Beginning> {
        self.pictures.beginning()
    }

    fn check_init(&self, init: Option<&InitMedia>, frames: u32, faults: &mut ValidationError) {
        self.pictures.check(init, frames, faults);
    }

    fn predicts_flow(&self) -> bool {
        true
    }

    fn guidance_boundary(&self) -> Option<f64> {
        self.second.as_ref().map(|(_, boundary)| *boundary)
    }

    fn text_conditioner(&self) -> Result<Box<dyn TextConditioner>, PipelineError> {
        let (tokenizer, encoder) = (
            self.folder.component("tokenizer")?,
            self.folder.component("text_encoder")?,
        );
        Ok(Box::new(WanText::new(&tokenizer, encoder, &self.options)?))
    }

    fn has_picture_encoder(&self) -> bool {
        self.pictures.seen().is_some()
    }

    /// In single precision, as upstream has it loaded.
    fn load_picture_encoder(&self) -> Result<Option<Loaded<Box<dyn PictureEncoder>>>, PipelineError> {
        let options = self.options.clone().in_single_precision();
        self.pictures.load_encoder(&self.folder, &options)
    }

    fn load_denoiser(&self, mode: MemoryMode) -> Result<Box<dyn LoadedDenoiser>, PipelineError> {
        let first = self.transformer(Expert::Noisy, &self.transformer)?;
        let Some((config, boundary)) = &self.second else {
            return first.load(mode);
        };
        let second = self.transformer(Expert::Clear, config)?;
        Ok(Box::new(Experts::load([first, second], *boundary, mode)?))
    }

    fn load_preview_decoder(&self) -> Result<Option<Box<dyn PreviewDecoder>>, PipelineError> {
        wan_preview::load(&self.folder, self.vae.z_dim, &self.options)
    }

    /// In single precision, as upstream has it loaded.
    fn load_codec(&self) -> Result<Loaded<Box<dyn LatentCodec>>, PipelineError> {
        let options = self.options.clone().in_single_precision();
        let weights = self.folder.component("vae")?.weights()?;
        let vae = AutoencoderKlWan::from_weights(self.vae.clone(), &weights, &options)?;
        let vae = lay_out(vae, options.device());
        Ok(Loaded {
            bytes: parameter_bytes(&vae),
            network: Box::new(vae),
        })
    }
}
