CREATE TABLE clock_watch (
    host TEXT NOT NULL,
    boot_id TEXT NOT NULL,
    boottime_s DOUBLE NOT NULL,
    at TEXT NOT NULL,
    trusted_from TEXT,
    CONSTRAINT pk_clock_watch PRIMARY KEY (host),
    CONSTRAINT ck_clock_watch_at_form CHECK (length(at) = 27),
    CONSTRAINT ck_clock_watch_trusted_from_form CHECK (length(trusted_from) = 27)
);

CREATE TABLE last_run (
    command TEXT NOT NULL,
    host TEXT NOT NULL,
    started_at TEXT NOT NULL,
    finished_at TEXT NOT NULL,
    exit_code INTEGER NOT NULL,
    error TEXT,
    run_id TEXT,
    counts JSON,
    succeeded_at TEXT,
    CONSTRAINT pk_last_run PRIMARY KEY (command, host),
    CONSTRAINT ck_last_run_started_at_form CHECK (length(started_at) = 27),
    CONSTRAINT ck_last_run_finished_at_form CHECK (length(finished_at) = 27),
    CONSTRAINT ck_last_run_succeeded_at_form CHECK (length(succeeded_at) = 27)
);

CREATE TABLE loose (
    "key" TEXT NOT NULL,
    root_id TEXT NOT NULL,
    path TEXT NOT NULL,
    inode BIGINT NOT NULL,
    size BIGINT NOT NULL,
    mtime_ns BIGINT NOT NULL,
    ctime_ns BIGINT NOT NULL,
    since TEXT NOT NULL,
    CONSTRAINT pk_loose PRIMARY KEY ("key", root_id, path),
    CONSTRAINT ck_loose_since_form CHECK (length(since) = 27)
)
 WITHOUT ROWID;

CREATE TABLE pin (
    root_id TEXT NOT NULL,
    path TEXT NOT NULL,
    inode BIGINT NOT NULL,
    size BIGINT NOT NULL,
    mtime_ns BIGINT NOT NULL,
    at TEXT NOT NULL,
    run_id TEXT NOT NULL,
    CONSTRAINT pk_pin PRIMARY KEY (root_id, path),
    CONSTRAINT ck_pin_at_form CHECK (length(at) = 27)
);

CREATE INDEX ix_job_ended ON job (status, updated_at, job_id) WHERE status IN ('completed', 'failed', 'cancelled');

DROP INDEX ix_run_action_job;

ALTER TABLE run_action RENAME TO run_action_before;

CREATE TABLE run_action (
    run_id TEXT NOT NULL,
    seq BIGINT NOT NULL,
    verb TEXT NOT NULL,
    job_id TEXT NOT NULL,
    reason TEXT NOT NULL,
    root_id TEXT,
    path TEXT,
    from_status TEXT,
    to_status TEXT,
    confidence TEXT,
    expect_version INTEGER,
    expect_file JSON,
    job_before JSON,
    job_after JSON,
    artifact_before JSON,
    artifact_after JSON,
    outcome TEXT NOT NULL,
    note TEXT,
    applied_at TEXT,
    category TEXT,
    entry TEXT,
    relies_on JSON,
    CONSTRAINT pk_run_action PRIMARY KEY (run_id, seq),
    CONSTRAINT ck_run_action_applied_at_form CHECK (length(applied_at) = 27)
);

INSERT INTO run_action (
    run_id, seq, verb, job_id, reason, root_id, path, from_status,
    to_status, confidence, expect_version, expect_file, job_before, job_after,
    artifact_before, artifact_after, outcome, note, applied_at
)
SELECT
    run_id, seq, verb, job_id, reason, root_id, path, from_status,
    to_status, confidence, expect_version, expect_file, job_before, job_after,
    artifact_before, artifact_after, outcome, note, applied_at
FROM run_action_before;

DROP TABLE run_action_before;

CREATE INDEX ix_run_action_job ON run_action (job_id);
