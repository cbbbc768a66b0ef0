//! Workers: each claims one job at a time, has it made, and ends it.

pub mod engine;
mod lease;
pub(crate) mod reaper;

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use engine::{Engine, EngineError, Rendered, Task};
use lease::{Lease, Standing};
use t2v_pipeline::CancelToken;
use tokio::{sync::watch, time::Instant};
use tracing::Instrument;

use crate::{
    events::Events,
    health::Health,
    inputs::{InputError, Inputs},
    job::{Failure, Job, Outcome, Success},
    metrics::Metrics,
    notice::Notice,
    outputs::{Outputs, StorageError},
    shutdown::Shutdown,
    store::{Change, Live, Store, WorkerName},
    worker::engine::Variant,
};

/// How soon a worker without work looks for some, in case that nobody told it.
const POLL: Duration = Duration::from_secs(1);
/// How soon what failed for a passing reason is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How long an engine that was told to stop is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// How workers behave.
#[derive(Debug, Clone)]
pub struct WorkerSettings {
    /// The server that they are of.
    pub server: String,
    /// How long a job is a worker's without a heartbeat.
    pub lease: Duration,
    /// The longest generation.
    pub timeout: Duration,
    /// How long a job waits for what it can't be made without, before it is tried again.
    pub retry_delay: Duration,
}

/// What all workers of a server use.
pub struct Workshop {
    /// Where jobs are.
    pub store: Arc<dyn Store>,
    /// What makes videos.
    pub engine: Arc<dyn Engine>,
    /// Where videos go.
    pub outputs: Arc<Outputs>,
    /// Where what they start from is.
    pub inputs: Arc<Inputs>,
    /// Where it is told how far they are.
    pub events: Events,
    /// Whether there is anything that work is in vain without.
    pub health: Health,
    /// What is measured.
    pub metrics: Arc<Metrics>,
    /// How they behave.
    pub settings: WorkerSettings,
}

/// Works until the shutdown.
pub(crate) async fn run(shop: Arc<Workshop>, number: usize, shutdown: Shutdown) {
    let name = WorkerName {
        server: shop.settings.server.clone(),
        number,
    };
    let mut changes = shop.store.changes();
    while !shutdown.is_draining() {
        if !shop.health.can_work() {
            shutdown.sleep(RETRY).await;
            continue;
        }
        match shop.store.claim(&name, shop.settings.lease).await {
            Ok(Some(job)) => {
                let span = tracing::info_span!("job", id = %job.id, attempt = job.attempt);
                attempt(&shop, job, &shutdown).instrument(span).await;
            }
            Ok(None) => {
                tokio::select! {
                    () = queued(&mut changes) => {}
                    _ = shutdown.sleep(POLL) => {}
                }
            }
            Err(error) => {
                tracing::warn!(%error, "jobs cannot be claimed");
                shutdown.sleep(RETRY).await;
            }
        }
    }
}

/// Waits until a job may have been queued.
async fn queued(changes: &mut tokio::sync::broadcast::Receiver<Change>) {
    use tokio::sync::broadcast::error::RecvError;
    loop {
        match changes.recv().await {
            Ok(Change::Queued) | Err(RecvError::Lagged(_)) => return,
            Ok(_) => {}
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

/// Why an attempt was told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    Lost,
    Cancelled,
    TimedOut,
    Draining,
}

/// How an attempt ended.
enum End {
    Made(Box<Rendered>),
    Failed(Failure),
    Cancelled,
    /// To be begun again after a while.
    HandedBack(Duration),
    /// No longer this attempt's.
    Lost,
}

async fn attempt(shop: &Workshop, job: Job, shutdown: &Shutdown) {
    let began = Instant::now();
    tracing::info!("the generation begins");
    if let (1, Some(started)) = (job.attempt, job.started_at) {
        shop.metrics.waited(started.since(job.created_at));
    }
    let (told, live) = watch::channel(Live::default());
    let mut lease = Lease::keep(Arc::clone(&shop.store), job.claim(), shop.settings.lease, live.clone());
    let _heard = shop.events.publish(job.id, live);
    let folder = match tempfile::tempdir() {
        Ok(folder) => folder,
        Err(error) => {
            tracing::error!(%error, "there is no room for temporary files");
            hand_back(shop, &job, shop.settings.retry_delay).await;
            return;
        }
    };
    let end = make(shop, &job, folder.path().to_owned(), told, &mut lease, shutdown).await;
    match end {
        End::Made(rendered) => publish(shop, &job, *rendered, began, shutdown).await,
        End::Failed(failure) => {
            tracing::warn!(code = failure.code, "the generation failed");
            let notice = Notice::of_failure(&job, &failure);
            finish(shop, &job, &Outcome::Failed(failure), notice, shutdown).await;
        }
        End::Cancelled => {
            tracing::info!("the generation was cancelled");
            let outcome = Outcome::cancelled();
            let notice = match &outcome {
                Outcome::Cancelled(failure) => Notice::of_failure(&job, failure),
                _ => None,
            };
            finish(shop, &job, &outcome, notice, shutdown).await;
        }
        End::HandedBack(delay) => hand_back(shop, &job, delay).await,
        End::Lost => tracing::warn!("the job was lost to another attempt"),
    }
}

/// Has the video made, and stops that where somebody wishes it.
async fn make(
    shop: &Workshop,
    job: &Job,
    folder: std::path::PathBuf,
    told: watch::Sender<Live>,
    lease: &mut Lease,
    shutdown: &Shutdown,
) -> End {
    let init = match &job.init {
        None => None,
        Some(init) => match shop.inputs.load(init).await {
            Ok(media) => Some(media),
            Err(InputError::Storage(StorageError::Unavailable(reason))) => {
                tracing::warn!(reason, "what the job starts from cannot be read now");
                return End::HandedBack(shop.settings.retry_delay);
            }
            Err(_) => {
                let message = "What the video was to start from is not there any more.";
                return End::Failed(Failure::new("generation_failed", message));
            }
        },
    };
    let cancel = CancelToken::new();
    let mut rendering = start(shop, job, init, folder, told, cancel.clone());
    let timeout = tokio::time::sleep(shop.settings.timeout);
    tokio::pin!(timeout);
    let stop = tokio::select! {
        rendered = &mut rendering => return without_stop(shop, flatten(rendered)),
        standing = lease.changed(Standing::Held) => match standing {
            Standing::CancelRequested => Stop::Cancelled,
            _ => Stop::Lost,
        },
        () = &mut timeout => Stop::TimedOut,
        () = shutdown.aborting() => Stop::Draining,
    };
    cancel.cancel();
    let rendered = tokio::time::timeout(PATIENCE, rendering).await;
    match (stop, rendered) {
        (Stop::Lost, _) => End::Lost,
        (Stop::Draining, Ok(Ok(Ok(rendered)))) => End::Made(Box::new(rendered)),
        (Stop::Draining, _) => End::HandedBack(Duration::ZERO),
        (Stop::Cancelled, _) => End::Cancelled,
        (Stop::TimedOut, _) => {
            let message = format!(
                "The generation took longer than {} seconds.",
                shop.settings.timeout.as_secs()
            );
            End::Failed(Failure::new("timeout", message))
        }
    }
}

type Rendering = tokio::task::JoinHandle<Result<Rendered, EngineError>>;

fn start(
    shop: &Workshop,
    job: &Job,
    init: Option<t2v_pipeline::InitMedia>,
    folder: std::path::PathBuf,
    told: watch::Sender<Live>,
    cancel: CancelToken,
) -> Rendering {
    let (engine, metrics) = (Arc::clone(&shop.engine), Arc::clone(&shop.metrics));
    let (request, variants) = (job.request.clone(), Variant::of(job.output_type, job.samples));
    let mut step_began = Instant::now();
    let mut steps = 0;
    let on_live = move |live: Live| {
        if let Some(progress) = live.progress.as_ref().filter(|progress| progress.stage == "denoising") {
            if progress.done == steps + 1 {
                metrics.stepped(step_began.elapsed());
            }
            (steps, step_began) = (progress.done, Instant::now());
        }
        told.send_modify(|latest| {
            latest.progress = live.progress.or(latest.progress.take());
            latest.preview = live.preview.or(latest.preview.take());
        });
    };
    let span = tracing::Span::current();
    tokio::task::spawn_blocking(move || {
        let task = Task {
            request,
            init,
            folder,
            variants,
            cancel,
            on_live: Box::new(on_live),
        };
        let render = AssertUnwindSafe(|| span.in_scope(|| engine.render(task)));
        std::panic::catch_unwind(render).unwrap_or_else(|_| {
            Err(EngineError::Failed {
                public: "The generation failed by a fault of this program.".into(),
                detail: "the engine panicked".into(),
            })
        })
    })
}

fn flatten(rendered: Result<Result<Rendered, EngineError>, tokio::task::JoinError>) -> Result<Rendered, EngineError> {
    rendered.unwrap_or_else(|error| {
        Err(EngineError::Failed {
            public: "The generation failed by a fault of this program.".into(),
            detail: error.to_string(),
        })
    })
}

/// What an engine came to that nobody told to stop.
fn without_stop(shop: &Workshop, rendered: Result<Rendered, EngineError>) -> End {
    match rendered {
        Ok(rendered) => End::Made(Box::new(rendered)),
        Err(EngineError::Unavailable(reason)) => {
            tracing::warn!(reason, "the generation waits for what it cannot be made without");
            End::HandedBack(shop.settings.retry_delay)
        }
        Err(EngineError::Cancelled) => End::Cancelled,
        Err(EngineError::Failed { public, detail }) => {
            tracing::error!(detail, "the engine failed");
            End::Failed(Failure::new("generation_failed", public))
        }
        Err(error @ (EngineError::Request(_) | EngineError::UnknownModel(_))) => {
            End::Failed(Failure::new("generation_failed", error.to_string()))
        }
    }
}

/// Stores the files under the attempt's own name, then ends the job, which publishes the name.
async fn publish(shop: &Workshop, job: &Job, rendered: Rendered, began: Instant, shutdown: &Shutdown) {
    let name = Outputs::draw_name();
    let bytes = match shop.outputs.write(&name, &rendered.files).await {
        Ok(bytes) => bytes,
        Err(error) => {
            tracing::error!(%error, "the video cannot be stored");
            shop.health.storage_failed(&error.to_string());
            remove(shop, &name).await;
            hand_back(shop, job, shop.settings.retry_delay).await;
            return;
        }
    };
    let success = Success {
        output: name.clone(),
        bytes,
        report: rendered.report,
        generation_time: began.elapsed().as_secs_f64(),
    };
    let urls = shop
        .outputs
        .urls(&name, &Variant::answered(job.output_type, job.samples));
    let notice = Notice::of_success(job, &success, urls);
    if finish(shop, job, &Outcome::Succeeded(Box::new(success)), notice, shutdown).await {
        tracing::info!(seconds = began.elapsed().as_secs_f64(), "the video is ready");
    } else if matches!(shop.store.is_output(&name).await, Ok(false)) {
        // Had the answer alone been lost, the job would have it.
        remove(shop, &name).await;
    }
}

/// Ends a job, however long the database takes, unless the server has to stop; whether it was still the attempt's own.
async fn finish(shop: &Workshop, job: &Job, outcome: &Outcome, notice: Option<Notice>, shutdown: &Shutdown) -> bool {
    loop {
        match shop.store.finish(job.claim(), outcome, notice.as_ref()).await {
            Ok(is_own) => {
                if is_own {
                    shop.metrics.ended(outcome);
                }
                return is_own;
            }
            Err(error) => tracing::warn!(%error, "the end of the job cannot be stored yet"),
        }
        tokio::select! {
            () = tokio::time::sleep(RETRY) => {}
            () = shutdown.aborting() => return false,
        }
    }
}

async fn hand_back(shop: &Workshop, job: &Job, delay: Duration) {
    match shop.store.release(job.claim(), delay).await {
        Ok(_) => tracing::info!(?delay, "the job is back in the queue"),
        // Its lease will be over.
        Err(error) => tracing::warn!(%error, "the job cannot be handed back"),
    }
}

async fn remove(shop: &Workshop, name: &str) {
    if let Err(error) = shop.outputs.remove(name).await {
        tracing::warn!(%error, "a file that belongs to no job cannot be removed yet");
    }
}
