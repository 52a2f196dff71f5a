DROP INDEX jobctl.ix_job_queued;

DROP INDEX jobctl.ix_job_unfinished;

CREATE INDEX ix_job_queued ON jobctl.job (queue, priority DESC, coalesce(run_at, '-infinity'::timestamptz), job_id) WHERE status = 'queued';

CREATE INDEX ix_job_unfinished ON jobctl.job (status, job_id) WHERE status IN ('queued', 'processing');

CREATE TABLE jobctl.worker (
    worker_id TEXT COLLATE "C" NOT NULL,
    state TEXT NOT NULL,
    executor JSONB NOT NULL,
    queues JSONB NOT NULL,
    tasks JSONB NOT NULL,
    slots INTEGER NOT NULL,
    isolation TEXT NOT NULL,
    lease_s DOUBLE PRECISION NOT NULL,
    beat BIGINT DEFAULT '0' NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE NOT NULL,
    seen_at TIMESTAMP WITH TIME ZONE NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE,
    counters JSONB,
    CONSTRAINT pk_worker PRIMARY KEY (worker_id),
    CONSTRAINT ck_worker_state CHECK (state IN ('running', 'draining', 'stopped', 'lost'))
);

CREATE INDEX ix_worker_live ON jobctl.worker (seen_at) WHERE ended_at IS NULL;

CREATE TABLE jobctl.lease (
    job_id TEXT COLLATE "C" NOT NULL,
    attempt INTEGER NOT NULL,
    worker TEXT COLLATE "C" NOT NULL,
    cancel_at TIMESTAMP WITH TIME ZONE,
    note TEXT,
    CONSTRAINT pk_lease PRIMARY KEY (job_id)
);

CREATE INDEX ix_lease_worker ON jobctl.lease (worker);

CREATE TABLE jobctl.publication (
    job_id TEXT COLLATE "C" NOT NULL,
    root_id TEXT COLLATE "C" NOT NULL,
    path TEXT COLLATE "C" NOT NULL,
    attempt INTEGER NOT NULL,
    role TEXT NOT NULL,
    size BIGINT NOT NULL,
    sha256 TEXT NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_publication PRIMARY KEY (job_id, root_id, path)
);

CREATE TABLE jobctl.tick (
    name TEXT COLLATE "C" NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_tick PRIMARY KEY (name)
);

ALTER TABLE jobctl.lease SET (autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 2000);

ALTER TABLE jobctl.worker SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 500);

ALTER TABLE jobctl.job SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000);
