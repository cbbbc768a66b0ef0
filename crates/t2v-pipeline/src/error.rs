//! What can go wrong between a request and its video.

use t2v_media::MediaError;
use t2v_prompts::PromptError;

use crate::ValidationError;

/// Why there is no video.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PipelineError {
    /// The request asks for something impossible; every fault is in it.
    #[error(transparent)]
    Request(#[from] ValidationError),
    /// A device can't be had, or can't compute in a type: its name is unknown, its backend was not compiled in, it is not
    /// there.
    #[error("{0}")]
    Device(String),
    /// The device has too little memory for the request, or can't launch kernels of its size. The pipeline can still be used.
    #[error(
        "the request is too large for the device ({0}): a smaller width and height, fewer frames, half precision (`dtype`), the \
         sequential memory mode or tiling of the autoencoder (`vae_tiling`) take less"
    )]
    TooLarge(String),
    /// The device failed at its work.
    #[error("the device failed: {0}")]
    DeviceFailed(String),
    /// The components of a checkpoint don't fit together.
    #[error("the checkpoint's components do not fit together: {0}")]
    Checkpoint(String),
    /// No model has this id.
    #[error("there is no model `{id}`; known are {known}")]
    UnknownModel {
        /// What was asked for.
        id: String,
        /// The names there are.
        known: String,
    },
    /// A model of the Hugging Face Hub can't be had.
    #[error(transparent)]
    Hub(#[from] t2v_hub::HubError),
    /// Pictures to start from can't be used.
    #[error(transparent)]
    InitMedia(#[from] MediaError),
    /// Latents can't be written or read.
    #[error("cannot use `{path}` for latents: {reason}")]
    Latents {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A checkpoint gave values that are no numbers.
    #[error(
        "{what} are not finite (NaN or infinite): the weights may be damaged, or the scheduler's settings do not suit the \
         checkpoint (such as `rescale_betas_zero_snr` with epsilon prediction)"
    )]
    NotFinite {
        /// Which values, and from where on.
        what: String,
    },
    /// A bug: the generation's thread panicked. The pipeline can still be used.
    #[error("the generation panicked: {0}")]
    Panicked(String),
    /// A prompt can't be completed.
    #[error(transparent)]
    Prompt(#[from] PromptError),
    /// The generation was cancelled.
    #[error("the generation was cancelled")]
    Cancelled,
    /// The model folder can't be read.
    #[error(transparent)]
    Weights(#[from] t2v_weights::WeightsError),
    /// The text encoder or its tokenizer can't be used.
    #[error(transparent)]
    TextEncoder(#[from] t2v_text_encoder::TextEncoderError),
    /// The denoiser can't be used.
    #[error(transparent)]
    Denoiser(#[from] t2v_denoiser::DenoiserError),
    /// The scheduler can't be used.
    #[error(transparent)]
    Scheduler(#[from] t2v_schedulers::SchedulerError),
    /// The autoencoder can't be used.
    #[error(transparent)]
    Vae(#[from] t2v_vae::VaeError),
    /// The video can't be written.
    #[error(transparent)]
    Mp4(#[from] t2v_mp4::Mp4Error),
}

impl PipelineError {
    pub(crate) fn unknown_model(id: &str, known: &[&str]) -> Self {
        let known = match known {
            [] => "none".into(),
            known => known.join(", "),
        };
        let id = escaped(id);
        Self::UnknownModel { id, known }
    }

    pub(crate) fn not_finite(what: String) -> Self {
        Self::NotFinite { what }
    }

    /// From what a device's backend says of a failure.
    pub(crate) fn of_device(report: &str) -> Self {
        let reason = reason(report);
        match is_too_large(report) {
            true => Self::TooLarge(reason),
            false => Self::DeviceFailed(reason),
        }
    }

    /// The message for a client of a server: without paths and other facts of the server's machine, which its log has.
    #[must_use]
    pub fn public_message(&self) -> String {
        match self {
            Self::InitMedia(MediaError::Unusable { reason, .. }) => {
                format!("the pictures to start from cannot be used: {reason}")
            }
            Self::InitMedia(_) => "the pictures to start from cannot be read".into(),
            Self::Latents { .. } => "the latents cannot be written or read".into(),
            Self::Panicked(_) => "the generation failed by a fault of this program".into(),
            Self::Mp4(_) => "the video cannot be read or written".into(),
            Self::Prompt(PromptError::Enhancer(_)) => self.to_string(),
            Self::Prompt(_)
            | Self::Hub(_)
            | Self::Weights(_)
            | Self::TextEncoder(_)
            | Self::Denoiser(_)
            | Self::Vae(_) => "the model cannot be loaded".into(),
            Self::DeviceFailed(_) => "the device failed".into(),
            Self::TooLarge(_) => Self::TooLarge("its memory or its limits".into()).to_string(),
            Self::Request(_)
            | Self::Device(_)
            | Self::Checkpoint(_)
            | Self::UnknownModel { .. }
            | Self::NotFinite { .. }
            | Self::Cancelled
            | Self::Scheduler(_) => self.to_string(),
        }
    }
}

/// An id as a message may hold it: it comes from anybody.
fn escaped(id: &str) -> String {
    id.chars().take(100).flat_map(char::escape_debug).collect()
}

/// What a thread said as it panicked.
pub(crate) fn panic_message(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "without a message".to_owned())
}

/// What backends say when there is no memory, CubeCL's two errors, wgpu's and CUDA's, or when a kernel has too many blocks.
const TOO_LARGE: [&str; 6] = [
    "out of device memory",
    "can't allocate buffer",
    "out of memory",
    "out_of_memory",
    "buffertoobig",
    "cube count too big",
];

/// Whether a backend's report of a failure, or a line of it, is that memory or limits were too small.
pub(crate) fn is_too_large(text: &str) -> bool {
    let text = text.to_lowercase();
    TOO_LARGE.iter().any(|words| text.contains(words))
}

/// The line of a report that says most: around it are what failed because of it, and backtraces.
fn reason(report: &str) -> String {
    let lines = || report.lines().map(str::trim).filter(|line| !line.is_empty());
    let is_heading = |line: &&str| line.ends_with("Caused by:") || line.starts_with("An error happened");
    let line = lines()
        .find(|line| is_too_large(line))
        .or_else(|| lines().find(|line| !is_heading(line)));
    let line: String = line.unwrap_or("it did not say why").chars().take(300).collect();
    line.trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_of_no_memory_is_known_by_its_words() {
        let report = "An error happened during execution\nCaused by:\n  work was skipped\nCaused by:\n  out of device memory \
                      allocating 805306368 bytes\nBacktrace:\n   0: main";
        let error = PipelineError::of_device(report);
        assert!(matches!(error, PipelineError::TooLarge(_)), "{error}");
        let message = error.to_string();
        assert!(
            message.contains("(out of device memory allocating 805306368 bytes)"),
            "{message}"
        );
        assert!(message.contains("fewer frames"), "{message}");
        let public = error.public_message();
        assert!(
            public.contains("fewer frames") && !public.contains("805306368"),
            "{public}"
        );
    }

    #[test]
    fn other_failures_are_told_in_one_line() {
        let report = "An error happened during execution\nCaused by:\n  device lost.\nBacktrace:\n   0: main";
        assert_eq!(
            PipelineError::of_device(report).to_string(),
            "the device failed: device lost"
        );
        assert_eq!(
            PipelineError::of_device("").to_string(),
            "the device failed: it did not say why"
        );
    }
}
