//! Webhooks on their way: taken from the outbox, delivered, and settled there.

use std::{sync::Arc, time::Duration};

use t2v_pipeline::webhook::{Attempt, Clock, RetryPolicy, SystemClock, WebhookSender};
use tokio::sync::{Semaphore, broadcast::error::RecvError};

use crate::{
    metrics::Metrics,
    notice::message_id,
    shutdown::Shutdown,
    store::{DueNotice, Settlement, Store},
};

/// Deliveries at once.
const DELIVERIES: usize = 16;
/// Deliveries to one host at once.
const PER_HOST: u32 = 4;
/// How long a delivery is this server's: longer than an attempt may take.
const LEASE: Duration = Duration::from_secs(40);
/// How soon it is looked for what is due.
const POLL: Duration = Duration::from_secs(1);

/// Delivers webhooks.
pub struct Outbox {
    store: Arc<dyn Store>,
    sender: WebhookSender,
    retry: RetryPolicy,
    metrics: Arc<Metrics>,
}

impl Outbox {
    /// Delivers what is due in `store`, again after the waits of `retry`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, sender: WebhookSender, retry: RetryPolicy, metrics: Arc<Metrics>) -> Self {
        Self {
            store,
            sender,
            retry,
            metrics,
        }
    }

    /// Delivers until the shutdown, and then waits for what is under way.
    pub(crate) async fn run(self: Arc<Self>, shutdown: Shutdown) {
        let places = Arc::new(Semaphore::new(DELIVERIES));
        let mut changes = self.store.changes();
        while !shutdown.is_draining() {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                return;
            };
            match self.store.due_notice(LEASE, PER_HOST).await {
                Ok(Some(due)) => {
                    let outbox = Arc::clone(&self);
                    tokio::spawn(async move {
                        outbox.deliver(due).await;
                        drop(place);
                    });
                    continue;
                }
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "webhooks cannot be looked for"),
            }
            drop(place);
            tokio::select! {
                change = changes.recv() => if let Err(RecvError::Closed) = change { return },
                _ = shutdown.sleep(POLL) => {}
            }
        }
        tokio::select! {
            // All places are free when all is delivered.
            _ = places.acquire_many(DELIVERIES as u32) => {}
            // What is under way then is sent once more, under the same id.
            () = shutdown.aborting() => {}
        }
    }

    async fn deliver(&self, due: DueNotice) {
        let settlement = self.attempt(&due).await;
        match &settlement {
            Settlement::Delivered => tracing::info!(job = %due.job, attempt = due.attempt, "the webhook is delivered"),
            Settlement::Later(wait, reason) => {
                tracing::info!(job = %due.job, attempt = due.attempt, reason, ?wait, "the webhook is tried again");
            }
            Settlement::GivenUp(reason) => {
                tracing::warn!(job = %due.job, attempt = due.attempt, reason, "the webhook is given up");
            }
        }
        self.metrics.delivered(&settlement);
        // If this fails, its lease will be over, and it is sent once more under the same id.
        if let Err(error) = self.store.settle_notice(due.id, due.attempt, &settlement).await {
            tracing::warn!(job = %due.job, %error, "the delivery cannot be settled");
        }
    }

    async fn attempt(&self, due: &DueNotice) -> Settlement {
        let (sender, url, body) = (self.sender.clone(), due.url.clone(), due.body.clone());
        let id = message_id(due.job);
        let sent = tokio::task::spawn_blocking(move || sender.attempt_stored(&url, &id, body.as_bytes()));
        let (reason, retry_after) = match sent.await {
            Ok(Ok(Attempt::Delivered { .. })) => return Settlement::Delivered,
            Ok(Ok(Attempt::Failed { reason, retry_after })) => (reason, retry_after),
            Ok(Err(error)) => return Settlement::GivenUp(error.to_string()),
            Ok(Ok(_)) => ("the delivery ended in an unknown way".to_owned(), None),
            Err(error) => (error.to_string(), None),
        };
        let failed = u32::try_from(due.attempt).unwrap_or(u32::MAX);
        if failed >= self.retry.attempts {
            return Settlement::GivenUp(format!("{failed} attempts failed; at last: {reason}"));
        }
        let wait = self.retry.delay(failed, SystemClock.jitter());
        let asked = retry_after.unwrap_or_default().min(self.retry.longest_delay);
        Settlement::Later(wait.max(asked), reason)
    }
}
