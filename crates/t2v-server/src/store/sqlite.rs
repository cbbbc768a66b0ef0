//! SQLite, for one machine: a file, one connection that writes and a few that read.

use std::{path::Path, str::FromStr, time::Duration};

use sqlx::{
    Connection, Row, Sqlite, SqliteConnection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use t2v_pipeline::Speed;
use tokio::sync::broadcast;

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
        create_private(options.get_filename()).map_err(sqlx::Error::Io)?;
        let options = options
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY);
        let pool = |size| {
            SqlitePoolOptions::new()
                .max_connections(size)
                .acquire_timeout(ACQUIRE)
                .after_release(|connection, _| Box::pin(is_usable(connection)))
        };
        let writes = pool(1).connect_with(options.clone()).await?;
        migrations(MIGRATIONS).run(&writes).await?;
        let reads = pool(READERS).connect_with(options.read_only(true)).await?;
        let (changes, _) = broadcast::channel(CHANGES);
        Ok(Self { reads, writes, changes })
    }

    async fn announce(&self, change: Change) {
        // Nobody may be listening.
        let _ = self.changes.send(change);
    }
}

/// Whether a connection can be used again. When the disk is full, SQLite may roll a transaction back by itself; sqlx's own
/// rollback fails then, and it takes the transaction for open ever after: nothing could be written any more.
async fn is_usable(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    // A rollback that is under way comes before the answer.
    connection.ping().await?;
    Ok(!connection.is_in_transaction())
}

/// Creates the file for its owner alone where there is none: prompts and secrets are in it. SQLite gives the files beside it the
/// same rights. One that is there keeps its own.
#[cfg(unix)]
fn create_private(file: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    // What is in memory has no file.
    if ["file:", ":memory:"]
        .iter()
        .any(|name| file.to_string_lossy().starts_with(name))
    {
        return Ok(());
    }
    let created = std::fs::OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(file);
    match created {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

#[cfg(not(unix))]
fn create_private(_file: &Path) -> std::io::Result<()> {
    Ok(())
}

/// The tables, step by step.
const MIGRATIONS: [(&str, &str); 4] = [
    ("jobs", include_str!("../../migrations/sqlite/0001_jobs.sql")),
    ("work", include_str!("../../migrations/sqlite/0002_work.sql")),
    ("samples", include_str!("../../migrations/sqlite/0003_samples.sql")),
    ("speed", include_str!("../../migrations/sqlite/0004_speed.sql")),
];

impl_store!(
    SqliteStore,
    Sqlite,
    shared = false,
    now = "CAST(unixepoch('subsec') * 1000 AS INTEGER)",
    begin = "BEGIN IMMEDIATE",
    skip_locked = ""
);
