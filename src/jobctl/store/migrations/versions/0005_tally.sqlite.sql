CREATE TABLE tally_flow (
    period TEXT NOT NULL,
    job_kind TEXT NOT NULL,
    origin TEXT NOT NULL,
    from_status TEXT NOT NULL,
    to_status TEXT NOT NULL,
    cause TEXT NOT NULL,
    error_code TEXT NOT NULL,
    count BIGINT NOT NULL,
    CONSTRAINT pk_tally_flow PRIMARY KEY (period, job_kind, origin, from_status, to_status, cause, error_code)
)
 WITHOUT ROWID;

CREATE TABLE tally_span (
    period TEXT NOT NULL,
    job_kind TEXT NOT NULL,
    what TEXT NOT NULL,
    to_status TEXT NOT NULL,
    bucket INTEGER NOT NULL,
    count BIGINT NOT NULL,
    total_s DOUBLE NOT NULL,
    CONSTRAINT pk_tally_span PRIMARY KEY (period, job_kind, what, to_status, bucket)
)
 WITHOUT ROWID;

CREATE TABLE tally_share (
    period TEXT NOT NULL,
    owner TEXT NOT NULL,
    job_kind TEXT NOT NULL,
    to_status TEXT NOT NULL,
    count BIGINT NOT NULL,
    total_s DOUBLE NOT NULL,
    CONSTRAINT pk_tally_share PRIMARY KEY (period, owner, job_kind, to_status)
)
 WITHOUT ROWID;

CREATE TABLE tally_position (
    id INTEGER NOT NULL,
    position BIGINT NOT NULL,
    mark BIGINT,
    horizon BIGINT,
    CONSTRAINT pk_tally_position PRIMARY KEY (id)
);
