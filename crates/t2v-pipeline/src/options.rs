//! What a generation may be given besides its request.

use std::sync::Arc;

use crate::{CancelToken, InitMedia, Latents, PipelineError, Preview, Progress, PromptEnhancer, Speed};

/// A callback on the thread of the generation, or, while weights are read, on one beside it; never on two at once.
pub type Callback<'a, T> = Box<dyn FnMut(T) + Send + 'a>;
/// A callback that looks at what the generation lends it.
pub type Observer<'a, T, R = ()> = Box<dyn FnMut(&T) -> R + Send + 'a>;

/// What a generation may be given besides its request.
///
/// ```
/// use t2v_pipeline::{CancelToken, GenerateOptions};
///
/// let cancel = CancelToken::default();
/// let options = GenerateOptions::default()
///     .with_keep_on_cancel(true)
///     .with_cancel(cancel.clone())
///     .with_progress(|progress| println!("{}: {} of {}", progress.stage, progress.done, progress.total));
/// assert!(options.keep_on_cancel);
/// ```
#[derive(Default)]
#[non_exhaustive]
pub struct GenerateOptions<'a> {
    /// Pictures to start from.
    pub init: Option<InitMedia>,
    /// Completes the prompt instead of the checkpoint's own table or the built-in one, unless the request says not to.
    pub enhancer: Option<Arc<dyn PromptEnhancer>>,
    /// How much of the exactness is given for speed, where the request does not say.
    pub speed: Speed,
    /// Stops the generation.
    pub cancel: CancelToken,
    /// When cancelled: decode the newest estimate, or keep the frames decoded so far, and return those as the video,
    /// marked as [`interrupted`](crate::Report::interrupted). Without any of that, and by default, it is an error.
    pub keep_on_cancel: bool,
    /// Told how far the generation is: of what, and in which units, [`Progress`] says.
    pub on_progress: Option<Callback<'a, Progress>>,
    /// Model calls from one preview to the next; none without it.
    pub preview_every: Option<usize>,
    /// Given the previews.
    pub on_preview: Option<Observer<'a, Preview>>,
    /// Given the latents before they are decoded: what [`Pipeline::decode`](crate::Pipeline::decode) needs, should decoding fail. An error ends
    /// the generation.
    pub on_latents: Option<Observer<'a, Latents, Result<(), PipelineError>>>,
}

impl<'a> GenerateOptions<'a> {
    /// Sets [`init`](Self::init).
    #[must_use]
    pub fn with_init(mut self, init: InitMedia) -> Self {
        self.init = Some(init);
        self
    }

    /// Sets [`enhancer`](Self::enhancer).
    #[must_use]
    pub fn with_enhancer(mut self, enhancer: impl PromptEnhancer + 'static) -> Self {
        self.enhancer = Some(Arc::new(enhancer));
        self
    }

    /// Sets [`speed`](Self::speed).
    #[must_use]
    pub fn with_speed(mut self, speed: Speed) -> Self {
        self.speed = speed;
        self
    }

    /// Sets [`cancel`](Self::cancel).
    #[must_use]
    pub fn with_cancel(mut self, cancel: CancelToken) -> Self {
        self.cancel = cancel;
        self
    }

    /// Sets [`keep_on_cancel`](Self::keep_on_cancel).
    #[must_use]
    pub fn with_keep_on_cancel(mut self, keep_on_cancel: bool) -> Self {
        self.keep_on_cancel = keep_on_cancel;
        self
    }

    /// Sets [`on_progress`](Self::on_progress).
    #[must_use]
    pub fn with_progress(mut self, on_progress: impl FnMut(Progress) + Send + 'a) -> Self {
        self.on_progress = Some(Box::new(on_progress));
        self
    }

    /// Sets [`preview_every`](Self::preview_every) and [`on_preview`](Self::on_preview).
    #[must_use]
    pub fn with_previews(mut self, every: usize, on_preview: impl FnMut(&Preview) + Send + 'a) -> Self {
        self.preview_every = Some(every);
        self.on_preview = Some(Box::new(on_preview));
        self
    }

    /// Sets [`on_latents`](Self::on_latents).
    #[must_use]
    pub fn with_latents(mut self, on_latents: impl FnMut(&Latents) -> Result<(), PipelineError> + Send + 'a) -> Self {
        self.on_latents = Some(Box::new(on_latents));
        self
    }
}
