CREATE TABLE jobctl.artifact (
    job_id TEXT COLLATE "C" NOT NULL,
    root_id TEXT COLLATE "C" NOT NULL,
    path TEXT COLLATE "C" NOT NULL,
    role TEXT NOT NULL,
    state TEXT NOT NULL,
    size BIGINT,
    sha256 TEXT,
    mtime_ns BIGINT,
    verdict TEXT,
    tier TEXT,
    media JSONB,
    noted_at TIMESTAMP WITH TIME ZONE,
    run_id TEXT,
    version INTEGER DEFAULT '1' NOT NULL,
    CONSTRAINT pk_artifact PRIMARY KEY (job_id, root_id, path),
    CONSTRAINT ck_artifact_state CHECK (state IN ('present', 'missing', 'quarantined', 'purged'))
);

CREATE INDEX ix_artifact_path ON jobctl.artifact (root_id, path);

CREATE INDEX ix_artifact_sha256 ON jobctl.artifact (sha256) WHERE sha256 IS NOT NULL;

CREATE TABLE jobctl.declined (
    job_id TEXT COLLATE "C" NOT NULL,
    root_id TEXT COLLATE "C" NOT NULL,
    path TEXT COLLATE "C" NOT NULL,
    inode BIGINT NOT NULL,
    size BIGINT NOT NULL,
    mtime_ns BIGINT NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    run_id TEXT NOT NULL,
    CONSTRAINT pk_declined PRIMARY KEY (job_id, root_id, path)
);

CREATE TABLE jobctl.directory (
    root_id TEXT COLLATE "C" NOT NULL,
    path TEXT COLLATE "C" NOT NULL,
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
);

CREATE TABLE jobctl.event (
    event_id BIGSERIAL NOT NULL,
    job_id TEXT COLLATE "C" NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    kind TEXT NOT NULL,
    actor TEXT NOT NULL,
    run_id TEXT,
    attempt INTEGER,
    from_status TEXT,
    to_status TEXT,
    detail JSONB,
    CONSTRAINT pk_event PRIMARY KEY (event_id)
);

CREATE INDEX ix_event_job ON jobctl.event (job_id, event_id);

CREATE TABLE jobctl.heartbeat_watch (
    job_id TEXT COLLATE "C" NOT NULL,
    host TEXT NOT NULL,
    boot_id TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    last_heartbeat TIMESTAMP WITH TIME ZONE,
    since DOUBLE PRECISION NOT NULL,
    CONSTRAINT pk_heartbeat_watch PRIMARY KEY (job_id, host)
);

CREATE TABLE jobctl.job (
    job_id TEXT COLLATE "C" NOT NULL,
    status TEXT NOT NULL,
    progress DOUBLE PRECISION,
    error TEXT,
    video_url TEXT,
    thumbnail_url TEXT,
    slide_image_path TEXT,
    created_at TIMESTAMP WITH TIME ZONE,
    completed_at TIMESTAMP WITH TIME ZONE,
    last_heartbeat TIMESTAMP WITH TIME ZONE,
    created_files JSONB,
    kind TEXT NOT NULL,
    queue TEXT NOT NULL,
    owner TEXT,
    priority INTEGER DEFAULT '0' NOT NULL,
    run_at TIMESTAMP WITH TIME ZONE,
    attempt INTEGER DEFAULT '0' NOT NULL,
    max_attempts INTEGER DEFAULT '1' NOT NULL,
    max_progress DOUBLE PRECISION,
    executor JSONB,
    error_code TEXT,
    idempotency_key TEXT,
    origin TEXT NOT NULL,
    confidence TEXT,
    provenance JSONB,
    root_id TEXT COLLATE "C",
    version INTEGER DEFAULT '1' NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE,
    recovered_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_job PRIMARY KEY (job_id),
    CONSTRAINT ck_job_status CHECK (status IN ('queued', 'processing', 'completed', 'failed', 'cancelled', 'expired'))
);

CREATE INDEX ix_job_created_at ON jobctl.job (created_at DESC, job_id);

CREATE INDEX ix_job_queued ON jobctl.job (queue, priority DESC, run_at) WHERE status = 'queued';

CREATE INDEX ix_job_unfinished ON jobctl.job (status, last_heartbeat) WHERE status IN ('queued', 'processing');

CREATE UNIQUE INDEX uq_job_idempotency_key ON jobctl.job (kind, idempotency_key) WHERE idempotency_key IS NOT NULL;

CREATE TABLE jobctl.job_body (
    job_id TEXT COLLATE "C" NOT NULL,
    payload JSONB,
    result JSONB,
    CONSTRAINT pk_job_body PRIMARY KEY (job_id)
);

CREATE TABLE jobctl.lock (
    name TEXT COLLATE "C" NOT NULL,
    fence BIGINT NOT NULL,
    holder TEXT,
    command TEXT,
    host TEXT,
    boot_id TEXT,
    pid BIGINT,
    pid_start BIGINT,
    instance TEXT,
    acquired_at TIMESTAMP WITH TIME ZONE,
    heartbeat TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_lock PRIMARY KEY (name)
);

CREATE TABLE jobctl.root (
    root_id TEXT COLLATE "C" NOT NULL,
    path TEXT NOT NULL,
    layout TEXT NOT NULL,
    host TEXT,
    generation BIGINT DEFAULT '0' NOT NULL,
    negatives_suspended_at TIMESTAMP WITH TIME ZONE,
    registered_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_root PRIMARY KEY (root_id),
    CONSTRAINT uq_root_path UNIQUE (path)
);

CREATE TABLE jobctl.run (
    run_id TEXT COLLATE "C" NOT NULL,
    command TEXT NOT NULL,
    state TEXT NOT NULL,
    actor TEXT NOT NULL,
    host TEXT NOT NULL,
    plan_id TEXT,
    undo_of TEXT COLLATE "C",
    header JSONB,
    generations JSONB,
    counts JSONB,
    held JSONB,
    exit_code INTEGER,
    actions BIGINT DEFAULT '0' NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE NOT NULL,
    finished_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_run PRIMARY KEY (run_id),
    CONSTRAINT ck_run_state CHECK (state IN ('loading', 'applying', 'finished', 'abandoned'))
);

CREATE INDEX ix_run_undo_of ON jobctl.run (undo_of);

CREATE TABLE jobctl.run_action (
    run_id TEXT COLLATE "C" NOT NULL,
    seq BIGINT NOT NULL,
    verb TEXT NOT NULL,
    job_id TEXT COLLATE "C" NOT NULL,
    reason TEXT NOT NULL,
    root_id TEXT COLLATE "C",
    path TEXT COLLATE "C",
    from_status TEXT,
    to_status TEXT,
    confidence TEXT,
    expect_version INTEGER,
    expect_file JSONB,
    job_before JSONB,
    job_after JSONB,
    artifact_before JSONB,
    artifact_after JSONB,
    outcome TEXT NOT NULL,
    note TEXT,
    applied_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_run_action PRIMARY KEY (run_id, seq)
);

CREATE INDEX ix_run_action_job ON jobctl.run_action (job_id);

CREATE TABLE jobctl.scan (
    scan_id TEXT COLLATE "C" NOT NULL,
    root_id TEXT COLLATE "C" NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE NOT NULL,
    finished_at TIMESTAMP WITH TIME ZONE,
    is_full BOOLEAN NOT NULL,
    is_complete BOOLEAN NOT NULL,
    counts JSONB,
    CONSTRAINT pk_scan PRIMARY KEY (scan_id)
);

CREATE INDEX ix_scan_root ON jobctl.scan (root_id, started_at);

CREATE TABLE jobctl.sighting (
    key TEXT COLLATE "C" NOT NULL,
    root_id TEXT COLLATE "C" NOT NULL,
    path TEXT COLLATE "C" NOT NULL,
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
    first_seen TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_sighting PRIMARY KEY (key, root_id, path)
);

CREATE TABLE jobctl.store (
    store_id TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    created_by TEXT NOT NULL,
    CONSTRAINT pk_store PRIMARY KEY (store_id)
);

CREATE TABLE jobctl.tombstone (
    job_id TEXT COLLATE "C" NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    cause TEXT NOT NULL,
    actor TEXT NOT NULL,
    closed_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_tombstone PRIMARY KEY (job_id)
);

CREATE VIEW jobctl.presentation_jobs AS
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
FROM jobctl.job;
