//! A generation on a thread of its own.

use std::{sync::Arc, thread::JoinHandle};

use crossbeam_channel::{Receiver, TrySendError};

use crate::{
    CancelToken, GenerateOptions, Pipeline, PipelineError, Preview, Progress, TextToVideoRequest, Video,
    error::panic_message,
};

/// What a job tells while it runs.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum JobEvent {
    /// How far it is.
    Progress(Progress),
    /// A rough look, where [`GenerateOptions::preview_every`] asks for it.
    Preview(Preview),
}

/// Events that wait to be read; of more, the oldest are dropped, so a job that nobody listens to needs no memory for them.
const KEPT_EVENTS: usize = 64;

/// A generation under way on a thread of its own. Dropping it cancels the generation, whose video nobody could have.
///
/// ```no_run
/// use std::sync::Arc;
/// use t2v_pipeline::{Device, GenerateOptions, Job, Pipeline, TextToVideoRequest};
///
/// # fn main() -> Result<(), t2v_pipeline::PipelineError> {
/// let pipeline = Arc::new(Pipeline::embedded(&Device::flex())?);
/// let job = Job::start(pipeline, TextToVideoRequest::new("a red ball"), GenerateOptions::default());
/// for event in job.events() {
///     println!("{event:?}");
/// }
/// job.wait()?.save("ball.mp4")?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Job {
    events: Receiver<JobEvent>,
    cancel: CancelToken,
    thread: Option<JoinHandle<Result<Video, PipelineError>>>,
}

impl Job {
    /// Starts a generation. Callbacks of `options` are called too, on the job's thread or beside it
    /// ([`Callback`](crate::Callback)), and its token cancels the job.
    ///
    /// A pipeline runs one generation at a time: further jobs wait for their turn.
    #[must_use = "dropping a job cancels it"]
    pub fn start(pipeline: Arc<Pipeline>, request: TextToVideoRequest, mut options: GenerateOptions<'static>) -> Self {
        let (sender, events) = crossbeam_channel::bounded(KEPT_EVENTS);
        options.cancel = options.cancel.child_token();
        let cancel = options.cancel.clone();
        let (mut on_progress, mut on_preview) = (options.on_progress.take(), options.on_preview.take());
        let kept = events.clone();
        let send = move |mut event| {
            while let Err(TrySendError::Full(unsent)) = sender.try_send(event) {
                let _oldest = kept.try_recv();
                event = unsent;
            }
        };
        let send_preview = send.clone();
        options.on_progress = Some(Box::new(move |progress| {
            send(JobEvent::Progress(progress));
            if let Some(callback) = &mut on_progress {
                callback(progress);
            }
        }));
        options.on_preview = Some(Box::new(move |preview| {
            send_preview(JobEvent::Preview(preview.clone()));
            if let Some(callback) = &mut on_preview {
                callback(preview);
            }
        }));
        let thread = std::thread::spawn(move || pipeline.generate_with(&request, options));
        Self {
            events,
            cancel,
            thread: Some(thread),
        }
    }

    /// The events from now on: waits for each, and ends with the generation. Of more than 64 that wait to be read, the
    /// oldest are left out.
    pub fn events(&self) -> impl Iterator<Item = JobEvent> + '_ {
        self.events.iter()
    }

    /// The events that are there already.
    pub fn pending_events(&self) -> impl Iterator<Item = JobEvent> + '_ {
        self.events.try_iter()
    }

    /// Asks the generation to stop, which it does within one model call, and at once while it waits for its turn.
    pub fn cancel(&self) {
        self.cancel.cancel();
    }

    /// Whether [`wait`](Self::wait) would return at once.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits for the video.
    ///
    /// # Errors
    /// As for [`Pipeline::generate_with`], and [`PipelineError::Panicked`].
    pub fn wait(mut self) -> Result<Video, PipelineError> {
        let Some(thread) = self.thread.take() else {
            return Err(PipelineError::Cancelled);
        };
        thread
            .join()
            .unwrap_or_else(|panic| Err(PipelineError::Panicked(panic_message(&*panic))))
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}
