DROP INDEX jobctl.ix_job_queued;
CREATE INDEX ix_job_queued ON jobctl.job (queue, kind, priority DESC, coalesce(run_at, '-infinity'::timestamptz), job_id) WHERE status = 'queued';
ALTER TABLE jobctl.worker ADD COLUMN specs JSONB;
ALTER TABLE jobctl.worker ADD COLUMN troubles JSONB;
CREATE TABLE jobctl.task (
    name TEXT COLLATE "C" NOT NULL,
    spec JSONB NOT NULL,
    worker TEXT COLLATE "C" NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_task PRIMARY KEY (name)
);
