//! SQLite, for one machine: a file, one connection that writes and a few that read.

use std::{str::FromStr, time::Duration};

use sqlx::{
    Row, SqlSafeStr, Sqlite, SqlitePool,
    migrate::{Migration, MigrationType, Migrator},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::sync::broadcast;

use super::{
    Change, Counts, DueNotice, Heartbeat, Live, Page, QueueLimits, Settlement, Store, StoreError, StoreResult,
    StoredModel, Submitted, WorkerName, millis,
    rows::{self, to_json},
    sql::impl_store,
    without_password,
};
use crate::{
    job::{Claim, Job, JobId, NewJob, Outcome, State, Timestamp},
    notice::Notice,
};

/// How long a statement waits for another process that writes.
const BUSY: Duration = Duration::from_secs(10);
/// How long a request waits for a connection.
const ACQUIRE: Duration = Duration::from_secs(10);
const READERS: u32 = 4;
/// Changes that a slow listener may be behind.
const CHANGES: usize = 1024;

/// Jobs in a file.
#[derive(Debug)]
pub struct SqliteStore {
    reads: SqlitePool,
    /// Of one connection: SQLite has one writer, and who waits for it waits here, in order.
    writes: SqlitePool,
    changes: broadcast::Sender<Change>,
}

impl SqliteStore {
    /// Opens the database at `sqlite://FILE`, or creates it, and brings its tables up to date.
    ///
    /// # Errors
    /// A file that can't be read and written, or that a newer version has used.
    pub async fn open(url: &str) -> StoreResult<Self> {
        let options = SqliteConnectOptions::from_str(url).map_err(|error| StoreError::Url {
            url: without_password(url),
            reason: error.to_string(),
        })?;
        // A commit is on the disk when it returns: what was accepted outlives a power cut.
        let options = options
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY);
        let pool = |size| SqlitePoolOptions::new().max_connections(size).acquire_timeout(ACQUIRE);
        let writes = pool(1).connect_with(options.clone()).await?;
        migrations().run(&writes).await?;
        let reads = pool(READERS).connect_with(options.read_only(true)).await?;
        let (changes, _) = broadcast::channel(CHANGES);
        Ok(Self { reads, writes, changes })
    }

    async fn announce(&self, change: Change) {
        // Nobody may be listening.
        let _ = self.changes.send(change);
    }
}

fn migrations() -> Migrator {
    let sql = include_str!("../../migrations/sqlite/0001_jobs.sql").into_sql_str();
    Migrator::with_migrations(vec![Migration::new(
        1,
        "jobs".into(),
        MigrationType::Simple,
        sql,
        false,
    )])
}

impl_store!(
    SqliteStore,
    Sqlite,
    shared = false,
    now = "CAST(unixepoch('subsec') * 1000 AS INTEGER)",
    begin = "BEGIN IMMEDIATE",
    skip_locked = ""
);
