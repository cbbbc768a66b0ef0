//! A generation on a thread of its own.

use std::{
    sync::{Arc, mpsc},
    thread::JoinHandle,
};

use crate::{CancelToken, GenerateOptions, Pipeline, PipelineError, Preview, Progress, TextToVideoRequest, Video};

/// What a job tells while it runs.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum JobEvent {
    /// How far it is.
    Progress(Progress),
    /// A rough look, where [`GenerateOptions::preview_every`] asks for it.
    Preview(Preview),
}

/// A generation under way on a thread of its own.
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
    events: mpsc::Receiver<JobEvent>,
    cancel: CancelToken,
    thread: JoinHandle<Result<Video, PipelineError>>,
}

impl Job {
    /// Starts a generation. Callbacks of `options` are called too, on the job's thread.
    ///
    /// A pipeline runs one generation at a time: further jobs wait for their turn.
    #[must_use]
    pub fn start(pipeline: Arc<Pipeline>, request: TextToVideoRequest, mut options: GenerateOptions<'static>) -> Self {
        let (sender, events) = mpsc::channel();
        let cancel = options.cancel.clone();
        let (mut on_progress, mut on_preview) = (options.on_progress.take(), options.on_preview.take());
        let previews = sender.clone();
        // A receiver that is gone has stopped listening, no more.
        options.on_progress = Some(Box::new(move |progress| {
            let _ = sender.send(JobEvent::Progress(progress));
            if let Some(callback) = &mut on_progress {
                callback(progress);
            }
        }));
        options.on_preview = Some(Box::new(move |preview| {
            let _ = previews.send(JobEvent::Preview(preview.clone()));
            if let Some(callback) = &mut on_preview {
                callback(preview);
            }
        }));
        let thread = std::thread::spawn(move || pipeline.generate_with(&request, options));
        Self { events, cancel, thread }
    }

    /// The events from now on: waits for each, and ends with the generation.
    pub fn events(&self) -> impl Iterator<Item = JobEvent> + '_ {
        self.events.iter()
    }

    /// The events that are there already.
    pub fn pending_events(&self) -> impl Iterator<Item = JobEvent> + '_ {
        self.events.try_iter()
    }

    /// Asks the generation to stop, which it does within one model call.
    pub fn cancel(&self) {
        self.cancel.cancel();
    }

    /// Whether [`wait`](Self::wait) would return at once.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for the video.
    ///
    /// # Errors
    /// As for [`Pipeline::generate_with`], and [`PipelineError::Panicked`].
    pub fn wait(self) -> Result<Video, PipelineError> {
        self.thread.join().unwrap_or_else(|panic| {
            let message = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let message = message.or_else(|| panic.downcast_ref::<String>().cloned());
            Err(PipelineError::Panicked(
                message.unwrap_or_else(|| "without a message".to_owned()),
            ))
        })
    }
}
