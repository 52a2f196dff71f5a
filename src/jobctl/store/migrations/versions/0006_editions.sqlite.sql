CREATE TABLE tally_flow (
    edition INTEGER NOT NULL,
    grain TEXT NOT NULL,
    period TEXT NOT NULL,
    job_kind TEXT NOT NULL,
    queue TEXT NOT NULL,
    origin TEXT NOT NULL,
    from_status TEXT NOT NULL,
    to_status TEXT NOT NULL,
    cause TEXT NOT NULL,
    error_code TEXT NOT NULL,
    count BIGINT NOT NULL,
    CONSTRAINT pk_tally_flow PRIMARY KEY (
        edition, grain, period, job_kind, queue, origin, from_status, to_status, cause, error_code
    )
)
 WITHOUT ROWID;

CREATE TABLE tally_span (
    edition INTEGER NOT NULL,
    grain TEXT NOT NULL,
    period TEXT NOT NULL,
    job_kind TEXT NOT NULL,
    queue TEXT NOT NULL,
    what TEXT NOT NULL,
    to_status TEXT NOT NULL,
    bucket INTEGER NOT NULL,
    count BIGINT NOT NULL,
    total_s DOUBLE NOT NULL,
    CONSTRAINT pk_tally_span PRIMARY KEY (edition, grain, period, job_kind, queue, what, to_status, bucket)
)
 WITHOUT ROWID;

CREATE TABLE tally_share (
    edition INTEGER NOT NULL,
    grain TEXT NOT NULL,
    period TEXT NOT NULL,
    owner TEXT NOT NULL,
    created BIGINT NOT NULL,
    imported BIGINT NOT NULL,
    started BIGINT NOT NULL,
    completed BIGINT NOT NULL,
    failed BIGINT NOT NULL,
    cancelled BIGINT NOT NULL,
    expired BIGINT NOT NULL,
    retried BIGINT NOT NULL,
    lost BIGINT NOT NULL,
    recovered BIGINT NOT NULL,
    runs BIGINT NOT NULL,
    run_s DOUBLE NOT NULL,
    CONSTRAINT pk_tally_share PRIMARY KEY (edition, grain, period, owner)
)
 WITHOUT ROWID;

CREATE TABLE tally_position (
    edition INTEGER NOT NULL,
    position BIGINT NOT NULL,
    mark BIGINT,
    horizon BIGINT,
    CONSTRAINT pk_tally_position PRIMARY KEY (edition)
);
