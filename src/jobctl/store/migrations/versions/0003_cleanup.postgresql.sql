CREATE TABLE jobctl.clock_watch (
    host TEXT COLLATE "C" NOT NULL,
    boot_id TEXT NOT NULL,
    boottime_s DOUBLE PRECISION NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    trusted_from TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_clock_watch PRIMARY KEY (host)
);

CREATE TABLE jobctl.last_run (
    command TEXT COLLATE "C" NOT NULL,
    host TEXT COLLATE "C" NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE NOT NULL,
    finished_at TIMESTAMP WITH TIME ZONE NOT NULL,
    exit_code INTEGER NOT NULL,
    error TEXT,
    run_id TEXT,
    counts JSONB,
    succeeded_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_last_run PRIMARY KEY (command, host)
);

CREATE TABLE jobctl.loose (
    key TEXT COLLATE "C" NOT NULL,
    root_id TEXT COLLATE "C" NOT NULL,
    path TEXT COLLATE "C" NOT NULL,
    inode BIGINT NOT NULL,
    size BIGINT NOT NULL,
    mtime_ns BIGINT NOT NULL,
    ctime_ns BIGINT NOT NULL,
    since TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_loose PRIMARY KEY (key, root_id, path)
);

CREATE TABLE jobctl.pin (
    root_id TEXT COLLATE "C" NOT NULL,
    path TEXT COLLATE "C" NOT NULL,
    inode BIGINT NOT NULL,
    size BIGINT NOT NULL,
    mtime_ns BIGINT NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    run_id TEXT NOT NULL,
    CONSTRAINT pk_pin PRIMARY KEY (root_id, path)
);

CREATE INDEX ix_job_ended ON jobctl.job (status, updated_at, job_id) WHERE status IN ('completed', 'failed', 'cancelled');

ALTER TABLE jobctl.run_action ADD COLUMN category TEXT;

ALTER TABLE jobctl.run_action ADD COLUMN entry TEXT;

ALTER TABLE jobctl.run_action ADD COLUMN relies_on JSONB;
