//! What only keys with the right to it can have done: models, the storage, the server itself.

mod opening;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use opening::Opening;
use t2v_pipeline::webhook::WebhookSender;

use crate::{
    faults::Faults,
    outputs::{self, Outputs, StorageError, StorageSettings},
    service::{ServiceError, check_webhook},
    shutdown::Shutdown,
    store::{Store, StoreError, StoredModel},
    worker::engine::Engine,
};

/// The setting that has a storage which was changed while servers ran.
pub(crate) const STORAGE_SETTING: &str = "storage";

/// How long a new storage may take to prove that it can be written to.
const STORAGE_PATIENCE: Duration = Duration::from_secs(8);

/// Changes the server.
pub struct Admin {
    /// Where models and settings are kept.
    pub store: Arc<dyn Store>,
    /// Where models are used.
    pub engine: Arc<dyn Engine>,
    /// Where videos go.
    pub outputs: Arc<Outputs>,
    /// What tells that a model is open.
    pub webhooks: WebhookSender,
    /// Stops the server.
    pub shutdown: Shutdown,
    /// Folders below which models may be opened.
    pub model_roots: Vec<PathBuf>,
    /// Whether models of the hub may be opened.
    pub allow_hub: bool,
    /// Whether something starts the server again when it stops.
    pub allow_restart: bool,
}

impl Admin {
    /// Adds a model under a name, and begins to open it: whether that goes well is in the log, and in
    /// [`Engine::models`], which the model leaves again if not, and is told to `webhook`.
    ///
    /// # Errors
    /// A name, a source or a webhook that may not be.
    pub async fn load_model(&self, name: &str, source: &str, webhook: Option<String>) -> Result<(), ServiceError> {
        let mut faults = Faults::default();
        if let Some(url) = &webhook {
            faults.take(check_webhook(&self.webhooks, url.clone()).await)?;
        }
        let source = faults.take(self.source(name, source))?;
        let source = faults.or(source)?;
        self.engine
            .add_model(name, &source)
            .map_err(|fault| ServiceError::fault("url", format!("The url is not usable: {fault}.")))?;
        self.store.add_model(name, &source).await?;
        tokio::spawn(
            Opening {
                engine: Arc::clone(&self.engine),
                store: Arc::clone(&self.store),
                name: name.to_owned(),
                told: webhook.map(|url| (self.webhooks.clone(), url)),
            }
            .run(),
        );
        Ok(())
    }

    /// What is to be opened under a name.
    fn source(&self, name: &str, source: &str) -> Result<String, ServiceError> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
        if name.is_empty() || name.len() > 100 || !name.chars().all(is_plain) {
            let fault = "The model id must be 1 to 100 letters, digits, `-`, `_`, `.` and `/`.";
            return Err(ServiceError::fault("model_id", fault));
        }
        self.allowed(source).map_err(|fault| ServiceError::fault("url", fault))
    }

    /// What may be opened: a folder below one of the roots, where links lead, too; a hub id if that is allowed.
    fn allowed(&self, source: &str) -> Result<String, String> {
        let local = source.strip_prefix("file://").unwrap_or(source);
        if let Ok(folder) = Path::new(local).canonicalize() {
            let is_below = |root: &PathBuf| root.canonicalize().is_ok_and(|root| folder.starts_with(root));
            if self.model_roots.iter().any(is_below) {
                return Ok(folder.display().to_string());
            }
        }
        let id = source
            .strip_prefix("https://huggingface.co/")
            .unwrap_or(source)
            .trim_end_matches('/');
        let mut parts = id.split('/');
        let is_id = parts
            .next()
            .is_some_and(|owner| !owner.is_empty() && !owner.starts_with(['.', '~']))
            && parts
                .next()
                .is_some_and(|name| !name.is_empty() && !name.starts_with('.'))
            && parts.next().is_none();
        match (is_id, self.allow_hub) {
            (true, true) => Ok(id.to_owned()),
            // Whether there is such a folder elsewhere is not told.
            _ => Err(
                "The url must be a folder below one of the server's model roots, or a hub id where the server \
                      allows these."
                    .into(),
            ),
        }
    }

    /// Takes a model away.
    ///
    /// # Errors
    /// There is none of the name.
    pub async fn delete_model(&self, name: &str) -> Result<(), ServiceError> {
        let was_stored = self.store.remove_model(name).await?;
        match self.engine.remove_model(name) || was_stored {
            true => Ok(()),
            false => Err(ServiceError::UnknownModel),
        }
    }

    /// Takes in models that other servers added; the names of all.
    ///
    /// # Errors
    /// A database that is gone.
    pub async fn sync_models(&self) -> Result<Vec<String>, ServiceError> {
        take_stored_models(self.store.as_ref(), self.engine.as_ref()).await?;
        Ok(self.engine.models())
    }

    /// Models that were added while servers ran.
    ///
    /// # Errors
    /// A database that is gone.
    pub async fn stored_models(&self) -> Result<Vec<StoredModel>, ServiceError> {
        Ok(self.store.models().await?)
    }

    /// Writes videos to another storage from now on, after a restart, too, if it can be written to. Its credentials are kept in
    /// the database as they are.
    ///
    /// # Errors
    /// An address or credentials that don't do.
    pub async fn change_storage(&self, settings: &StorageSettings) -> Result<(), ServiceError> {
        let fault = |error: StorageError| match error {
            StorageError::NotFound => {
                ServiceError::fault("bucket_name", "The bucket name is not that of a bucket there.")
            }
            other => ServiceError::fault("endpoint_url", format!("{other}.")),
        };
        let store = outputs::open(settings).map_err(fault)?;
        let tried = Outputs::new(Arc::clone(&store), "");
        match tokio::time::timeout(STORAGE_PATIENCE, tried.probe()).await {
            Ok(probed) => probed.map_err(fault)?,
            Err(_) => return Err(ServiceError::fault("endpoint_url", "The endpoint url does not answer.")),
        }
        let json = serde_json::to_string(settings).map_err(|error| ServiceError::Unavailable(error.to_string()))?;
        self.store.set_setting(STORAGE_SETTING, &json).await?;
        self.outputs.move_to(store);
        Ok(())
    }

    /// Drops loaded models, which are loaded again when they are needed.
    pub fn clear_cache(&self) {
        self.engine.clear_cache();
    }

    /// Stops the server in order, if something starts it again; whether it does.
    #[must_use]
    pub fn restart(&self) -> bool {
        if self.allow_restart {
            self.shutdown.drain();
        }
        self.allow_restart
    }
}

/// Takes in models that were added while servers ran.
pub(crate) async fn take_stored_models(store: &dyn Store, engine: &dyn Engine) -> Result<(), StoreError> {
    let known = engine.models();
    for model in store.models().await? {
        if !known.contains(&model.name)
            && let Err(reason) = engine.add_model(&model.name, &model.source)
        {
            tracing::warn!(model = model.name, reason, "a model cannot be used");
        }
    }
    Ok(())
}
