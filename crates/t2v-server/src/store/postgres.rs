//! PostgreSQL, for any number of machines.

use std::{str::FromStr, time::Duration};

use sqlx::{
    PgPool, Postgres, Row,
    postgres::{PgConnectOptions, PgListener, PgPoolOptions},
};
use t2v_pipeline::Speed;
use tokio::sync::broadcast;
use tokio_util::task::AbortOnDropHandle;

use super::{
    Ahead, Change, Counts, DueNotice, Heartbeat, Live, Page, QueueLimits, Settlement, Store, StoreError, StoreResult,
    StoredModel, Submitted, WorkerName, migrations, millis,
    rows::{self, to_json},
    sql::impl_store,
    without_password,
};
use crate::{
    job::{Claim, Job, JobId, NewJob, Outcome, State, Timestamp, work},
    notice::Notice,
};

/// How long a request waits for a connection.
const ACQUIRE: Duration = Duration::from_secs(10);
const CONNECTIONS: u32 = 16;
/// Changes that a slow listener may be behind.
const CHANGES: usize = 1024;
/// The channel of NOTIFY, which only wakes: whoever misses a message polls.
const CHANNEL: &str = "t2v_changes";
/// How soon the listener tries again after its connection broke.
const RECONNECT: Duration = Duration::from_secs(1);

/// Jobs in PostgreSQL.
#[derive(Debug)]
pub struct PostgresStore {
    reads: PgPool,
    writes: PgPool,
    changes: broadcast::Sender<Change>,
    _listener: AbortOnDropHandle<()>,
}

impl PostgresStore {
    /// Connects to `postgres://…` and brings its tables up to date.
    ///
    /// # Errors
    /// A database that can't be reached, or that a newer version has used.
    pub async fn open(url: &str) -> StoreResult<Self> {
        let options = PgConnectOptions::from_str(url).map_err(|error| StoreError::Url {
            url: without_password(url),
            reason: error.to_string(),
        })?;
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(ACQUIRE)
            .connect_with(options)
            .await?;
        migrations(MIGRATIONS).run(&pool).await?;
        let (changes, _) = broadcast::channel(CHANGES);
        let listener = tokio::spawn(listen(pool.clone(), changes.clone()));
        Ok(Self {
            reads: pool.clone(),
            writes: pool,
            changes,
            _listener: AbortOnDropHandle::new(listener),
        })
    }

    async fn announce(&self, change: Change) {
        // Nobody may be listening here, and the others poll.
        let _ = self.changes.send(change);
        let notified = sqlx::query("SELECT pg_notify($1, $2)")
            .bind(CHANNEL)
            .bind(payload(change))
            .execute(&self.writes)
            .await;
        if let Err(error) = notified {
            tracing::warn!(%error, "other servers were not told of a change");
        }
    }
}

/// Passes on what other servers announce, for as long as the process lives.
async fn listen(pool: PgPool, changes: broadcast::Sender<Change>) {
    loop {
        if let Err(error) = pass_on(&pool, &changes).await {
            tracing::warn!(%error, "the database does not tell of changes; they are found by polling");
        }
        tokio::time::sleep(RECONNECT).await;
    }
}

async fn pass_on(pool: &PgPool, changes: &broadcast::Sender<Change>) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(CHANNEL).await?;
    loop {
        if let Some(change) = read(listener.recv().await?.payload()) {
            let _ = changes.send(change);
        }
    }
}

fn payload(change: Change) -> String {
    match change {
        Change::Queued => "queued".to_owned(),
        Change::Cancelling(id) => format!("cancelling {id}"),
        Change::Finished(id) => format!("finished {id}"),
    }
}

fn read(payload: &str) -> Option<Change> {
    match payload.split_once(' ') {
        None => (payload == "queued").then_some(Change::Queued),
        Some(("cancelling", id)) => id.parse().ok().map(Change::Cancelling),
        Some(("finished", id)) => id.parse().ok().map(Change::Finished),
        Some(_) => None,
    }
}

/// The tables, step by step.
const MIGRATIONS: [(&str, &str); 4] = [
    ("jobs", include_str!("../../migrations/postgres/0001_jobs.sql")),
    ("work", include_str!("../../migrations/postgres/0002_work.sql")),
    ("samples", include_str!("../../migrations/postgres/0003_samples.sql")),
    ("speed", include_str!("../../migrations/postgres/0004_speed.sql")),
];

impl_store!(
    PostgresStore,
    Postgres,
    shared = true,
    now = "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)",
    begin = "BEGIN",
    skip_locked = " FOR UPDATE SKIP LOCKED"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_told_and_understood() {
        for change in [Change::Queued, Change::Cancelling(JobId(7)), Change::Finished(JobId(8))] {
            assert_eq!(read(&payload(change)), Some(change));
        }
        for nonsense in ["", "finished", "finished x", "restarted 7"] {
            assert_eq!(read(nonsense), None);
        }
    }
}
