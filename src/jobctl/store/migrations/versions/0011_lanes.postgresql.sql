DROP TABLE jobctl.tally_owners;
CREATE TABLE jobctl.tally_owners (
    edition INTEGER NOT NULL,
    grain TEXT COLLATE "C" NOT NULL,
    period TEXT COLLATE "C" NOT NULL,
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
    run_s DOUBLE PRECISION NOT NULL,
    numbers BYTEA,
    lanes BYTEA NOT NULL,
    CONSTRAINT pk_tally_owners PRIMARY KEY (edition, grain, period)
);
CREATE TABLE jobctl.owner_number (
    number INTEGER NOT NULL,
    owner TEXT COLLATE "C" NOT NULL,
    CONSTRAINT pk_owner_number PRIMARY KEY (number),
    CONSTRAINT uq_owner_number_owner UNIQUE (owner)
);
ALTER TABLE jobctl.tally_owners ALTER COLUMN numbers SET STORAGE EXTERNAL;
ALTER TABLE jobctl.tally_owners ALTER COLUMN lanes SET STORAGE EXTERNAL;
