CREATE INDEX ix_job_expired ON jobctl.job (status, updated_at, job_id) WHERE status = 'expired';
CREATE INDEX ix_job_completed_at ON jobctl.job (completed_at DESC, job_id) WHERE completed_at IS NOT NULL;
CREATE INDEX ix_job_owner ON jobctl.job (substr(owner, 1, 200), created_at DESC, job_id) WHERE owner IS NOT NULL;
