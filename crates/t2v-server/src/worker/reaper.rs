//! Jobs whose worker was lost, and those whose only server does not return.

use std::{sync::Arc, time::Duration};

use crate::{shutdown::Shutdown, store::Store};

/// Looks for them every `interval` until the shutdown. Every server does so; which one finds a job makes no difference.
pub(crate) async fn run(store: Arc<dyn Store>, interval: Duration, server_limit: Duration, shutdown: Shutdown) {
    while shutdown.sleep(interval).await {
        match store.reap(server_limit).await {
            Ok(ended) => {
                for job in ended {
                    tracing::warn!(%job, "a job ended without its worker");
                }
            }
            Err(error) => tracing::warn!(%error, "lost jobs cannot be looked for"),
        }
    }
}
