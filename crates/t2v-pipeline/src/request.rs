//! The request: the body of the API's `text2video` endpoint.

mod parse;
mod validate;

use std::fmt;

use parse::Form;
use serde::Serialize;
use serde_json::Value;

use crate::{FlowShift, FreeInit, FreeNoise, Speed};
pub use validate::ValidationError;
pub(crate) use validate::{MAX_CLIP_SKIP, MAX_FPS, MAX_FRAMES, MAX_GUIDANCE, MAX_SIDE, MAX_STEPS, USUAL_SIDE};

/// A request, field by field the body of the Stable Diffusion API's `text2video` endpoint, with `num_frames`, `fps`
/// and `clip_skip` of its later versions, and `guidance_scale_2`, `prompt_weighting`, `long_prompts`, `vae_tiling`, `flow_shift` and
/// `speed` of this crate.
///
/// What is `None` is the checkpoint's own default. [`from_json`](Self::from_json) takes numbers as numbers or as
/// strings and switches as `"yes"`, `"no"` or booleans, as the API's clients send them.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TextToVideoRequest {
    /// Authorises the request at a server; the library does not look at it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<ApiKey>,
    /// The model, where several can be chosen from.
    pub model_id: Option<String>,
    /// What the video should show.
    pub prompt: String,
    /// What it should not show; it takes the place of the empty prompt in guidance.
    pub negative_prompt: Option<String>,
    /// Pixels, a multiple of the model's factor and at most 1024, or 2048 with models that can do that (Wan).
    pub width: Option<u32>,
    /// Pixels, a multiple of the model's factor and at most 1024, or 2048 with models that can do that (Wan).
    pub height: Option<u32>,
    /// Name of a scheduler, with or without the suffix `Scheduler`.
    pub scheduler: Option<String>,
    /// Denoising steps, 1 to 50.
    pub num_inference_steps: Option<u32>,
    /// Whether the prompt may be completed. `Some(true)`: with [the enhancer that is given](crate::GenerateOptions), or the
    /// checkpoint's own table, or the [built-in](crate::PromptTable::built_in) one. `None`: with the first two alone, so a
    /// checkpoint without a table gets the prompt as it stands, as in diffusers. `Some(false)`: never. The
    /// [report](crate::Report) has the prompt that was used.
    pub enhance_prompt: Option<bool>,
    /// Weight of the prompt against the negative prompt, 1 to 20; at 1 the negative prompt is not used.
    pub guidance_scale: Option<f64>,
    /// Its weight in the steps with less noise, 1 to 20, of models that have a second denoiser for these (Wan 2.2 of 14 billion
    /// parameters). `None`: that of [`guidance_scale`](Self::guidance_scale), as in diffusers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guidance_scale_2: Option<f64>,
    /// With pictures to start from: how much of them is replaced, 0 to 1. Models that are shown the picture that a clip begins
    /// with (Wan's) replace nothing of it, and have no use for the strength.
    pub strength: Option<f64>,
    /// 0 to 4294967295; `None` draws one.
    pub seed: Option<u32>,
    /// Told about the result by a server; the library does not look at it.
    pub webhook: Option<String>,
    /// Given back to the webhook.
    pub track_id: Option<Value>,
    /// Whether a server may pass the request on; the library does not look at it.
    pub loadbalancer: Option<bool>,
    /// Frames of the video: from 1 to as many as the model can do (128 for ModelScope).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_frames: Option<u32>,
    /// Last layers of the text encoder to leave out for the prompt (not for the negative prompt, as in diffusers), 0 to 8 and
    /// at most as many as it has; with 1 the last layer but one gives the embeddings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_skip: Option<u32>,
    /// Frames a second of the video, 1 to 60.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fps: Option<u32>,
    /// Whether brackets weigh words: `(word)` 1.1 times, `[word]` 1/1.1 times, `(word:1.3)` 1.3 times, with `\(` for the
    /// bracket itself. The weights multiply the embeddings of their tokens, and each sequence of tokens keeps its mean, as
    /// in A1111's web UI. Otherwise brackets are text, as in diffusers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_weighting: Option<bool>,
    /// Whether all of a prompt counts that is longer than the text encoder takes: it is encoded in chunks whose embeddings
    /// the denoiser sees one after the other. Otherwise the end is left out, as in diffusers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub long_prompts: Option<bool>,
    /// Whether frames larger than those of training pass the autoencoder in overlapping tiles: less memory, slightly
    /// different frames. `None`: as [the pipeline](crate::Pipeline::set_vae_tiling) has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vae_tiling: Option<bool>,
    /// LoRAs to add to the networks, by names that the registry or the pipeline knows, with commas between several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lora_model: Option<String>,
    /// What they are multiplied by: one number for all, or as many as there are LoRAs, with commas; 1 if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lora_strength: Option<String>,
    /// Learnt words that the prompts may have, by names that the registry or the pipeline knows, with commas between several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub embeddings_model: Option<String>,
    /// How much of the guided prediction is brought back to the spread of that for the prompt, 0 (as if not given) to 1: against
    /// colours that are too strong at a high guidance scale ([Lin et al., 2023](https://arxiv.org/abs/2305.08891)).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guidance_rescale: Option<f64>,
    /// Whether the clip is denoised several times for frames that agree more, by [`FreeInit`] with its defaults.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub use_improved_sampling: Option<bool>,
    /// Seed of the noise that is drawn for each of these times; `None` goes on with that of [`seed`](Self::seed), as diffusers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub improved_sampling_seed: Option<u32>,
    /// The same with other settings than the defaults.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub free_init: Option<FreeInit>,
    /// Makes clips in windows of frames, longer ones than the motion modules of AnimateDiff know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub free_noise: Option<FreeNoise>,
    /// How far the schedule of a model that predicts a flow (Wan's) is moved towards noise: a number, or `"size"`. `None`: as far as
    /// the checkpoint's scheduler says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flow_shift: Option<FlowShift>,
    /// How much of the exactness is given for speed: `exact`, `balanced` or `fast`. `None`: as the
    /// [options](crate::GenerateOptions::speed) have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub speed: Option<Speed>,
}

/// A key of the API, which `Debug` does not show.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct ApiKey(String);

impl ApiKey {
    /// The key itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for ApiKey {
    fn from(key: String) -> Self {
        Self(key)
    }
}

impl From<&str> for ApiKey {
    fn from(key: &str) -> Self {
        Self(key.to_owned())
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(…)")
    }
}

impl TextToVideoRequest {
    /// A request for `prompt`, all else at the checkpoint's defaults.
    #[must_use]
    pub fn new(prompt: impl Into<String>) -> Self {
        Self {
            prompt: prompt.into(),
            ..Self::default()
        }
    }

    /// Sets the model, by a name that the registry knows.
    #[must_use]
    pub fn with_model_id(mut self, model_id: impl Into<String>) -> Self {
        self.model_id = Some(model_id.into());
        self
    }

    /// Sets what the video should not show.
    #[must_use]
    pub fn with_negative_prompt(mut self, negative_prompt: impl Into<String>) -> Self {
        self.negative_prompt = Some(negative_prompt.into());
        self
    }

    /// Sets the size in pixels.
    #[must_use]
    pub fn with_size(mut self, width: u32, height: u32) -> Self {
        (self.width, self.height) = (Some(width), Some(height));
        self
    }

    /// Sets the number of frames.
    #[must_use]
    pub fn with_num_frames(mut self, num_frames: u32) -> Self {
        self.num_frames = Some(num_frames);
        self
    }

    /// Sets the scheduler by name.
    #[must_use]
    pub fn with_scheduler(mut self, scheduler: impl Into<String>) -> Self {
        self.scheduler = Some(scheduler.into());
        self
    }

    /// Sets the number of denoising steps.
    #[must_use]
    pub fn with_num_inference_steps(mut self, steps: u32) -> Self {
        self.num_inference_steps = Some(steps);
        self
    }

    /// Sets the weight of the prompt.
    #[must_use]
    pub fn with_guidance_scale(mut self, scale: f64) -> Self {
        self.guidance_scale = Some(scale);
        self
    }

    /// Sets the weight of the prompt in the steps with less noise.
    #[must_use]
    pub fn with_guidance_scale_2(mut self, scale: f64) -> Self {
        self.guidance_scale_2 = Some(scale);
        self
    }

    /// Sets how far the schedule of a flow is moved towards noise.
    #[must_use]
    pub fn with_flow_shift(mut self, shift: FlowShift) -> Self {
        self.flow_shift = Some(shift);
        self
    }

    /// Sets how much of the pictures to start from is replaced.
    #[must_use]
    pub fn with_strength(mut self, strength: f64) -> Self {
        self.strength = Some(strength);
        self
    }

    /// Sets the seed.
    #[must_use]
    pub fn with_seed(mut self, seed: u32) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Sets whether the prompt may be completed.
    #[must_use]
    pub fn with_enhance_prompt(mut self, enhance: bool) -> Self {
        self.enhance_prompt = Some(enhance);
        self
    }

    /// Sets how many of the text encoder's last layers are left out.
    #[must_use]
    pub fn with_clip_skip(mut self, layers: u32) -> Self {
        self.clip_skip = Some(layers);
        self
    }

    /// Sets whether brackets weigh words.
    #[must_use]
    pub fn with_prompt_weighting(mut self, weighted: bool) -> Self {
        self.prompt_weighting = Some(weighted);
        self
    }

    /// Sets whether all of a long prompt counts.
    #[must_use]
    pub fn with_long_prompts(mut self, long: bool) -> Self {
        self.long_prompts = Some(long);
        self
    }

    /// Sets whether the autoencoder works in tiles.
    #[must_use]
    pub fn with_vae_tiling(mut self, tiled: bool) -> Self {
        self.vae_tiling = Some(tiled);
        self
    }

    /// Sets how much of the guided prediction's spread is taken back.
    #[must_use]
    pub fn with_guidance_rescale(mut self, share: f64) -> Self {
        self.guidance_rescale = Some(share);
        self
    }

    /// Denoises the clip several times.
    #[must_use]
    pub fn with_free_init(mut self, free_init: FreeInit) -> Self {
        self.free_init = Some(free_init);
        self
    }

    /// Makes the clip in windows of frames.
    #[must_use]
    pub fn with_free_noise(mut self, free_noise: FreeNoise) -> Self {
        self.free_noise = Some(free_noise);
        self
    }

    /// Sets how much of the exactness is given for speed.
    #[must_use]
    pub fn with_speed(mut self, speed: Speed) -> Self {
        self.speed = Some(speed);
        self
    }

    /// The settings of FreeInit, where the clip is to be denoised several times.
    #[must_use]
    pub fn free_init(&self) -> Option<FreeInit> {
        let improved = self.use_improved_sampling == Some(true);
        self.free_init.or(improved.then(FreeInit::default))
    }

    /// Checks every field against the API's limits.
    ///
    /// # Errors
    /// All faults at once, by field.
    pub fn validate(&self) -> Result<(), ValidationError> {
        ValidationError::of(validate::faults(self))
    }

    /// Reads a request from the API's JSON body and validates it, as lenient as the API's clients need it: unknown fields are
    /// ignored, switches may be `"yes"`, `"True"`, `1` or `"on"`, a seed of -1 is drawn like none.
    ///
    /// # Errors
    /// All faults at once, by field: wrong types, values out of range, a missing prompt.
    pub fn from_json(body: &Value) -> Result<Self, ValidationError> {
        parse::request(body, Form::Lenient)
    }

    /// Like [`from_json`](Self::from_json) for bodies that a person writes: an unknown field is a fault, unless it asks for
    /// nothing, and so is whatever may be meant in two ways.
    ///
    /// # Errors
    /// As for `from_json`.
    pub fn from_json_strict(body: &Value) -> Result<Self, ValidationError> {
        parse::request(body, Form::Strict)
    }

    /// [`from_json`](Self::from_json) of bytes, which may begin with a byte order mark.
    ///
    /// # Errors
    /// As for `from_json`; what is no JSON is a fault of the field `body`.
    pub fn from_slice(body: &[u8]) -> Result<Self, ValidationError> {
        Self::from_json(&parse::json(body)?)
    }

    /// [`from_json_strict`](Self::from_json_strict) of bytes, which may begin with a byte order mark.
    ///
    /// # Errors
    /// As for `from_slice`.
    pub fn from_slice_strict(body: &[u8]) -> Result<Self, ValidationError> {
        Self::from_json_strict(&parse::json(body)?)
    }
}
