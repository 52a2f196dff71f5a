DROP INDEX ix_job_queued;
CREATE INDEX ix_job_queued ON job (queue, kind, priority DESC, coalesce(run_at, ''), job_id) WHERE status = 'queued';
ALTER TABLE worker ADD COLUMN specs JSON;
ALTER TABLE worker ADD COLUMN troubles JSON;
CREATE TABLE task (
    name TEXT NOT NULL,
    spec JSON NOT NULL,
    worker TEXT NOT NULL,
    at TEXT NOT NULL,
    CONSTRAINT pk_task PRIMARY KEY (name),
    CONSTRAINT ck_task_at_form CHECK (length(at) = 27)
) WITHOUT ROWID;
