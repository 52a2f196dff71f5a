CREATE TABLE jobctl.evidence (
    job_id TEXT COLLATE "C" NOT NULL,
    stream TEXT COLLATE "C" NOT NULL,
    life INTEGER NOT NULL,
    claims JSONB NOT NULL,
    noted_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_evidence PRIMARY KEY (job_id, stream, life)
);

CREATE TABLE jobctl.log_position (
    stream TEXT COLLATE "C" NOT NULL,
    part INTEGER NOT NULL,
    path TEXT NOT NULL,
    head_bytes BIGINT NOT NULL,
    head TEXT NOT NULL,
    tail_bytes BIGINT NOT NULL,
    tail TEXT NOT NULL,
    read_bytes BIGINT NOT NULL,
    read_lines BIGINT NOT NULL,
    noted_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_log_position PRIMARY KEY (stream, part)
);

CREATE TABLE jobctl.log_stream (
    stream TEXT COLLATE "C" NOT NULL,
    name TEXT NOT NULL,
    state JSONB NOT NULL,
    noted_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_log_stream PRIMARY KEY (stream)
);

CREATE TABLE jobctl.remote_render (
    renderer TEXT COLLATE "C" NOT NULL,
    remote_id TEXT COLLATE "C" NOT NULL,
    status TEXT NOT NULL,
    name TEXT,
    created_at TIMESTAMP WITH TIME ZONE,
    document JSONB,
    job_id TEXT COLLATE "C",
    matched_by TEXT,
    seen_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_remote_render PRIMARY KEY (renderer, remote_id)
);

CREATE INDEX ix_remote_render_job ON jobctl.remote_render (job_id) WHERE job_id IS NOT NULL;
