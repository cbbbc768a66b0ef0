//! What a generation really used.

use image::GrayImage;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use t2v_mp4::Metadata;

use crate::{
    Dtype, FlowShift, FreeInit, FreeNoise, InitMedia, LoraReport, ModelCalls, PipelineError, Speed, TextToVideoRequest,
    registry::MotionAdapter,
};

/// The values that a generation really used, defaults and the drawn seed included.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Report {
    /// The model, by the name that it was asked for: in a registry its name there, otherwise that of its folder, or
    /// `tiny-world`.
    pub model_id: String,
    /// The prompt, as completed.
    pub prompt: String,
    /// The prompt of the request, where an enhancer made another of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original_prompt: Option<String>,
    /// The negative prompt, as completed; empty where there was none.
    pub negative_prompt: String,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Frames of the whole video.
    pub num_frames: u32,
    /// Frames a second.
    pub fps: u32,
    /// Class name of the scheduler.
    pub scheduler: String,
    /// Denoising steps.
    pub num_inference_steps: u32,
    /// Weight of the prompt.
    pub guidance_scale: f64,
    /// Its weight in the steps with less noise, of models that have a second denoiser for these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guidance_scale_2: Option<f64>,
    /// How far the schedule of a flow was moved towards noise, where the request said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flow_shift: Option<f64>,
    /// How much of the pictures to start from was replaced, where there were any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strength: Option<f64>,
    /// Layers of the text encoder that were left out.
    pub clip_skip: u32,
    /// The seed; with it the same request gives the same frames.
    pub seed: u32,
    /// Whether brackets in the prompts weighed words.
    #[serde(default)]
    pub prompt_weighting: bool,
    /// Whether prompts counted to their end, however long.
    #[serde(default)]
    pub long_prompts: bool,
    /// Whether the autoencoder worked in tiles.
    #[serde(default)]
    pub vae_tiling: bool,
    /// The type that the networks computed in: `f32`, `f16` or `bf16`.
    #[serde(default = "single_precision")]
    pub dtype: String,
    /// The pictures to start from, where there were any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<InitReport>,
    /// What of the pictures was painted anew, where that was not all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask: Option<MaskReport>,
    /// How much of the guided prediction's spread was taken back.
    #[serde(default)]
    pub guidance_rescale: f64,
    /// How the clip was denoised several times, where it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free_init: Option<FreeInit>,
    /// Seed of the noise drawn for each of these times, where it was another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub improved_sampling_seed: Option<u32>,
    /// The windows of frames that the clip was made in, where it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free_noise: Option<FreeNoise>,
    /// The motion modules that the model was given, where they are not its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub motion_adapter: Option<MotionAdapterReport>,
    /// The LoRAs that were added to the networks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub loras: Vec<LoraReport>,
    /// The learnt words that the prompts had.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub textual_inversions: Vec<String>,
    /// How much of the exactness was given for speed.
    #[serde(default, skip_serializing_if = "Speed::is_exact")]
    pub speed: Speed,
    /// Calls of the denoiser, and how many of them ran all of it.
    #[serde(default)]
    pub model_calls: ModelCalls,
    /// Tokens at the end of the prompt that did not fit the text encoder, or the most chunks of a long prompt.
    pub truncated_tokens: usize,
    /// The same of the negative prompt, where the generation was guided away from it.
    #[serde(default)]
    pub truncated_negative_tokens: usize,
    /// Whether the generation was cancelled and this is what it had.
    pub interrupted: bool,
}

/// Of latents that were kept before it was said.
fn single_precision() -> String {
    Dtype::F32.to_string()
}

/// What is said about pictures to start from: enough to know them again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct InitReport {
    /// Pictures.
    pub frames: usize,
    /// Pixels of each.
    pub width: u32,
    /// Pixels of each.
    pub height: u32,
    /// SHA-256, as hexadecimal digits, of their RGB values, one picture after the other.
    pub sha256: String,
}

/// What is said about motion modules from elsewhere: enough to know them again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MotionAdapterReport {
    /// Of its folder or file.
    pub name: String,
    /// SHA-256 of its weights' file, as hexadecimal digits.
    pub sha256: String,
}

impl MotionAdapterReport {
    pub(crate) fn of(adapter: &MotionAdapter) -> Result<Self, PipelineError> {
        Ok(Self {
            name: adapter.name.clone(),
            sha256: adapter.component.weights()?.sha256()?,
        })
    }
}

/// What is said about a mask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MaskReport {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// SHA-256, as hexadecimal digits, of its grey values.
    pub sha256: String,
}

impl MaskReport {
    pub(crate) fn of(mask: &GrayImage) -> Self {
        let (width, height) = mask.dimensions();
        Self {
            width,
            height,
            sha256: digits(Sha256::digest(mask.as_raw())),
        }
    }
}

fn digits(hash: impl AsRef<[u8]>) -> String {
    hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

impl InitReport {
    pub(crate) fn of(init: &InitMedia) -> Self {
        let pictures = init.pictures();
        let mut hash = Sha256::new();
        pictures.iter().for_each(|picture| hash.update(picture.as_raw()));
        let (width, height) = pictures.first().map_or((0, 0), |picture| picture.dimensions());
        Self {
            frames: pictures.len(),
            width,
            height,
            sha256: digits(hash.finalize()),
        }
    }
}

impl Report {
    /// The request that gives the same video again with the same registry, given the same pictures to start from and learnt
    /// words, which [`init`](Self::init) and [`textual_inversions`](Self::textual_inversions) name.
    #[must_use]
    pub fn request(&self) -> TextToVideoRequest {
        let request = TextToVideoRequest {
            model_id: Some(self.model_id.clone()),
            prompt: self.prompt.clone(),
            negative_prompt: Some(self.negative_prompt.clone()).filter(|text| !text.is_empty()),
            width: Some(self.width),
            height: Some(self.height),
            scheduler: Some(self.scheduler.clone()),
            num_inference_steps: Some(self.num_inference_steps),
            enhance_prompt: Some(false),
            guidance_scale: Some(self.guidance_scale),
            guidance_scale_2: self.guidance_scale_2,
            flow_shift: self.flow_shift.map(FlowShift::Of),
            strength: self.strength,
            seed: Some(self.seed),
            num_frames: Some(self.num_frames),
            clip_skip: Some(self.clip_skip),
            fps: Some(self.fps),
            prompt_weighting: Some(self.prompt_weighting),
            long_prompts: Some(self.long_prompts),
            vae_tiling: Some(self.vae_tiling),
            guidance_rescale: Some(self.guidance_rescale).filter(|share| *share > 0.0),
            free_init: self.free_init,
            improved_sampling_seed: self.improved_sampling_seed,
            free_noise: self.free_noise,
            speed: Some(self.speed).filter(|speed| !speed.is_exact()),
            ..TextToVideoRequest::default()
        };
        let loras = self.loras.iter();
        loras.fold(request, |request, lora| request.with_lora(&lora.name, lora.strength))
    }

    /// Whether the negative prompt counts.
    pub(crate) fn is_guided(&self) -> bool {
        self.guidance_scale > 1.0
    }

    /// What a file says about the video.
    pub(crate) fn metadata(&self) -> Metadata {
        let mut metadata = Metadata::new()
            .with_model(&self.model_id)
            .with_prompt(&self.prompt)
            .with_negative_prompt(&self.negative_prompt)
            .with_seed(self.seed.into())
            .with_scheduler(&self.scheduler)
            .with_steps(self.num_inference_steps)
            .with_guidance(self.guidance_scale);
        // Strings and numbers always are JSON.
        if let Ok(json) = serde_json::to_string(&self.request()) {
            metadata = metadata.with_request(json);
        }
        if self.dtype != single_precision() {
            metadata.set("dtype", &self.dtype);
        }
        if let Some(Ok(json)) = self.init.as_ref().map(serde_json::to_string) {
            metadata.set("init", json);
        }
        if let Some(Ok(json)) = self.mask.as_ref().map(serde_json::to_string) {
            metadata.set("mask", json);
        }
        if let Some(Ok(json)) = self.motion_adapter.as_ref().map(serde_json::to_string) {
            metadata.set("motion_adapter", json);
        }
        if !self.loras.is_empty()
            && let Ok(json) = serde_json::to_string(&self.loras)
        {
            metadata.set("loras", json);
        }
        if !self.textual_inversions.is_empty() {
            metadata.set("textual_inversions", self.textual_inversions.join(", "));
        }
        match metadata.validate() {
            Ok(()) => metadata,
            // With a prompt of half a megabyte: a video that says nothing is better than none.
            Err(_) => Metadata::new(),
        }
    }
}
