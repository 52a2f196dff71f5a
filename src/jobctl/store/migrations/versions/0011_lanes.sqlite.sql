DROP TABLE tally_owners;
CREATE TABLE tally_owners (
    edition INTEGER NOT NULL,
    grain TEXT NOT NULL,
    period TEXT NOT NULL,
    owners BIGINT NOT NULL,
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
    numbers BLOB,
    lanes BLOB NOT NULL,
    CONSTRAINT pk_tally_owners PRIMARY KEY (edition, grain, period)
);
CREATE TABLE owner_number (
    number INTEGER NOT NULL,
    owner TEXT NOT NULL,
    CONSTRAINT pk_owner_number PRIMARY KEY (number),
    CONSTRAINT uq_owner_number_owner UNIQUE (owner)
);
