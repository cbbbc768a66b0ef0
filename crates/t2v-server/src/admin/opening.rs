//! A model that is being opened, and who is told how that ended.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use t2v_pipeline::webhook::{Attempt, Clock, RetryPolicy, SystemClock, WebhookSender};
use uuid::Uuid;

use crate::{store::Store, worker::engine::Engine};

/// A model that was added and is not open yet.
pub(super) struct Opening {
    pub(super) engine: Arc<dyn Engine>,
    pub(super) store: Arc<dyn Store>,
    pub(super) name: String,
    /// The webhook, and what sends it. Unlike those of jobs it is lost if the server stops before it is delivered.
    pub(super) told: Option<(WebhookSender, String)>,
}

impl Opening {
    /// Opens the model, or takes it away again, and tells.
    pub(super) async fn run(self) {
        let opened = self.open().await;
        if let Err(reason) = &opened {
            tracing::error!(
                model = self.name,
                reason,
                "the model cannot be opened and is taken away again"
            );
            self.engine.remove_model(&self.name);
            if let Err(error) = self.store.remove_model(&self.name).await {
                tracing::warn!(model = self.name, %error, "the model cannot be forgotten");
            }
        } else {
            tracing::info!(model = self.name, "the model is open");
        }
        if let Some((sender, url)) = self.told {
            deliver(&sender, &url, &message(&self.name, opened.is_ok())).await;
        }
    }

    async fn open(&self) -> Result<(), String> {
        let (engine, name) = (Arc::clone(&self.engine), self.name.clone());
        let opened = tokio::task::spawn_blocking(move || engine.open_model(&name)).await;
        opened.unwrap_or_else(|error| Err(error.to_string()))
    }
}

/// What the webhook says. Why a model cannot be opened is in the log: paths of this machine are in it.
fn message(model: &str, is_open: bool) -> Value {
    match is_open {
        true => json!({"status": "success", "message": "model loaded", "model_id": model}),
        false => json!({"status": "failed", "message": "The model cannot be opened.", "model_id": model}),
    }
}

/// Delivers a message: four attempts within two minutes, under one id.
async fn deliver(sender: &WebhookSender, url: &str, message: &Value) {
    let (id, policy) = (format!("msg_{}", Uuid::new_v4().simple()), RetryPolicy::default());
    for failed in 1..=policy.attempts {
        let (sender, url, id, body) = (sender.clone(), url.to_owned(), id.clone(), message.to_string());
        let sent = tokio::task::spawn_blocking(move || sender.attempt_stored(&url, &id, body.as_bytes())).await;
        let wait = match sent {
            Ok(Ok(Attempt::Delivered { .. })) => return tracing::info!("the webhook of a model is delivered"),
            Ok(Ok(Attempt::Failed { reason, retry_after })) => {
                tracing::info!(reason, "the webhook of a model failed");
                retry_after.unwrap_or_default().min(policy.longest_delay)
            }
            Ok(Err(error)) => return tracing::warn!(%error, "the webhook of a model is given up"),
            _ => Duration::ZERO,
        };
        if failed < policy.attempts {
            tokio::time::sleep(wait.max(policy.delay(failed, SystemClock.jitter()))).await;
        }
    }
    tracing::warn!("the webhook of a model is given up");
}
