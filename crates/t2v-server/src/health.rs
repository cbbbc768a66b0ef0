//! What a server needs, and whether it has it: looked at again and again.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::Serialize;

use crate::{outputs::Outputs, shutdown::Shutdown, store::Store, worker::engine::Engine};

/// How often it is looked at.
const INTERVAL: Duration = Duration::from_secs(5);
/// How long each part may take to answer.
const PATIENCE: Duration = Duration::from_secs(4);

/// What a server needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// Jobs are there.
    Database,
    /// Videos go there.
    Storage,
    /// Videos come from there.
    Models,
    /// Work is taken.
    Accepting,
}

/// Whether a server has what it needs; clones are of the same server.
#[derive(Debug, Clone, Default)]
pub struct Health {
    faults: Arc<Mutex<BTreeMap<Part, String>>>,
}

impl Health {
    /// All is well.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What is wrong, by part.
    #[must_use]
    pub fn faults(&self) -> BTreeMap<Part, String> {
        self.lock().clone()
    }

    /// Whether a generation would not be in vain. Where one model is missing, those of others are not.
    #[must_use]
    pub fn can_work(&self) -> bool {
        !self.lock().contains_key(&Part::Storage)
    }

    /// Notes that the storage refused, which the next look may find mended.
    pub(crate) fn storage_failed(&self, reason: &str) {
        self.note(Part::Storage, Err(reason.to_owned()));
    }

    fn note(&self, part: Part, found: Result<(), String>) {
        let mut faults = self.lock();
        match found {
            Ok(()) => {
                if faults.remove(&part).is_some() {
                    tracing::info!(?part, "what was missing is back");
                }
            }
            Err(reason) => {
                if faults.insert(part, reason.clone()).is_none() {
                    tracing::error!(?part, reason, "what is needed is missing");
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Part, String>> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at every part now.
    pub async fn look(&self, store: &dyn Store, outputs: &Outputs, engine: &Arc<dyn Engine>) {
        let engine = Arc::clone(engine);
        let models = tokio::task::spawn_blocking(move || engine.check());
        let (database, storage, models) = tokio::join!(
            patiently(async { store.ping().await.map_err(|error| error.to_string()) }),
            patiently(async { outputs.probe().await.map_err(|error| error.to_string()) }),
            patiently(async { models.await.unwrap_or_else(|error| Err(error.to_string())) }),
        );
        self.note(Part::Database, database);
        self.note(Part::Storage, storage);
        self.note(Part::Models, models);
    }

    /// Looks at every part until the shutdown, from which on no work is taken.
    pub(crate) async fn watch(
        self,
        store: Arc<dyn Store>,
        outputs: Arc<Outputs>,
        engine: Arc<dyn Engine>,
        shutdown: Shutdown,
    ) {
        while shutdown.sleep(INTERVAL).await {
            self.look(store.as_ref(), &outputs, &engine).await;
        }
        self.lock().insert(Part::Accepting, "the server is stopping".into());
    }
}

async fn patiently(look: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    let late = format!("no answer within {} seconds", PATIENCE.as_secs());
    tokio::time::timeout(PATIENCE, look).await.unwrap_or(Err(late))
}
