CREATE TABLE jobctl.tally_flow (
    period TEXT COLLATE "C" NOT NULL,
    job_kind TEXT COLLATE "C" NOT NULL,
    origin TEXT COLLATE "C" NOT NULL,
    from_status TEXT COLLATE "C" NOT NULL,
    to_status TEXT COLLATE "C" NOT NULL,
    cause TEXT COLLATE "C" NOT NULL,
    error_code TEXT COLLATE "C" NOT NULL,
    count BIGINT NOT NULL,
    CONSTRAINT pk_tally_flow PRIMARY KEY (period, job_kind, origin, from_status, to_status, cause, error_code)
);

CREATE TABLE jobctl.tally_span (
    period TEXT COLLATE "C" NOT NULL,
    job_kind TEXT COLLATE "C" NOT NULL,
    what TEXT COLLATE "C" NOT NULL,
    to_status TEXT COLLATE "C" NOT NULL,
    bucket INTEGER NOT NULL,
    count BIGINT NOT NULL,
    total_s DOUBLE PRECISION NOT NULL,
    CONSTRAINT pk_tally_span PRIMARY KEY (period, job_kind, what, to_status, bucket)
);

CREATE TABLE jobctl.tally_share (
    period TEXT COLLATE "C" NOT NULL,
    owner TEXT COLLATE "C" NOT NULL,
    job_kind TEXT COLLATE "C" NOT NULL,
    to_status TEXT COLLATE "C" NOT NULL,
    count BIGINT NOT NULL,
    total_s DOUBLE PRECISION NOT NULL,
    CONSTRAINT pk_tally_share PRIMARY KEY (period, owner, job_kind, to_status)
);

CREATE TABLE jobctl.tally_position (
    id INTEGER NOT NULL,
    position BIGINT NOT NULL,
    mark BIGINT,
    horizon BIGINT,
    CONSTRAINT pk_tally_position PRIMARY KEY (id)
);
