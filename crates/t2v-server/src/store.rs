//! Where jobs are kept: one trait, and a file for each database that implements it. Only below here is SQL.
//!
//! Every time is the database's: the clocks of the servers don't matter. What a worker does to a job is fenced by the
//! number of its attempt, so one that was stopped, lost its job to another and woke up again changes nothing.

#[cfg(test)]
mod contract_tests;
mod postgres;
mod rows;
mod sql;
mod sqlite;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
pub use postgres::PostgresStore;
pub use sqlite::SqliteStore;
use sqlx::{
    SqlSafeStr,
    migrate::{Migration, MigrationType, Migrator},
};
use t2v_pipeline::Speed;
use tokio::sync::broadcast;

use crate::{
    job::{Claim, Failure, Job, JobId, JobProgress, NewJob, Outcome, Timestamp},
    notice::Notice,
};

/// Why the database did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// It can't be reached, or refuses.
    #[error("the database cannot be used: {0}")]
    Database(#[from] sqlx::Error),
    /// Its tables can't be brought up to date.
    #[error("the database's tables cannot be brought up to date: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// Its address can't be used.
    #[error("the database `{url}` cannot be used: {reason}")]
    Url {
        /// The address, without its password.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A row holds what this program never writes.
    #[error("the database holds a damaged value in `{column}`: {reason}")]
    Damaged {
        /// The column.
        column: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

/// What the database takes.
pub type StoreResult<T> = Result<T, StoreError>;

/// How many jobs may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueLimits {
    /// Of one owner, queued or running.
    pub per_owner: u64,
    /// Of all, queued.
    pub total: u64,
}

/// What became of a submission.
#[derive(Debug, Clone)]
pub enum Submitted {
    /// A job of its own.
    New(Box<Job>),
    /// The job of an earlier, identical submission of the same name.
    Existing(Box<Job>),
    /// The name was given to something else before.
    Conflict,
    /// The owner has as many jobs as one may have.
    OwnerFull,
    /// The queue is full.
    QueueFull,
}

/// Who claims jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerName {
    /// The server, to which jobs can be pinned.
    pub server: String,
    /// Which of its workers.
    pub number: usize,
}

/// What a heartbeat tells the worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heartbeat {
    /// The job is still its own.
    Held {
        /// Whether its owner asked to stop it.
        cancel: bool,
    },
    /// The job is not its own any more: stop at once.
    Lost,
}

/// What a heartbeat tells of the job.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Live {
    /// How far it is.
    pub progress: Option<JobProgress>,
    /// A rough look at it.
    pub preview: Option<String>,
}

/// A part of a list of jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// The job that comes before the first one.
    pub after: Option<JobId>,
    /// The most jobs.
    pub limit: u32,
    /// Oldest first instead of newest first.
    pub ascending: bool,
}

/// A webhook to send now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueNotice {
    /// Its number.
    pub id: i64,
    /// The job that it tells of.
    pub job: JobId,
    /// Number of this attempt, from 1: the fence.
    pub attempt: i64,
    /// Where to.
    pub url: String,
    /// The body.
    pub body: String,
    /// Since when it is to be delivered.
    pub age: Duration,
}

/// How an attempt to deliver a webhook ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settlement {
    /// The receiver has it.
    Delivered,
    /// To be tried again after a while.
    Later(Duration, String),
    /// Given up, and why.
    GivenUp(String),
}

/// How many jobs there are of each kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Jobs that wait.
    pub queued: u64,
    /// Jobs that run.
    pub running: u64,
    /// Webhooks that are not delivered yet.
    pub undelivered: u64,
}

/// Jobs with one model, at one speed, that come before another job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ahead {
    /// The model.
    pub model: String,
    /// The speed.
    pub speed: Speed,
    /// How many wait.
    pub queued: u64,
    /// What those have to compute, as [`work`](crate::job::work) counts it.
    pub queued_work: u64,
    /// What those have to compute in all that run.
    pub running_work: u64,
}

/// A model that was added while the servers ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredModel {
    /// Its name.
    pub name: String,
    /// What it is, as [`Entry::to_text`](crate::worker::engine::Entry::to_text) has it.
    pub source: String,
    /// When it was added.
    pub added_at: Timestamp,
}

/// What changed, for those who wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// A job may be claimed.
    Queued,
    /// A job is asked to stop.
    Cancelling(JobId),
    /// A job ended.
    Finished(JobId),
}

/// Jobs, their webhooks, and the little else that must survive.
#[async_trait]
pub trait Store: Send + Sync {
    /// Changes that this process made or heard of: those who wait look again. They may get lost, so they look from time
    /// to time anyway.
    fn changes(&self) -> broadcast::Receiver<Change>;

    /// Whether several machines can use it.
    fn is_shared(&self) -> bool;

    /// Writes something that says nothing, if it can: a full disk is noticed.
    async fn ping(&self) -> StoreResult<()>;

    /// Takes a job in, or finds that of an identical submission.
    async fn submit(&self, job: &NewJob, limits: QueueLimits) -> StoreResult<Submitted>;

    /// A job, unless it is deleted.
    async fn job(&self, id: JobId) -> StoreResult<Option<Job>>;

    /// Jobs of an owner, and whether there are more.
    async fn list(&self, owner: &str, page: Page) -> StoreResult<(Vec<Job>, bool)>;

    /// The jobs that run, and the queued ones before this one, by model and speed.
    async fn ahead(&self, id: JobId) -> StoreResult<Vec<Ahead>>;

    /// Seconds that a model takes for a unit of [`work`](crate::job::work), over its last generations at a speed, or at any where
    /// there were none at that; `None`: there was none at all.
    async fn pace(&self, model: &str, speed: Speed) -> StoreResult<Option<f64>>;

    /// How many there are.
    async fn counts(&self) -> StoreResult<Counts>;

    /// Begins the job that has waited longest, if there is one that this worker may run.
    async fn claim(&self, worker: &WorkerName, lease: Duration) -> StoreResult<Option<Job>>;

    /// Keeps a job for another while, and tells how far it is.
    async fn heartbeat(&self, claim: Claim, lease: Duration, live: &Live) -> StoreResult<Heartbeat>;

    /// Ends a job and stores its webhook, both or neither. Whether the job still was the attempt's own.
    async fn finish(&self, claim: Claim, outcome: &Outcome, notice: Option<&Notice>) -> StoreResult<bool>;

    /// Hands a job back to the queue, to be begun again after `delay`, as if it had not been begun. Whether the job still
    /// was the attempt's own.
    async fn release(&self, claim: Claim, delay: Duration) -> StoreResult<bool>;

    /// Takes jobs from workers whose lease is over: back to the queue, or to their end where they had all their attempts.
    /// Fails queued jobs whose only server was not seen for `server_limit`. Returns the jobs that ended.
    async fn reap(&self, server_limit: Duration) -> StoreResult<Vec<JobId>>;

    /// Cancels a job of an owner: at once where it waits, else by asking its worker. The job as it is then.
    async fn cancel(&self, id: JobId, owner: &str) -> StoreResult<Option<Job>>;

    /// Cancels the queued jobs of an owner; how many.
    async fn cancel_queued(&self, owner: &str) -> StoreResult<u64>;

    /// Hides a job of an owner, which is cancelled if it has not ended. Whether there was one.
    async fn delete(&self, id: JobId, owner: &str) -> StoreResult<bool>;

    /// Jobs whose files are to be removed: deleted, expired, or the oldest ones beyond `most_bytes` in all; and those that
    /// ended without a video, which need what they started from no more.
    async fn removable(&self, most_bytes: Option<u64>, limit: u32) -> StoreResult<Vec<Job>>;

    /// Notes that the output of a job was removed; a deleted job is forgotten.
    async fn purged(&self, id: JobId) -> StoreResult<()>;

    /// Forgets up to `limit` jobs that ended longer than `age` ago, whose files are gone and whose webhook is not due any
    /// more, and settled webhooks of that age whose jobs are forgotten. How many jobs that were.
    async fn trim(&self, age: Duration, limit: u32) -> StoreResult<u64>;

    /// Whether an output belongs to a job.
    async fn is_output(&self, output: &str) -> StoreResult<bool>;

    /// The output of the job that has a link, once it is there and until it is removed.
    async fn linked_output(&self, link: &str) -> StoreResult<Option<String>>;

    /// Notes that a server is there, and tells how many were seen within `within`.
    async fn server_seen(&self, name: &str, within: Duration) -> StoreResult<u64>;

    /// The webhook that has waited longest, for `lease`; of one host no more than `per_host` at once.
    async fn due_notice(&self, lease: Duration, per_host: u32) -> StoreResult<Option<DueNotice>>;

    /// Notes how an attempt to deliver ended. Whether it still was the latest.
    async fn settle_notice(&self, id: i64, attempt: i64, settlement: &Settlement) -> StoreResult<bool>;

    /// A value that servers share.
    async fn setting(&self, name: &str) -> StoreResult<Option<String>>;

    /// Sets a value, unless it is set already; what it is then.
    async fn setting_or_insert(&self, name: &str, value: &str) -> StoreResult<String>;

    /// Sets a value.
    async fn set_setting(&self, name: &str, value: &str) -> StoreResult<()>;

    /// Models that were added while servers ran.
    async fn models(&self) -> StoreResult<Vec<StoredModel>>;

    /// Adds a model, or replaces it.
    async fn add_model(&self, name: &str, source: &str) -> StoreResult<()>;

    /// Forgets a model; whether there was one.
    async fn remove_model(&self, name: &str) -> StoreResult<bool>;
}

/// Opens the database at `url` (`sqlite://FILE`, `postgres://…`) and brings its tables up to date.
///
/// # Errors
/// An unknown kind of URL, a database that can't be reached, tables of a newer version.
pub async fn open(url: &str) -> StoreResult<Arc<dyn Store>> {
    match url.split_once(':').map(|(scheme, _)| scheme) {
        Some("sqlite") => Ok(Arc::new(SqliteStore::open(url).await?)),
        Some("postgres" | "postgresql") => Ok(Arc::new(PostgresStore::open(url).await?)),
        _ => Err(StoreError::Url {
            url: without_password(url),
            reason: "it must begin with `sqlite://` or `postgres://`".into(),
        }),
    }
}

/// Migrations by name, in their order. A file that was released is never changed.
fn migrations<const COUNT: usize>(files: [(&'static str, &'static str); COUNT]) -> Migrator {
    let migrations = files.into_iter().zip(1..).map(|((name, sql), number)| {
        Migration::new(number, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    });
    Migrator::with_migrations(migrations.collect())
}

/// A URL as messages and logs may show it.
fn without_password(url: &str) -> String {
    match url::Url::parse(url) {
        Ok(mut parsed) if parsed.password().is_some() => {
            // A URL with a host can have its password set.
            let _ = parsed.set_password(Some("…"));
            parsed.into()
        }
        _ => url.to_owned(),
    }
}

/// What becomes of a job whose worker was lost: its end, or `None` for the queue.
fn after_lost_worker(job: &Job) -> Option<Outcome> {
    if job.cancel_requested {
        return Some(Outcome::cancelled());
    }
    (job.attempt >= job.max_attempts).then(|| {
        let message = format!(
            "The generation was begun {} times, and each time its worker was lost before the end.",
            job.attempt
        );
        Outcome::Failed(Failure::new("worker_lost", message))
    })
}

/// The end of a job that only one server may run, which does not return.
fn server_lost() -> Outcome {
    let message = "The server that was to make the video has not been seen for too long; with `loadbalancer` \"yes\" \
                   another one could.";
    Outcome::Failed(Failure::new("server_lost", message))
}

/// A time as the statements take it.
fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4)
}
