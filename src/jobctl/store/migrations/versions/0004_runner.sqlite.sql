DROP INDEX ix_job_queued;

DROP INDEX ix_job_unfinished;

CREATE INDEX ix_job_queued ON job (queue, priority DESC, coalesce(run_at, ''), job_id) WHERE status = 'queued';

CREATE INDEX ix_job_unfinished ON job (status, job_id) WHERE status IN ('queued', 'processing');

CREATE TABLE worker (
    worker_id TEXT NOT NULL,
    state TEXT NOT NULL,
    executor JSON NOT NULL,
    queues JSON NOT NULL,
    tasks JSON NOT NULL,
    slots INTEGER NOT NULL,
    isolation TEXT NOT NULL,
    lease_s DOUBLE NOT NULL,
    beat BIGINT DEFAULT '0' NOT NULL,
    started_at TEXT NOT NULL,
    seen_at TEXT NOT NULL,
    ended_at TEXT,
    counters JSON,
    CONSTRAINT pk_worker PRIMARY KEY (worker_id),
    CONSTRAINT ck_worker_state CHECK (state IN ('running', 'draining', 'stopped', 'lost')),
    CONSTRAINT ck_worker_started_at_form CHECK (length(started_at) = 27),
    CONSTRAINT ck_worker_seen_at_form CHECK (length(seen_at) = 27),
    CONSTRAINT ck_worker_ended_at_form CHECK (length(ended_at) = 27)
);

CREATE INDEX ix_worker_live ON worker (seen_at) WHERE ended_at IS NULL;

CREATE TABLE lease (
    job_id TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    worker TEXT NOT NULL,
    cancel_at TEXT,
    note TEXT,
    CONSTRAINT pk_lease PRIMARY KEY (job_id),
    CONSTRAINT ck_lease_cancel_at_form CHECK (length(cancel_at) = 27)
)
 WITHOUT ROWID;

CREATE INDEX ix_lease_worker ON lease (worker);

CREATE TABLE publication (
    job_id TEXT NOT NULL,
    root_id TEXT NOT NULL,
    path TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    role TEXT NOT NULL,
    size BIGINT NOT NULL,
    sha256 TEXT NOT NULL,
    at TEXT NOT NULL,
    CONSTRAINT pk_publication PRIMARY KEY (job_id, root_id, path),
    CONSTRAINT ck_publication_at_form CHECK (length(at) = 27)
);

CREATE TABLE tick (
    name TEXT NOT NULL,
    at TEXT NOT NULL,
    CONSTRAINT pk_tick PRIMARY KEY (name),
    CONSTRAINT ck_tick_at_form CHECK (length(at) = 27)
);
