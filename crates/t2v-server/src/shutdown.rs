//! Stopping in order: first no new work, then, after a grace time or a second signal, no work at all.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// How far a shutdown is; clones are of the same one.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    draining: CancellationToken,
    aborting: CancellationToken,
}

impl Shutdown {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// No new work is taken from now on.
    pub fn drain(&self) {
        self.draining.cancel();
    }

    /// Work under way is handed back now.
    pub fn abort(&self) {
        self.draining.cancel();
        self.aborting.cancel();
    }

    /// Whether no new work is taken.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Waits until no new work is taken.
    pub async fn draining(&self) {
        self.draining.cancelled().await;
    }

    /// Waits until work under way is to be handed back.
    pub async fn aborting(&self) {
        self.aborting.cancelled().await;
    }

    /// Waits, but not beyond the begin of the shutdown; whether there is none.
    pub async fn sleep(&self, duration: Duration) -> bool {
        tokio::select! {
            () = tokio::time::sleep(duration) => true,
            () = self.draining() => false,
        }
    }
}

/// Begins the shutdown at the first SIGTERM or SIGINT, and has work handed back at the second.
pub async fn on_signals(shutdown: Shutdown) {
    signal().await;
    tracing::info!("stopping: work under way is finished");
    shutdown.drain();
    signal().await;
    tracing::info!("stopping at once: work under way is handed back");
    shutdown.abort();
}

/// Has work handed back that is not finished `grace` after the begin of the shutdown.
pub(crate) async fn after_grace(shutdown: Shutdown, grace: Duration) {
    shutdown.draining().await;
    tokio::time::sleep(grace).await;
    shutdown.abort();
}

#[cfg(unix)]
async fn signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut signals) => drop(signals.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = terminated => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

#[cfg(not(unix))]
async fn signal() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending().await
    }
}
