CREATE TABLE artifact (
    job_id TEXT NOT NULL,
    root_id TEXT NOT NULL,
    path TEXT NOT NULL,
    role TEXT NOT NULL,
    state TEXT NOT NULL,
    size BIGINT,
    sha256 TEXT,
    mtime_ns BIGINT,
    verdict TEXT,
    tier TEXT,
    media JSON,
    noted_at TEXT,
    run_id TEXT,
    version INTEGER DEFAULT '1' NOT NULL,
    CONSTRAINT pk_artifact PRIMARY KEY (job_id, root_id, path),
    CONSTRAINT ck_artifact_state CHECK (state IN ('present', 'missing', 'quarantined', 'purged')),
    CONSTRAINT ck_artifact_noted_at_form CHECK (length(noted_at) = 27)
);

CREATE INDEX ix_artifact_path ON artifact (root_id, path);

CREATE INDEX ix_artifact_sha256 ON artifact (sha256) WHERE sha256 IS NOT NULL;

CREATE TABLE declined (
    job_id TEXT NOT NULL,
    root_id TEXT NOT NULL,
    path TEXT NOT NULL,
    inode BIGINT NOT NULL,
    size BIGINT NOT NULL,
    mtime_ns BIGINT NOT NULL,
    at TEXT NOT NULL,
    run_id TEXT NOT NULL,
    CONSTRAINT pk_declined PRIMARY KEY (job_id, root_id, path),
    CONSTRAINT ck_declined_at_form CHECK (length(at) = 27)
);

CREATE TABLE directory (
    root_id TEXT NOT NULL,
    path TEXT NOT NULL,
    dev BIGINT NOT NULL,
    inode BIGINT NOT NULL,
    mtime_ns BIGINT NOT NULL,
    ctime_ns BIGINT NOT NULL,
    walk_started_ns BIGINT NOT NULL,
    layout TEXT NOT NULL,
    is_quiet BOOLEAN NOT NULL,
    files BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    foreign_files BIGINT NOT NULL,
    CONSTRAINT pk_directory PRIMARY KEY (root_id, path)
)
 WITHOUT ROWID;

CREATE TABLE event (
    event_id INTEGER NOT NULL,
    job_id TEXT NOT NULL,
    at TEXT NOT NULL,
    kind TEXT NOT NULL,
    actor TEXT NOT NULL,
    run_id TEXT,
    attempt INTEGER,
    from_status TEXT,
    to_status TEXT,
    detail JSON,
    CONSTRAINT pk_event PRIMARY KEY (event_id),
    CONSTRAINT ck_event_at_form CHECK (length(at) = 27)
);

CREATE INDEX ix_event_job ON event (job_id, event_id);

CREATE TABLE heartbeat_watch (
    job_id TEXT NOT NULL,
    host TEXT NOT NULL,
    boot_id TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    last_heartbeat TEXT,
    since DOUBLE NOT NULL,
    CONSTRAINT pk_heartbeat_watch PRIMARY KEY (job_id, host),
    CONSTRAINT ck_heartbeat_watch_last_heartbeat_form CHECK (length(last_heartbeat) = 27)
);

CREATE TABLE job (
    job_id TEXT NOT NULL,
    status TEXT NOT NULL,
    progress DOUBLE,
    error TEXT,
    video_url TEXT,
    thumbnail_url TEXT,
    slide_image_path TEXT,
    created_at TEXT,
    completed_at TEXT,
    last_heartbeat TEXT,
    created_files JSON,
    kind TEXT NOT NULL,
    queue TEXT NOT NULL,
    owner TEXT,
    priority INTEGER DEFAULT '0' NOT NULL,
    run_at TEXT,
    attempt INTEGER DEFAULT '0' NOT NULL,
    max_attempts INTEGER DEFAULT '1' NOT NULL,
    max_progress DOUBLE,
    executor JSON,
    error_code TEXT,
    idempotency_key TEXT,
    origin TEXT NOT NULL,
    confidence TEXT,
    provenance JSON,
    root_id TEXT,
    version INTEGER DEFAULT '1' NOT NULL,
    updated_at TEXT NOT NULL,
    started_at TEXT,
    recovered_at TEXT,
    CONSTRAINT pk_job PRIMARY KEY (job_id),
    CONSTRAINT ck_job_status CHECK (status IN ('queued', 'processing', 'completed', 'failed', 'cancelled', 'expired')),
    CONSTRAINT ck_job_created_at_form CHECK (length(created_at) = 27),
    CONSTRAINT ck_job_completed_at_form CHECK (length(completed_at) = 27),
    CONSTRAINT ck_job_last_heartbeat_form CHECK (length(last_heartbeat) = 27),
    CONSTRAINT ck_job_run_at_form CHECK (length(run_at) = 27),
    CONSTRAINT ck_job_updated_at_form CHECK (length(updated_at) = 27),
    CONSTRAINT ck_job_started_at_form CHECK (length(started_at) = 27),
    CONSTRAINT ck_job_recovered_at_form CHECK (length(recovered_at) = 27)
);

CREATE INDEX ix_job_created_at ON job (created_at DESC, job_id);

CREATE INDEX ix_job_queued ON job (queue, priority DESC, run_at) WHERE status = 'queued';

CREATE INDEX ix_job_unfinished ON job (status, last_heartbeat) WHERE status IN ('queued', 'processing');

CREATE UNIQUE INDEX uq_job_idempotency_key ON job (kind, idempotency_key) WHERE idempotency_key IS NOT NULL;

CREATE TABLE job_body (
    job_id TEXT NOT NULL,
    payload JSON,
    result JSON,
    CONSTRAINT pk_job_body PRIMARY KEY (job_id)
);

CREATE TABLE lock (
    name TEXT NOT NULL,
    fence BIGINT NOT NULL,
    holder TEXT,
    command TEXT,
    host TEXT,
    boot_id TEXT,
    pid BIGINT,
    pid_start BIGINT,
    instance TEXT,
    acquired_at TEXT,
    heartbeat TEXT,
    CONSTRAINT pk_lock PRIMARY KEY (name),
    CONSTRAINT ck_lock_acquired_at_form CHECK (length(acquired_at) = 27),
    CONSTRAINT ck_lock_heartbeat_form CHECK (length(heartbeat) = 27)
);

CREATE TABLE root (
    root_id TEXT NOT NULL,
    path TEXT NOT NULL,
    layout TEXT NOT NULL,
    host TEXT,
    generation BIGINT DEFAULT '0' NOT NULL,
    negatives_suspended_at TEXT,
    registered_at TEXT NOT NULL,
    CONSTRAINT pk_root PRIMARY KEY (root_id),
    CONSTRAINT uq_root_path UNIQUE (path),
    CONSTRAINT ck_root_negatives_suspended_at_form CHECK (length(negatives_suspended_at) = 27),
    CONSTRAINT ck_root_registered_at_form CHECK (length(registered_at) = 27)
);

CREATE TABLE run (
    run_id TEXT NOT NULL,
    command TEXT NOT NULL,
    state TEXT NOT NULL,
    actor TEXT NOT NULL,
    host TEXT NOT NULL,
    plan_id TEXT,
    undo_of TEXT,
    header JSON,
    generations JSON,
    counts JSON,
    held JSON,
    exit_code INTEGER,
    actions BIGINT DEFAULT '0' NOT NULL,
    started_at TEXT NOT NULL,
    finished_at TEXT,
    CONSTRAINT pk_run PRIMARY KEY (run_id),
    CONSTRAINT ck_run_state CHECK (state IN ('loading', 'applying', 'finished', 'abandoned')),
    CONSTRAINT ck_run_started_at_form CHECK (length(started_at) = 27),
    CONSTRAINT ck_run_finished_at_form CHECK (length(finished_at) = 27)
);

CREATE INDEX ix_run_undo_of ON run (undo_of);

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
    CONSTRAINT pk_run_action PRIMARY KEY (run_id, seq),
    CONSTRAINT ck_run_action_applied_at_form CHECK (length(applied_at) = 27)
);

CREATE INDEX ix_run_action_job ON run_action (job_id);

CREATE TABLE scan (
    scan_id TEXT NOT NULL,
    root_id TEXT NOT NULL,
    started_at TEXT NOT NULL,
    finished_at TEXT,
    is_full BOOLEAN NOT NULL,
    is_complete BOOLEAN NOT NULL,
    counts JSON,
    CONSTRAINT pk_scan PRIMARY KEY (scan_id),
    CONSTRAINT ck_scan_started_at_form CHECK (length(started_at) = 27),
    CONSTRAINT ck_scan_finished_at_form CHECK (length(finished_at) = 27)
);

CREATE INDEX ix_scan_root ON scan (root_id, started_at);

CREATE TABLE sighting (
    "key" TEXT NOT NULL,
    root_id TEXT NOT NULL,
    path TEXT NOT NULL,
    role TEXT NOT NULL,
    dev BIGINT NOT NULL,
    inode BIGINT NOT NULL,
    size BIGINT NOT NULL,
    mtime_ns BIGINT NOT NULL,
    ctime_ns BIGINT NOT NULL,
    verdict TEXT,
    tier TEXT,
    reason TEXT,
    checker INTEGER NOT NULL,
    first_seen TEXT NOT NULL,
    CONSTRAINT pk_sighting PRIMARY KEY ("key", root_id, path),
    CONSTRAINT ck_sighting_first_seen_form CHECK (length(first_seen) = 27)
)
 WITHOUT ROWID;

CREATE TABLE store (
    store_id TEXT NOT NULL,
    created_at TEXT NOT NULL,
    created_by TEXT NOT NULL,
    CONSTRAINT pk_store PRIMARY KEY (store_id),
    CONSTRAINT ck_store_created_at_form CHECK (length(created_at) = 27)
);

CREATE TABLE tombstone (
    job_id TEXT NOT NULL,
    at TEXT NOT NULL,
    cause TEXT NOT NULL,
    actor TEXT NOT NULL,
    closed_at TEXT,
    CONSTRAINT pk_tombstone PRIMARY KEY (job_id),
    CONSTRAINT ck_tombstone_at_form CHECK (length(at) = 27),
    CONSTRAINT ck_tombstone_closed_at_form CHECK (length(closed_at) = 27)
);

CREATE VIEW presentation_jobs AS
SELECT
    job_id,
    status,
    progress,
    error,
    video_url,
    thumbnail_url,
    slide_image_path,
    created_at,
    completed_at,
    last_heartbeat,
    created_files
FROM job;
