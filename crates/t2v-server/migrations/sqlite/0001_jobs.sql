-- Times are milliseconds since 1970 by the database's clock.
CREATE TABLE jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    owner TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
    model TEXT NOT NULL,
    -- JSON: the request without its key, what it comes to, what it starts from.
    request TEXT NOT NULL,
    parameters TEXT NOT NULL,
    init TEXT,
    pinned_to TEXT,
    idempotency_key TEXT,
    idempotency_digest TEXT,
    attempt INTEGER NOT NULL DEFAULT 0,
    max_attempts INTEGER NOT NULL,
    worker TEXT,
    lease_until INTEGER,
    not_before INTEGER NOT NULL DEFAULT 0,
    cancel_requested INTEGER NOT NULL DEFAULT 0,
    progress TEXT,
    preview TEXT,
    -- JSON, and of it what is searched and summed.
    outcome TEXT,
    output TEXT,
    output_bytes INTEGER NOT NULL DEFAULT 0,
    generation_ms INTEGER,
    keep_ms INTEGER,
    created_at INTEGER NOT NULL,
    started_at INTEGER,
    finished_at INTEGER,
    expires_at INTEGER,
    purged_at INTEGER,
    deleted_at INTEGER,
    UNIQUE (owner, idempotency_key)
);
CREATE INDEX jobs_queue ON jobs (id) WHERE state = 'queued';
CREATE INDEX jobs_leases ON jobs (lease_until) WHERE state = 'running';
CREATE INDEX jobs_owner ON jobs (owner, id);
CREATE INDEX jobs_outputs ON jobs (finished_at) WHERE purged_at IS NULL;
CREATE INDEX jobs_deleted ON jobs (deleted_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX jobs_pace ON jobs (model, finished_at) WHERE state = 'succeeded';
CREATE UNIQUE INDEX jobs_output ON jobs (output);

-- Webhooks, stored in the transaction that ends their job.
CREATE TABLE outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id INTEGER NOT NULL UNIQUE,
    url TEXT NOT NULL,
    host TEXT NOT NULL,
    body TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'sending', 'delivered', 'given_up')),
    attempt INTEGER NOT NULL DEFAULT 0,
    next_at INTEGER NOT NULL,
    last_error TEXT,
    created_at INTEGER NOT NULL,
    finished_at INTEGER
);
CREATE INDEX outbox_due ON outbox (next_at) WHERE state IN ('pending', 'sending');
CREATE INDEX outbox_hosts ON outbox (host) WHERE state = 'sending';

CREATE TABLE servers (name TEXT PRIMARY KEY, seen_at INTEGER NOT NULL);

CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);

CREATE TABLE models (name TEXT PRIMARY KEY, source TEXT NOT NULL, added_at INTEGER NOT NULL);
