"""What PostgreSQL's planner lacks to know; SQLite needs none of it. Frozen."""

from __future__ import annotations

from alembic import op

revision = "0013"
down_revision = "0012"

_QUEUED = (
    "CREATE INDEX ix_job_queued ON jobctl.job"
    " (queue, kind, priority DESC, coalesce(run_at, '-infinity'::timestamptz), job_id)"
    "{including} WHERE status = 'queued'"
)
_OWNED = (
    "CREATE INDEX ix_job_owner ON jobctl.job (substr(owner, 1, 200), created_at DESC {nulls}, job_id)"
    " WHERE owner IS NOT NULL"
)
_EXPRESSIONS_HAVE_STATISTICS = 140000


def upgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name != "postgresql":
        return
    connection.exec_driver_sql("DROP INDEX jobctl.ix_job_queued")
    connection.exec_driver_sql(_QUEUED.format(including=" INCLUDE (run_at)"))
    connection.exec_driver_sql("DROP INDEX jobctl.ix_job_owner")
    connection.exec_driver_sql(_OWNED.format(nulls="NULLS LAST"))
    if int(connection.exec_driver_sql("SHOW server_version_num").scalar_one()) < _EXPRESSIONS_HAVE_STATISTICS:
        return
    # It knows how common a value is of an index of all rows, but not of one of some.
    connection.exec_driver_sql(
        "CREATE STATISTICS jobctl.job_owner ON (substr(owner, 1, 200)) FROM jobctl.job"
    )
    connection.exec_driver_sql("ANALYZE jobctl.job")


def downgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name != "postgresql":
        return
    connection.exec_driver_sql("DROP STATISTICS IF EXISTS jobctl.job_owner")
    connection.exec_driver_sql("DROP INDEX jobctl.ix_job_queued")
    connection.exec_driver_sql(_QUEUED.format(including=""))
    connection.exec_driver_sql("DROP INDEX jobctl.ix_job_owner")
    connection.exec_driver_sql(_OWNED.format(nulls=""))
