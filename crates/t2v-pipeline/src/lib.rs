//! Text to video in Rust: from a prompt to an MP4 with a diffusion model, on [Burn](https://burn.dev).
//!
//! ```no_run
//! use t2v_pipeline::{Device, Pipeline, TextToVideoRequest};
//!
//! # fn main() -> Result<(), t2v_pipeline::PipelineError> {
//! let pipeline = Pipeline::embedded(&Device::flex())?;
//! let request = TextToVideoRequest::new("a red ball bouncing in a blue sky").with_seed(7);
//! let video = pipeline.generate(&request)?;
//! video.save("ball.mp4")?;
//! # Ok(())
//! # }
//! ```
//!
//! Everything else is optional: [`ModelRegistry`] for models by name, [`GenerateOptions`] for pictures to start from, progress,
//! previews and cancelling, [`DeviceName`], [`Dtype`] and the chapter [`devices`] for GPUs, [`Job`] for a generation on a
//! thread of its own, [`MemoryMode`] where memory is short, [`Speed`] and the chapter [`speeds`] where time is, [`PromptEnhancer`] for prompts, [`Latents`] to part denoising
//! from decoding, `webhook` (a feature) to tell others.
//!
//! The key decision: this crate composes and decides nothing that a component could. It owns the request, which mirrors
//! the body of the Stable Diffusion API's `text2video` endpoint, and the order in which text encoder, scheduler,
//! denoiser and autoencoder are called, which is that of diffusers' `TextToVideoSDPipeline` and
//! `VideoToVideoSDPipeline`; so the same checkpoint, request and seed give the same frames as there.

mod beginning;
mod checkpoint;
mod defaults;
mod denoise;
mod device;
mod enhance;
mod error;
mod expert;
mod family;
mod flow_shift;
mod free_init;
mod free_noise;
mod geometry;
mod init_clip;
mod inpainting;
mod job;
mod latents;
mod limits;
mod loading;
mod loras;
mod model;
mod monitor;
mod options;
mod passes;
mod pipeline;
mod plan;
mod preview;
mod progress;
mod readback;
mod registry;
mod report;
mod request;
mod resize;
mod response;
mod reuse;
mod run;
mod single_file;
mod speed;
mod turns;
mod video;

#[doc = include_str!("../docs/devices.md")]
pub mod devices {}

#[doc = include_str!("../docs/speed.md")]
pub mod speeds {}

pub use burn::tensor::Device;
pub use device::{Backend, DeviceName, Dtype, FoundDevice, Placement, found_devices};
pub use error::PipelineError;
pub use flow_shift::FlowShift;
pub use free_init::{FreeInit, FreeInitFilter};
pub use free_noise::{FrameNoise, FrameWeighting, FreeNoise};
pub use job::{Job, JobEvent};
pub use latents::Latents;
pub use limits::{Limit, Limits};
pub use loras::LoraReport;
pub use model::MemoryMode;
pub use options::{Callback, GenerateOptions, Observer};
pub use pipeline::Pipeline;
pub use preview::Preview;
pub use progress::{CancelToken, Progress, Stage, StageTimes};
pub use registry::{FolderModel, ModelRegistry, ModelSource};
pub use report::{InitReport, MaskReport, MotionAdapterReport, Report};
pub use request::{ApiKey, TextToVideoRequest, ValidationError};
pub use response::{ErrorResponse, Failed, Processing, Success, TextToVideoResponse};
pub use single_file::open_single_file;
pub use speed::{ModelCalls, Speed};
pub use t2v_hub::{Hub, HubModel};
pub use t2v_media::InitMedia;
pub use t2v_mp4::{FrameRate, OutputFormat};
pub use t2v_prompts::{Gpt2Enhancer, Prompt, PromptContext, PromptEnhancer, PromptError, PromptTable};
pub use t2v_schedulers::SchedulerKind;
pub use t2v_text_encoder::TextualInversion;
#[cfg(feature = "webhook")]
pub use t2v_webhook as webhook;
pub use t2v_weights::Lora;
pub use video::{Video, check_output};
