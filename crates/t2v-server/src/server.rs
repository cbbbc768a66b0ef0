//! The wiring: a configuration becomes a server that runs.

mod identity;

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use chrono::Utc;
use t2v_pipeline::{
    Placement,
    webhook::{Fetcher, RetryPolicy, WebhookSender},
};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    admin::{Admin, STORAGE_SETTING, take_stored_models},
    api::{self, App},
    config::Config,
    events::Events,
    health::Health,
    inputs::Inputs,
    limits::Limits,
    metrics::Metrics,
    models::Models,
    outbox::Outbox,
    outputs::{self, Outputs, StorageSettings},
    retention::Retention,
    service::{SERVER_SEEN, Service, ServiceSettings},
    shutdown::{Shutdown, after_grace},
    store::{self, QueueLimits, Store, StoreError},
    worker::{self, WorkerSettings, Workshop, engine::Engine, reaper},
};

/// How often a server tells that it is there, and takes in models that others added.
const PRESENCE: Duration = Duration::from_secs(5);
/// How often it is looked for what is not to be kept.
const RETENTION: Duration = Duration::from_secs(60);
/// How long a job waits for what it can't be made without, before it is tried again.
const RETRY_DELAY: Duration = Duration::from_secs(10);
/// How long answers under way are waited for when the server has stopped working.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The data folder can't be used.
    #[error("the data folder cannot be used: {0}")]
    DataFolder(std::io::Error),
    /// The address can't be listened at.
    #[error("cannot listen at {address}: {reason}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        reason: std::io::Error,
    },
    /// The database can't be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The storage can't be used.
    #[error(transparent)]
    Storage(#[from] outputs::StorageError),
    /// A model can't be used.
    #[error("{0}")]
    Model(String),
    /// The device can't be used.
    #[error(transparent)]
    Device(#[from] t2v_pipeline::PipelineError),
    /// A key or a secret can't be used.
    #[error("{0}")]
    Key(String),
}

/// A server that runs.
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    /// Where clients find it.
    pub public_url: String,
    /// The key that was drawn for it, if this is the first start and none was given: it is not told again.
    pub new_key: Option<String>,
    /// Stops it.
    pub shutdown: Shutdown,
    /// What clients can have done.
    pub service: Arc<Service>,
    work: JoinSet<()>,
    answers: tokio::task::JoinHandle<()>,
    _grace: AbortOnDropHandle<()>,
}

impl Server {
    /// Starts a server with the models of its configuration.
    ///
    /// # Errors
    /// What the configuration asks for in vain.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let device = config.device.device()?;
        config.dtype.on(&device)?;
        let placement = Placement::new(&device).with_dtype(config.dtype);
        let models = Models::new(placement, config.default_model.clone());
        for (name, entry) in &config.models {
            models
                .add_model(name, entry)
                .map_err(|fault| StartError::Model(format!("`{name}` cannot be used: {fault}")))?;
        }
        Self::start_with(config, Arc::new(models)).await
    }

    /// Starts a server with an engine of one's own.
    ///
    /// # Errors
    /// As for [`start`](Self::start).
    pub async fn start_with(config: Config, engine: Arc<dyn Engine>) -> Result<Self, StartError> {
        std::fs::create_dir_all(&config.data_dir).map_err(StartError::DataFolder)?;
        let name = match &config.name {
            Some(name) => name.clone(),
            None => identity::server_name(&config.data_dir).map_err(StartError::DataFolder)?,
        };
        let store = store::open(&config.database).await?;
        let (keys, new_key) = identity::keys(&config, store.as_ref()).await?;
        let secret = identity::webhook_secret(&config, store.as_ref()).await?;
        let listener = listen(config.listen).await?;
        let address = listener.local_addr().map_err(|reason| StartError::Listen {
            address: config.listen,
            reason,
        })?;
        let public_url = config.public_url.clone().unwrap_or_else(|| format!("http://{address}"));
        let outputs = Arc::new(open_outputs(&config, store.as_ref(), &public_url).await?);
        take_stored_models(store.as_ref(), engine.as_ref()).await?;
        store.server_seen(&name, SERVER_SEEN).await?;

        let parts = Parts {
            name,
            store,
            engine,
            outputs,
            events: Events::new(),
            health: Health::new(),
            metrics: Arc::new(Metrics::new()),
            shutdown: Shutdown::new(),
        };
        parts
            .health
            .look(parts.store.as_ref(), &parts.outputs, &parts.engine)
            .await;
        let (sender, fetcher) = guarded_clients(&config);
        let inputs = Arc::new(Inputs::new(Arc::clone(&parts.outputs), fetcher));
        let service = Arc::new(parts.service(&config, Arc::clone(&inputs), sender.clone()));
        let app = Arc::new(App {
            service: Arc::clone(&service),
            admin: parts.admin(&config, sender.clone().with_secret(secret.clone())),
            keys,
            limits: Limits::new(),
            health: parts.health.clone(),
            metrics: Arc::clone(&parts.metrics),
            public_url: public_url.clone(),
            wait: config.wait,
            body_limit: config.body_limit,
            started_at: Utc::now().timestamp(),
        });
        let work = parts.work(&config, inputs, sender.with_secret(secret));
        let answers = tokio::spawn(answer(listener, app, parts.shutdown.clone()));
        let grace = tokio::spawn(after_grace(parts.shutdown.clone(), config.grace));
        Ok(Self {
            address,
            public_url,
            new_key,
            _grace: AbortOnDropHandle::new(grace),
            shutdown: parts.shutdown,
            service,
            work,
            answers,
        })
    }

    /// Waits until the server has stopped, which [`shutdown`](Self::shutdown) begins.
    pub async fn stopped(mut self) {
        while self.work.join_next().await.is_some() {}
        if tokio::time::timeout(LAST_ANSWERS, self.answers).await.is_err() {
            tracing::warn!("some answers were not waited for");
        }
    }
}

/// What the parts of a server share.
struct Parts {
    name: String,
    store: Arc<dyn Store>,
    engine: Arc<dyn Engine>,
    outputs: Arc<Outputs>,
    events: Events,
    health: Health,
    metrics: Arc<Metrics>,
    shutdown: Shutdown,
}

impl Parts {
    fn service(&self, config: &Config, inputs: Arc<Inputs>, webhooks: WebhookSender) -> Service {
        Service {
            store: Arc::clone(&self.store),
            engine: Arc::clone(&self.engine),
            outputs: Arc::clone(&self.outputs),
            inputs,
            events: self.events.clone(),
            webhooks,
            shutdown: self.shutdown.clone(),
            settings: ServiceSettings {
                server: self.name.clone(),
                workers: config.workers,
                max_attempts: config.max_attempts,
                limits: QueueLimits {
                    per_owner: config.queued_per_key,
                    total: config.queued,
                },
                keep: config.keep,
            },
        }
    }

    fn admin(&self, config: &Config, webhooks: WebhookSender) -> Admin {
        Admin {
            store: Arc::clone(&self.store),
            engine: Arc::clone(&self.engine),
            outputs: Arc::clone(&self.outputs),
            webhooks,
            shutdown: self.shutdown.clone(),
            model_roots: config.model_roots.clone(),
            allow_hub: config.allow_hub,
            allow_restart: config.allow_restart,
        }
    }

    /// Begins everything that goes on beside the answers.
    fn work(&self, config: &Config, inputs: Arc<Inputs>, sender: WebhookSender) -> JoinSet<()> {
        let shop = Arc::new(Workshop {
            store: Arc::clone(&self.store),
            engine: Arc::clone(&self.engine),
            outputs: Arc::clone(&self.outputs),
            inputs,
            events: self.events.clone(),
            health: self.health.clone(),
            metrics: Arc::clone(&self.metrics),
            settings: WorkerSettings {
                server: self.name.clone(),
                lease: config.lease,
                timeout: config.timeout,
                retry_delay: RETRY_DELAY.min(config.lease),
            },
        });
        let shutdown = || self.shutdown.clone();
        let mut work = JoinSet::new();
        for number in 0..config.workers {
            work.spawn(worker::run(Arc::clone(&shop), number, shutdown()));
        }
        let reaping = (config.lease / 3).max(Duration::from_millis(100));
        work.spawn(reaper::run(
            Arc::clone(&self.store),
            reaping,
            config.server_limit,
            shutdown(),
        ));
        let outbox = Outbox::new(
            Arc::clone(&self.store),
            sender,
            RetryPolicy::for_a_day(),
            Arc::clone(&self.metrics),
        );
        work.spawn(Arc::new(outbox).run(shutdown()));
        let retention = Retention {
            store: Arc::clone(&self.store),
            outputs: Arc::clone(&self.outputs),
            most_bytes: config.keep_bytes,
            keep_jobs: config.keep_jobs,
        };
        work.spawn(retention.run(RETENTION, shutdown()));
        work.spawn(self.health.clone().watch(
            Arc::clone(&self.store),
            Arc::clone(&self.outputs),
            Arc::clone(&self.engine),
            shutdown(),
        ));
        work.spawn(presence(
            self.name.clone(),
            Arc::clone(&self.store),
            Arc::clone(&self.engine),
            shutdown(),
        ));
        work
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address)
        .await
        .map_err(|reason| StartError::Listen { address, reason })
}

/// The storage: that of the configuration, behind the one that took its place while servers ran.
async fn open_outputs(config: &Config, store: &dyn Store, public_url: &str) -> Result<Outputs, StartError> {
    let outputs = Outputs::new(outputs::open(&config.storage)?, public_url);
    if let Some(json) = store.setting(STORAGE_SETTING).await? {
        let settings: StorageSettings = serde_json::from_str(&json).map_err(|error| StoreError::Damaged {
            column: "settings",
            reason: error.to_string(),
        })?;
        outputs.move_to(outputs::open(&settings)?);
    }
    Ok(outputs)
}

/// What sends webhooks, still without a secret, and what fetches files.
fn guarded_clients(config: &Config) -> (WebhookSender, Fetcher) {
    let (sender, fetcher) = (WebhookSender::new(), Fetcher::new());
    match config.allow_private_webhooks {
        true => (
            sender.with_http_allowed().with_private_addresses_allowed(),
            fetcher.with_http_allowed().with_private_addresses_allowed(),
        ),
        false => (sender, fetcher),
    }
}

/// Tells that the server is there, and takes in models that others added.
async fn presence(name: String, store: Arc<dyn Store>, engine: Arc<dyn Engine>, shutdown: Shutdown) {
    while shutdown.sleep(PRESENCE).await {
        let seen = store.server_seen(&name, SERVER_SEEN).await;
        let taken = take_stored_models(store.as_ref(), engine.as_ref()).await;
        if let Err(error) = seen.map(drop).and(taken) {
            tracing::warn!(%error, "the server cannot tell that it is there");
        }
    }
}

async fn answer(listener: TcpListener, app: Arc<App>, shutdown: Shutdown) {
    let served =
        axum::serve(listener, api::router(app)).with_graceful_shutdown(async move { shutdown.draining().await });
    if let Err(error) = served.await {
        tracing::error!(%error, "the server cannot answer any more");
    }
}

/// Writes a file so that it is there whole or not at all.
fn write_whole(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write;
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}
