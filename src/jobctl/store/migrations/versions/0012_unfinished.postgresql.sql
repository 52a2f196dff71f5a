DROP INDEX jobctl.ix_job_unfinished;
CREATE INDEX ix_job_unfinished ON jobctl.job (status, updated_at, job_id) WHERE status IN ('queued', 'processing');
