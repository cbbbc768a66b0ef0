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
    worker::engine::{Engine, Entry, EntryKind},
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
    /// Adds a model, or what requests may add to models, under a name, and begins to open it: whether that goes well is in
    /// the log, and in [`Engine::names`], which it leaves again if not, and is told to `webhook`.
    ///
    /// # Errors
    /// A name, a source or a webhook that may not be.
    pub async fn load_model(&self, name: &str, entry: Entry, webhook: Option<String>) -> Result<(), ServiceError> {
        let mut faults = Faults::default();
        if let Some(url) = &webhook {
            faults.take(check_webhook(&self.webhooks, url.clone()).await)?;
        }
        let entry = faults.take(self.entry(name, entry))?;
        let entry = faults.or(entry)?;
        self.engine
            .add_model(name, &entry)
            .map_err(|fault| ServiceError::fault("url", format!("The url is not usable: {fault}.")))?;
        self.store.add_model(name, &entry.to_text()).await?;
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
    fn entry(&self, name: &str, entry: Entry) -> Result<Entry, ServiceError> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
        if name.is_empty() || name.len() > 100 || !name.chars().all(is_plain) {
            let fault = "The model id must be 1 to 100 letters, digits, `-`, `_`, `.` and `/`.";
            return Err(ServiceError::fault("model_id", fault));
        }
        let is_other = |(taken, kind): &(String, EntryKind)| taken == name && kind.is_model() != entry.kind.is_model();
        if self.engine.names().iter().any(is_other) {
            let fault = "The model id is the name of something of another kind: delete that first.";
            return Err(ServiceError::fault("model_id", fault));
        }
        let mut faults = Faults::default();
        let mut allowed = |field: &str, source: &str, may_be_hub: bool| {
            let source = self.allowed(source, may_be_hub && self.allow_hub);
            faults.take(
                source.map_err(|fault| ServiceError::fault(field, format!("The {} {fault}", field.replace('_', " ")))),
            )
        };
        let source = allowed("url", &entry.source, entry.kind == EntryKind::Model)?;
        let mut part = |field: &str, path: Option<String>| match path {
            Some(path) => allowed(field, &path, false),
            None => Ok(None),
        };
        let motion_adapter = part("motion_adapter", entry.motion_adapter)?;
        let config = part("config", entry.config)?;
        Ok(Entry {
            source: faults.or(source)?,
            kind: entry.kind,
            motion_adapter,
            config,
        })
    }

    /// What may be opened: a folder or file below one of the roots, where links lead, too; a hub id if that is allowed.
    fn allowed(&self, source: &str, is_hub_allowed: bool) -> Result<String, String> {
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
        match (is_id, is_hub_allowed) {
            (true, true) => Ok(id.to_owned()),
            // Whether there is such a folder elsewhere is not told.
            _ => Err("must be a folder or file below one of the server's model roots, or a hub id where the server allows these.".into()),
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
    let known = engine.names();
    for model in store.models().await? {
        let is_new = !known.iter().any(|(name, _)| *name == model.name);
        if is_new
            && let Err(reason) = Entry::from_text(&model.source).and_then(|entry| engine.add_model(&model.name, &entry))
        {
            tracing::warn!(model = model.name, reason, "a model cannot be used");
        }
    }
    Ok(())
}
