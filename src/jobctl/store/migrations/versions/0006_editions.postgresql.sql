CREATE TABLE jobctl.tally_flow (
    edition INTEGER NOT NULL,
    grain TEXT COLLATE "C" NOT NULL,
    period TEXT COLLATE "C" NOT NULL,
    job_kind TEXT COLLATE "C" NOT NULL,
    queue TEXT COLLATE "C" NOT NULL,
    origin TEXT COLLATE "C" NOT NULL,
    from_status TEXT COLLATE "C" NOT NULL,
    to_status TEXT COLLATE "C" NOT NULL,
    cause TEXT COLLATE "C" NOT NULL,
    error_code TEXT COLLATE "C" NOT NULL,
    count BIGINT NOT NULL,
    CONSTRAINT pk_tally_flow PRIMARY KEY (
        edition, grain, period, job_kind, queue, origin, from_status, to_status, cause, error_code
    )
);

CREATE TABLE jobctl.tally_span (
    edition INTEGER NOT NULL,
    grain TEXT COLLATE "C" NOT NULL,
    period TEXT COLLATE "C" NOT NULL,
    job_kind TEXT COLLATE "C" NOT NULL,
    queue TEXT COLLATE "C" NOT NULL,
    what TEXT COLLATE "C" NOT NULL,
    to_status TEXT COLLATE "C" NOT NULL,
    bucket INTEGER NOT NULL,
    count BIGINT NOT NULL,
    total_s DOUBLE PRECISION NOT NULL,
    CONSTRAINT pk_tally_span PRIMARY KEY (edition, grain, period, job_kind, queue, what, to_status, bucket)
);

CREATE TABLE jobctl.tally_share (
    edition INTEGER NOT NULL,
    grain TEXT COLLATE "C" NOT NULL,
    period TEXT COLLATE "C" NOT NULL,
    owner TEXT COLLATE "C" NOT NULL,
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
    run_s DOUBLE PRECISION NOT NULL,
    CONSTRAINT pk_tally_share PRIMARY KEY (edition, grain, period, owner)
);

CREATE TABLE jobctl.tally_position (
    edition INTEGER NOT NULL,
    position BIGINT NOT NULL,
    mark BIGINT,
    horizon BIGINT,
    CONSTRAINT pk_tally_position PRIMARY KEY (edition)
);
