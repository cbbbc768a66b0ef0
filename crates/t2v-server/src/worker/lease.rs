//! The lease of a job, kept by heartbeats for as long as its attempt lasts.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{broadcast, watch},
    time::{Instant, MissedTickBehavior},
};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    job::Claim,
    store::{Change, Heartbeat, Live, Store},
};

/// Heartbeats in the time of a lease: some may get lost.
const BEATS: u32 = 6;
/// The longest time from one heartbeat to the next: they carry the progress.
const LONGEST_BEAT: Duration = Duration::from_secs(1);

/// What a lease has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The job is the attempt's own.
    Held,
    /// It is, and its owner asked to stop it.
    CancelRequested,
    /// It belongs to another attempt, or may do so by now.
    Lost,
}

/// A lease under way; dropping it ends the heartbeats.
pub(crate) struct Lease {
    standing: watch::Receiver<Standing>,
    _heart: AbortOnDropHandle<()>,
}

impl Lease {
    /// Keeps the lease of a claim, which is `time` long, and tells with it how far the job is.
    pub(crate) fn keep(store: Arc<dyn Store>, claim: Claim, time: Duration, live: watch::Receiver<Live>) -> Self {
        let (sender, standing) = watch::channel(Standing::Held);
        let heart = tokio::spawn(beat(store, claim, time, live, sender));
        Self {
            standing,
            _heart: AbortOnDropHandle::new(heart),
        }
    }

    /// Waits until it has come to something else than `known`.
    pub(crate) async fn changed(&mut self, known: Standing) -> Standing {
        let changed = self.standing.wait_for(|standing| *standing != known).await;
        if let Ok(standing) = changed.map(|standing| *standing) {
            return standing;
        }
        // Its last word stands.
        std::future::pending().await
    }
}

async fn beat(
    store: Arc<dyn Store>,
    claim: Claim,
    time: Duration,
    mut live: watch::Receiver<Live>,
    standing: watch::Sender<Standing>,
) {
    let mut changes = store.changes();
    // The claim was the first one.
    let period = (time / BEATS).min(LONGEST_BEAT);
    let mut ticks = tokio::time::interval_at(Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut held_at = Instant::now();
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = asked_to_stop(&mut changes, claim) => {}
        }
        let now = Instant::now();
        let news = match live.has_changed() {
            Ok(true) => live.borrow_and_update().clone(),
            _ => Live::default(),
        };
        match store.heartbeat(claim, time, &news).await {
            Ok(Heartbeat::Held { cancel }) => {
                held_at = now;
                if cancel {
                    standing.send_replace(Standing::CancelRequested);
                }
            }
            Ok(Heartbeat::Lost) => {
                standing.send_replace(Standing::Lost);
                return;
            }
            Err(error) => {
                tracing::warn!(job = %claim.id, %error, "a heartbeat failed");
                // Its clock began before the database's, so nobody has the job yet.
                if held_at.elapsed() >= time {
                    standing.send_replace(Standing::Lost);
                    return;
                }
            }
        }
    }
}

/// Waits for a change that concerns the job; where changes get lost, the next tick does.
async fn asked_to_stop(changes: &mut broadcast::Receiver<Change>, claim: Claim) {
    loop {
        match changes.recv().await {
            Ok(Change::Cancelling(id)) if id == claim.id => return,
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}
