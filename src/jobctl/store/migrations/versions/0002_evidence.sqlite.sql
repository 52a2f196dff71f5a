CREATE TABLE evidence (
    job_id TEXT NOT NULL,
    stream TEXT NOT NULL,
    life INTEGER NOT NULL,
    claims JSON NOT NULL,
    noted_at TEXT NOT NULL,
    CONSTRAINT pk_evidence PRIMARY KEY (job_id, stream, life),
    CONSTRAINT ck_evidence_noted_at_form CHECK (length(noted_at) = 27)
);

CREATE TABLE log_position (
    stream TEXT NOT NULL,
    part INTEGER NOT NULL,
    path TEXT NOT NULL,
    head_bytes BIGINT NOT NULL,
    head TEXT NOT NULL,
    tail_bytes BIGINT NOT NULL,
    tail TEXT NOT NULL,
    read_bytes BIGINT NOT NULL,
    read_lines BIGINT NOT NULL,
    noted_at TEXT NOT NULL,
    CONSTRAINT pk_log_position PRIMARY KEY (stream, part),
    CONSTRAINT ck_log_position_noted_at_form CHECK (length(noted_at) = 27)
);

CREATE TABLE log_stream (
    stream TEXT NOT NULL,
    name TEXT NOT NULL,
    state JSON NOT NULL,
    noted_at TEXT NOT NULL,
    CONSTRAINT pk_log_stream PRIMARY KEY (stream),
    CONSTRAINT ck_log_stream_noted_at_form CHECK (length(noted_at) = 27)
);

CREATE TABLE remote_render (
    renderer TEXT NOT NULL,
    remote_id TEXT NOT NULL,
    status TEXT NOT NULL,
    name TEXT,
    created_at TEXT,
    document JSON,
    job_id TEXT,
    matched_by TEXT,
    seen_at TEXT NOT NULL,
    CONSTRAINT pk_remote_render PRIMARY KEY (renderer, remote_id),
    CONSTRAINT ck_remote_render_created_at_form CHECK (length(created_at) = 27),
    CONSTRAINT ck_remote_render_seen_at_form CHECK (length(seen_at) = 27)
);

CREATE INDEX ix_remote_render_job ON remote_render (job_id) WHERE job_id IS NOT NULL;
