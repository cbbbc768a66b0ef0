//! The statements, which both databases understand, and how they make up the trait.
//!
//! What differs is given by each database's file: its clock, how a transaction that writes begins, and how a row is taken
//! that another transaction holds.

/// Implements [`Store`](super::Store) for a type with the pools `reads` and `writes` and with `announce`.
///
/// `now`: milliseconds since 1970. `begin`: a transaction that will write. `skip_locked`: passes over rows that others hold.
macro_rules! impl_store {
    ($store:ty, $database:ty, shared = $shared:literal, now = $now:literal, begin = $begin:literal,
     skip_locked = $skip_locked:literal) => {
        impl $store {
            /// Ends a job within a transaction, whose webhook is stored with it; the job, where it was in `from`.
            async fn end(
                connection: &mut <$database as sqlx::Database>::Connection,
                claim: crate::job::Claim,
                from: crate::job::State,
                outcome: &crate::job::Outcome,
            ) -> StoreResult<bool> {
                debug_assert!(from.may_become(outcome.state()));
                let (output, bytes, time) = match outcome {
                    crate::job::Outcome::Succeeded(success) => (
                        Some(success.output.as_str()),
                        i64::try_from(success.bytes).unwrap_or(i64::MAX),
                        Some((success.generation_time * 1e3) as i64),
                    ),
                    _ => (None, 0, None),
                };
                let done = sqlx::query(concat!(
                    "UPDATE jobs SET state = $4, outcome = $5, output = $6, output_bytes = $7, generation_ms = $8, \
                     finished_at = ", $now, ", expires_at = ", $now, " + keep_ms, lease_until = NULL, preview = NULL \
                     WHERE id = $1 AND attempt = $2 AND state = $3",
                ))
                .bind(claim.id.0)
                .bind(claim.attempt)
                .bind(from.name())
                .bind(outcome.state().name())
                .bind(to_json("outcome", outcome)?)
                .bind(output)
                .bind(bytes)
                .bind(time)
                .execute(connection)
                .await?;
                Ok(done.rows_affected() == 1)
            }

            async fn store_notice(
                connection: &mut <$database as sqlx::Database>::Connection,
                job: JobId,
                notice: Option<&Notice>,
            ) -> StoreResult<()> {
                let Some(notice) = notice else {
                    return Ok(());
                };
                sqlx::query(concat!(
                    "INSERT INTO outbox (job_id, url, host, body, next_at, created_at) \
                     VALUES ($1, $2, $3, $4, ", $now, ", ", $now, ") ON CONFLICT (job_id) DO NOTHING",
                ))
                .bind(job.0)
                .bind(&notice.url)
                .bind(&notice.host)
                .bind(&notice.body)
                .execute(connection)
                .await?;
                Ok(())
            }

            /// Ends a job without a video, and tells its webhook.
            async fn end_without_video(
                connection: &mut <$database as sqlx::Database>::Connection,
                job: &Job,
                outcome: &Outcome,
            ) -> StoreResult<()> {
                if Self::end(connection, job.claim(), job.state, outcome).await?
                    && let Outcome::Failed(failure) | Outcome::Cancelled(failure) = outcome
                {
                    let notice = Notice::of_failure(job, failure);
                    Self::store_notice(connection, job.id, notice.as_ref()).await?;
                }
                Ok(())
            }

            /// The job that has a name already, where it was submitted under one.
            async fn same_name(
                connection: &mut <$database as sqlx::Database>::Connection,
                job: &NewJob,
            ) -> StoreResult<Option<Submitted>> {
                let Some(name) = &job.idempotency else {
                    return Ok(None);
                };
                let row = sqlx::query("SELECT * FROM jobs WHERE owner = $1 AND idempotency_key = $2")
                    .bind(&job.owner)
                    .bind(&name.key)
                    .fetch_optional(connection)
                    .await?;
                let Some(row) = row else {
                    return Ok(None);
                };
                let digest: Option<String> = row.try_get("idempotency_digest")?;
                Ok(Some(match digest.as_deref() == Some(name.digest.as_str()) {
                    true => Submitted::Existing(Box::new(rows::job(&row)?)),
                    false => Submitted::Conflict,
                }))
            }

            /// What is full, if anything.
            async fn full(
                connection: &mut <$database as sqlx::Database>::Connection,
                owner: &str,
                limits: QueueLimits,
            ) -> StoreResult<Option<Submitted>> {
                let row = sqlx::query(
                    "SELECT COUNT(*) AS own, \
                     (SELECT COUNT(*) FROM jobs WHERE state = 'queued') AS queued \
                     FROM jobs WHERE owner = $1 AND state IN ('queued', 'running')",
                )
                .bind(owner)
                .fetch_one(connection)
                .await?;
                let count = |column| -> StoreResult<u64> { Ok(u64::try_from(row.try_get::<i64, _>(column)?).unwrap_or(0)) };
                Ok(match (count("own")? >= limits.per_owner, count("queued")? >= limits.total) {
                    (true, _) => Some(Submitted::OwnerFull),
                    (_, true) => Some(Submitted::QueueFull),
                    _ => None,
                })
            }
        }

        #[async_trait::async_trait]
        impl Store for $store {
            fn changes(&self) -> broadcast::Receiver<Change> {
                self.changes.subscribe()
            }

            fn is_shared(&self) -> bool {
                $shared
            }

            async fn ping(&self) -> StoreResult<()> {
                // A row of no server, changed each time: SQLite writes nothing that stays as it is.
                sqlx::query(
                    "INSERT INTO servers (name, seen_at) VALUES ('', 0) \
                     ON CONFLICT (name) DO UPDATE SET seen_at = 1 - servers.seen_at",
                )
                .execute(&self.writes)
                .await?;
                Ok(())
            }

            async fn submit(&self, job: &NewJob, limits: QueueLimits) -> StoreResult<Submitted> {
                let mut transaction = self.writes.begin_with($begin).await?;
                if let Some(found) = Self::same_name(&mut transaction, job).await? {
                    return Ok(found);
                }
                if let Some(full) = Self::full(&mut transaction, &job.owner, limits).await? {
                    return Ok(full);
                }
                let row = sqlx::query(concat!(
                    "INSERT INTO jobs (owner, state, model, request, parameters, init, pinned_to, idempotency_key, \
                     idempotency_digest, max_attempts, keep_ms, work, speed, output_type, link, samples, created_at) \
                     VALUES ($1, 'queued', $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, ", $now, ") \
                     ON CONFLICT (owner, idempotency_key) DO NOTHING RETURNING *",
                ))
                .bind(&job.owner)
                .bind(&job.parameters.model_id)
                .bind(to_json("request", &job.request)?)
                .bind(to_json("parameters", &job.parameters)?)
                .bind(job.init.as_ref().map(|init| to_json("init", init)).transpose()?)
                .bind(&job.pinned_to)
                .bind(job.idempotency.as_ref().map(|name| &name.key))
                .bind(job.idempotency.as_ref().map(|name| &name.digest))
                .bind(i64::from(job.max_attempts))
                .bind(job.keep.map(millis))
                .bind(i64::try_from(work(&job.parameters, job.samples)).unwrap_or(i64::MAX))
                .bind(job.parameters.speed.to_string())
                .bind(job.output_type.name())
                .bind(&job.link)
                .bind(i64::from(job.samples))
                .fetch_optional(&mut *transaction)
                .await?;
                let Some(row) = row else {
                    // Another transaction was first with the name.
                    let found = Self::same_name(&mut transaction, job).await?;
                    return found.ok_or(StoreError::Damaged {
                        column: "idempotency_key",
                        reason: "it is both there and not there".into(),
                    });
                };
                let job = rows::job(&row)?;
                transaction.commit().await?;
                self.announce(Change::Queued).await;
                Ok(Submitted::New(Box::new(job)))
            }

            async fn job(&self, id: JobId) -> StoreResult<Option<Job>> {
                let row = sqlx::query("SELECT * FROM jobs WHERE id = $1 AND deleted_at IS NULL")
                    .bind(id.0)
                    .fetch_optional(&self.reads)
                    .await?;
                row.as_ref().map(rows::job).transpose()
            }

            async fn list(&self, owner: &str, page: Page) -> StoreResult<(Vec<Job>, bool)> {
                let (statement, start) = match page.ascending {
                    true => (
                        "SELECT * FROM jobs WHERE owner = $1 AND id > $2 AND deleted_at IS NULL ORDER BY id LIMIT $3",
                        0,
                    ),
                    false => (
                        "SELECT * FROM jobs WHERE owner = $1 AND id < $2 AND deleted_at IS NULL \
                         ORDER BY id DESC LIMIT $3",
                        i64::MAX,
                    ),
                };
                let rows = sqlx::query(statement)
                    .bind(owner)
                    .bind(page.after.map_or(start, |id| id.0))
                    .bind(i64::from(page.limit) + 1)
                    .fetch_all(&self.reads)
                    .await?;
                let has_more = rows.len() > page.limit as usize;
                let jobs = rows.iter().take(page.limit as usize).map(rows::job);
                Ok((jobs.collect::<StoreResult<_>>()?, has_more))
            }

            async fn ahead(&self, id: JobId) -> StoreResult<Vec<Ahead>> {
                let rows = sqlx::query(
                    "SELECT model, speed, CAST(SUM(queued) AS BIGINT) AS queued, CAST(SUM(queued_work) AS BIGINT) AS queued_work, \
                     CAST(SUM(running_work) AS BIGINT) AS running_work FROM (\
                     SELECT model, speed, 1 AS queued, work AS queued_work, 0 AS running_work FROM jobs \
                     WHERE state = 'queued' AND id < $1 \
                     UNION ALL SELECT model, speed, 0, 0, work FROM jobs WHERE state = 'running') AS ahead GROUP BY model, speed",
                )
                .bind(id.0)
                .fetch_all(&self.reads)
                .await?;
                let ahead = |row: &<$database as sqlx::Database>::Row| -> StoreResult<Ahead> {
                    let number = |column| -> StoreResult<u64> { Ok(u64::try_from(row.try_get::<i64, _>(column)?).unwrap_or(0)) };
                    Ok(Ahead {
                        model: row.try_get("model")?,
                        speed: row.try_get::<String, _>("speed")?.parse().unwrap_or_default(),
                        queued: number("queued")?,
                        queued_work: number("queued_work")?,
                        running_work: number("running_work")?,
                    })
                };
                rows.iter().map(ahead).collect()
            }

            async fn pace(&self, model: &str, speed: Speed) -> StoreResult<Option<f64>> {
                for any in [false, true] {
                    let row = sqlx::query(
                        "SELECT CAST(SUM(generation_ms) AS BIGINT) AS time, CAST(SUM(work) AS BIGINT) AS work FROM \
                         (SELECT generation_ms, work FROM jobs WHERE state = 'succeeded' AND model = $1 AND work > 0 \
                         AND (speed = $2 OR $3) ORDER BY finished_at DESC LIMIT 20) AS latest",
                    )
                    .bind(model)
                    .bind(speed.to_string())
                    .bind(any)
                    .fetch_one(&self.reads)
                    .await?;
                    let (time, work): (Option<i64>, Option<i64>) = (row.try_get("time")?, row.try_get("work")?);
                    if let Some((time, work)) = time.zip(work) {
                        return Ok(Some(time as f64 / 1e3 / work as f64));
                    }
                }
                Ok(None)
            }

            async fn counts(&self) -> StoreResult<Counts> {
                let row = sqlx::query(
                    "SELECT (SELECT COUNT(*) FROM jobs WHERE state = 'queued') AS queued, \
                     (SELECT COUNT(*) FROM jobs WHERE state = 'running') AS running, \
                     (SELECT COUNT(*) FROM outbox WHERE state IN ('pending', 'sending')) AS undelivered",
                )
                .fetch_one(&self.reads)
                .await?;
                let count = |column| -> StoreResult<u64> { Ok(u64::try_from(row.try_get::<i64, _>(column)?).unwrap_or(0)) };
                Ok(Counts {
                    queued: count("queued")?,
                    running: count("running")?,
                    undelivered: count("undelivered")?,
                })
            }

            async fn claim(&self, worker: &WorkerName, lease: Duration) -> StoreResult<Option<Job>> {
                let row = sqlx::query(concat!(
                    "UPDATE jobs SET state = 'running', attempt = attempt + 1, worker = $1, lease_until = ", $now, " + $2, \
                     started_at = COALESCE(started_at, ", $now, "), progress = NULL, preview = NULL \
                     WHERE id = (SELECT id FROM jobs WHERE state = 'queued' AND not_before <= ", $now, " \
                     AND (pinned_to IS NULL OR pinned_to = $3) ORDER BY id LIMIT 1", $skip_locked, ") RETURNING *",
                ))
                .bind(format!("{}/{}", worker.server, worker.number))
                .bind(millis(lease))
                .bind(&worker.server)
                .fetch_optional(&self.writes)
                .await?;
                row.as_ref().map(rows::job).transpose()
            }

            async fn heartbeat(&self, claim: Claim, lease: Duration, live: &Live) -> StoreResult<Heartbeat> {
                let progress = live.progress.as_ref().map(|progress| to_json("progress", progress));
                let row = sqlx::query(concat!(
                    "UPDATE jobs SET lease_until = ", $now, " + $3, progress = COALESCE($4, progress), \
                     preview = COALESCE($5, preview) \
                     WHERE id = $1 AND attempt = $2 AND state = 'running' RETURNING cancel_requested",
                ))
                .bind(claim.id.0)
                .bind(claim.attempt)
                .bind(millis(lease))
                .bind(progress.transpose()?)
                .bind(&live.preview)
                .fetch_optional(&self.writes)
                .await?;
                match row {
                    Some(row) => Ok(Heartbeat::Held {
                        cancel: rows::first::<_, i64>(&row)? != 0,
                    }),
                    None => Ok(Heartbeat::Lost),
                }
            }

            async fn finish(&self, claim: Claim, outcome: &Outcome, notice: Option<&Notice>) -> StoreResult<bool> {
                let mut transaction = self.writes.begin_with($begin).await?;
                let is_own = Self::end(&mut transaction, claim, State::Running, outcome).await?;
                if is_own {
                    Self::store_notice(&mut transaction, claim.id, notice).await?;
                    transaction.commit().await?;
                    self.announce(Change::Finished(claim.id)).await;
                }
                Ok(is_own)
            }

            async fn release(&self, claim: Claim, delay: Duration) -> StoreResult<bool> {
                let done = sqlx::query(concat!(
                    "UPDATE jobs SET state = 'queued', lease_until = NULL, max_attempts = max_attempts + 1, \
                     not_before = ", $now, " + $3, progress = NULL, preview = NULL \
                     WHERE id = $1 AND attempt = $2 AND state = 'running'",
                ))
                .bind(claim.id.0)
                .bind(claim.attempt)
                .bind(millis(delay))
                .execute(&self.writes)
                .await?;
                self.announce(Change::Queued).await;
                Ok(done.rows_affected() == 1)
            }

            async fn reap(&self, server_limit: Duration) -> StoreResult<Vec<JobId>> {
                let mut transaction = self.writes.begin_with($begin).await?;
                let expired = sqlx::query(concat!(
                    "SELECT * FROM jobs WHERE state = 'running' AND lease_until < ", $now, " \
                     ORDER BY lease_until, id LIMIT 100",
                    $skip_locked,
                ))
                .fetch_all(&mut *transaction)
                .await?;
                let (mut ended, mut requeued) = (Vec::new(), false);
                for row in &expired {
                    let job = rows::job(row)?;
                    let outcome = match super::after_lost_worker(&job) {
                        Some(outcome) => outcome,
                        None => {
                            sqlx::query(
                                "UPDATE jobs SET state = 'queued', lease_until = NULL, progress = NULL, preview = NULL \
                                 WHERE id = $1 AND attempt = $2 AND state = 'running'",
                            )
                            .bind(job.id.0)
                            .bind(job.attempt)
                            .execute(&mut *transaction)
                            .await?;
                            requeued = true;
                            continue;
                        }
                    };
                    Self::end_without_video(&mut transaction, &job, &outcome).await?;
                    ended.push(job.id);
                }
                let stranded = sqlx::query(concat!(
                    "SELECT * FROM jobs WHERE state = 'queued' AND pinned_to IS NOT NULL AND created_at < ", $now, " - $1 \
                     AND NOT EXISTS (SELECT 1 FROM servers WHERE name = jobs.pinned_to AND seen_at >= ", $now, " - $1) \
                     ORDER BY id LIMIT 100", $skip_locked,
                ))
                .bind(millis(server_limit))
                .fetch_all(&mut *transaction)
                .await?;
                for row in &stranded {
                    let job = rows::job(row)?;
                    Self::end_without_video(&mut transaction, &job, &super::server_lost()).await?;
                    ended.push(job.id);
                }
                transaction.commit().await?;
                for id in &ended {
                    self.announce(Change::Finished(*id)).await;
                }
                if requeued {
                    self.announce(Change::Queued).await;
                }
                Ok(ended)
            }

            async fn cancel(&self, id: JobId, owner: &str) -> StoreResult<Option<Job>> {
                let mut transaction = self.writes.begin_with($begin).await?;
                let row = sqlx::query(
                    "UPDATE jobs SET cancel_requested = CASE WHEN state IN ('queued', 'running') THEN 1 \
                     ELSE cancel_requested END WHERE id = $1 AND owner = $2 AND deleted_at IS NULL RETURNING *",
                )
                .bind(id.0)
                .bind(owner)
                .fetch_optional(&mut *transaction)
                .await?;
                let Some(row) = row else {
                    return Ok(None);
                };
                let job = rows::job(&row)?;
                if job.state == State::Queued {
                    Self::end_without_video(&mut transaction, &job, &Outcome::cancelled()).await?;
                }
                let row = sqlx::query("SELECT * FROM jobs WHERE id = $1")
                    .bind(id.0)
                    .fetch_one(&mut *transaction)
                    .await?;
                let after = rows::job(&row)?;
                transaction.commit().await?;
                match (job.state, after.state) {
                    (State::Queued, _) => self.announce(Change::Finished(id)).await,
                    (_, State::Running) => self.announce(Change::Cancelling(id)).await,
                    _ => {}
                }
                Ok(Some(after))
            }

            async fn cancel_queued(&self, owner: &str) -> StoreResult<u64> {
                let mut transaction = self.writes.begin_with($begin).await?;
                let rows = sqlx::query(concat!(
                    "SELECT * FROM jobs WHERE owner = $1 AND state = 'queued' AND deleted_at IS NULL ORDER BY id",
                    $skip_locked,
                ))
                .bind(owner)
                .fetch_all(&mut *transaction)
                .await?;
                for row in &rows {
                    Self::end_without_video(&mut transaction, &rows::job(row)?, &Outcome::cancelled()).await?;
                }
                transaction.commit().await?;
                for row in &rows {
                    self.announce(Change::Finished(rows::job(row)?.id)).await;
                }
                Ok(rows.len() as u64)
            }

            async fn delete(&self, id: JobId, owner: &str) -> StoreResult<bool> {
                if self.cancel(id, owner).await?.is_none() {
                    return Ok(false);
                }
                let done = sqlx::query(concat!(
                    "UPDATE jobs SET deleted_at = ", $now, " WHERE id = $1 AND owner = $2 AND deleted_at IS NULL",
                ))
                .bind(id.0)
                .bind(owner)
                .execute(&self.writes)
                .await?;
                Ok(done.rows_affected() == 1)
            }

            async fn removable(&self, most_bytes: Option<u64>, limit: u32) -> StoreResult<Vec<Job>> {
                let most = most_bytes.map_or(i64::MAX, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
                let rows = sqlx::query(concat!(
                    "SELECT * FROM jobs WHERE state IN ('succeeded', 'failed', 'cancelled') AND (deleted_at IS NOT NULL \
                     OR (purged_at IS NULL AND (output IS NOT NULL OR init IS NOT NULL) AND (expires_at <= ", $now, " \
                     OR output IS NULL OR id IN (SELECT id FROM (SELECT id, SUM(output_bytes) OVER (ORDER BY finished_at DESC, id DESC) \
                     AS total FROM jobs WHERE purged_at IS NULL AND output IS NOT NULL) AS sums WHERE total > $1)))) \
                     ORDER BY finished_at, id LIMIT $2",
                ))
                .bind(most)
                .bind(i64::from(limit))
                .fetch_all(&self.reads)
                .await?;
                rows.iter().map(rows::job).collect()
            }

            async fn purged(&self, id: JobId) -> StoreResult<()> {
                sqlx::query(concat!("UPDATE jobs SET purged_at = ", $now, " WHERE id = $1"))
                    .bind(id.0)
                    .execute(&self.writes)
                    .await?;
                sqlx::query("DELETE FROM jobs WHERE id = $1 AND deleted_at IS NOT NULL AND purged_at IS NOT NULL")
                    .bind(id.0)
                    .execute(&self.writes)
                    .await?;
                Ok(())
            }

            async fn trim(&self, age: Duration, limit: u32) -> StoreResult<u64> {
                let mut transaction = self.writes.begin_with($begin).await?;
                let trimmed = sqlx::query(concat!(
                    "DELETE FROM jobs WHERE id IN (SELECT id FROM jobs WHERE finished_at < ", $now, " - $1 \
                     AND state IN ('succeeded', 'failed', 'cancelled') \
                     AND (purged_at IS NOT NULL OR (output IS NULL AND init IS NULL)) AND NOT EXISTS \
                     (SELECT 1 FROM outbox WHERE job_id = jobs.id AND state IN ('pending', 'sending')) \
                     ORDER BY finished_at LIMIT $2", $skip_locked, ")",
                ))
                .bind(millis(age))
                .bind(i64::from(limit))
                .execute(&mut *transaction)
                .await?;
                sqlx::query(concat!(
                    "DELETE FROM outbox WHERE finished_at < ", $now, " - $1 AND state IN ('delivered', 'given_up') \
                     AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.id = outbox.job_id)",
                ))
                .bind(millis(age))
                .execute(&mut *transaction)
                .await?;
                transaction.commit().await?;
                Ok(trimmed.rows_affected())
            }

            async fn is_output(&self, output: &str) -> StoreResult<bool> {
                let row = sqlx::query("SELECT id FROM jobs WHERE output = $1")
                    .bind(output)
                    .fetch_optional(&self.reads)
                    .await?;
                Ok(row.is_some())
            }

            async fn linked_output(&self, link: &str) -> StoreResult<Option<String>> {
                let row = sqlx::query(
                    "SELECT output FROM jobs WHERE link = $1 AND output IS NOT NULL AND purged_at IS NULL \
                     AND deleted_at IS NULL",
                )
                .bind(link)
                .fetch_optional(&self.reads)
                .await?;
                row.as_ref().map(rows::first).transpose()
            }

            async fn server_seen(&self, name: &str, within: Duration) -> StoreResult<u64> {
                sqlx::query(concat!(
                    "INSERT INTO servers (name, seen_at) VALUES ($1, ", $now, ") \
                     ON CONFLICT (name) DO UPDATE SET seen_at = ", $now,
                ))
                .bind(name)
                .execute(&self.writes)
                .await?;
                let row = sqlx::query(concat!("SELECT COUNT(*) FROM servers WHERE seen_at >= ", $now, " - $1"))
                    .bind(millis(within))
                    .fetch_one(&self.reads)
                    .await?;
                Ok(u64::try_from(rows::first::<_, i64>(&row)?).unwrap_or(0))
            }

            async fn due_notice(&self, lease: Duration, per_host: u32) -> StoreResult<Option<DueNotice>> {
                let row = sqlx::query(concat!(
                    "UPDATE outbox SET state = 'sending', attempt = attempt + 1, next_at = ", $now, " + $1 \
                     WHERE id = (SELECT id FROM outbox WHERE state IN ('pending', 'sending') AND next_at <= ", $now, " \
                     AND (SELECT COUNT(*) FROM outbox AS busy WHERE busy.host = outbox.host AND busy.state = 'sending' \
                     AND busy.next_at > ", $now, ") < $2 ORDER BY next_at, id LIMIT 1", $skip_locked, ") \
                     RETURNING id, job_id, attempt, url, body, ", $now, " - created_at AS age",
                ))
                .bind(millis(lease))
                .bind(i64::from(per_host))
                .fetch_optional(&self.writes)
                .await?;
                let Some(row) = row else {
                    return Ok(None);
                };
                let age = u64::try_from(row.try_get::<i64, _>("age")?).unwrap_or(0);
                Ok(Some(DueNotice {
                    id: row.try_get("id")?,
                    job: JobId(row.try_get("job_id")?),
                    attempt: row.try_get("attempt")?,
                    url: row.try_get("url")?,
                    body: row.try_get("body")?,
                    age: Duration::from_millis(age),
                }))
            }

            async fn settle_notice(&self, id: i64, attempt: i64, settlement: &Settlement) -> StoreResult<bool> {
                let (state, delay, error) = match settlement {
                    Settlement::Delivered => ("delivered", Duration::ZERO, None),
                    Settlement::Later(delay, reason) => ("pending", *delay, Some(reason)),
                    Settlement::GivenUp(reason) => ("given_up", Duration::ZERO, Some(reason)),
                };
                let done = sqlx::query(concat!(
                    "UPDATE outbox SET state = $3, next_at = ", $now, " + $4, last_error = $5, \
                     finished_at = CASE WHEN $3 = 'pending' THEN NULL ELSE ", $now, " END \
                     WHERE id = $1 AND attempt = $2 AND state = 'sending'",
                ))
                .bind(id)
                .bind(attempt)
                .bind(state)
                .bind(millis(delay))
                .bind(error)
                .execute(&self.writes)
                .await?;
                Ok(done.rows_affected() == 1)
            }

            async fn setting(&self, name: &str) -> StoreResult<Option<String>> {
                let row = sqlx::query("SELECT value FROM settings WHERE name = $1")
                    .bind(name)
                    .fetch_optional(&self.reads)
                    .await?;
                row.as_ref().map(rows::first).transpose()
            }

            async fn setting_or_insert(&self, name: &str, value: &str) -> StoreResult<String> {
                let row = sqlx::query(
                    "INSERT INTO settings (name, value) VALUES ($1, $2) \
                     ON CONFLICT (name) DO UPDATE SET value = settings.value RETURNING value",
                )
                .bind(name)
                .bind(value)
                .fetch_one(&self.writes)
                .await?;
                rows::first(&row)
            }

            async fn set_setting(&self, name: &str, value: &str) -> StoreResult<()> {
                sqlx::query(
                    "INSERT INTO settings (name, value) VALUES ($1, $2) \
                     ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                )
                .bind(name)
                .bind(value)
                .execute(&self.writes)
                .await?;
                Ok(())
            }

            async fn models(&self) -> StoreResult<Vec<StoredModel>> {
                let rows = sqlx::query("SELECT name, source, added_at FROM models ORDER BY name")
                    .fetch_all(&self.reads)
                    .await?;
                let model = |row: &<$database as sqlx::Database>::Row| -> StoreResult<StoredModel> {
                    Ok(StoredModel {
                        name: row.try_get("name")?,
                        source: row.try_get("source")?,
                        added_at: Timestamp(row.try_get("added_at")?),
                    })
                };
                rows.iter().map(model).collect()
            }

            async fn add_model(&self, name: &str, source: &str) -> StoreResult<()> {
                sqlx::query(concat!(
                    "INSERT INTO models (name, source, added_at) VALUES ($1, $2, ", $now, ") \
                     ON CONFLICT (name) DO UPDATE SET source = excluded.source, added_at = excluded.added_at",
                ))
                .bind(name)
                .bind(source)
                .execute(&self.writes)
                .await?;
                Ok(())
            }

            async fn remove_model(&self, name: &str) -> StoreResult<bool> {
                let done = sqlx::query("DELETE FROM models WHERE name = $1")
                    .bind(name)
                    .execute(&self.writes)
                    .await?;
                Ok(done.rows_affected() == 1)
            }
        }
    };
}

pub(super) use impl_store;
