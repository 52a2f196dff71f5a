"""The job runner: workers, leases, publications, schedules. Frozen: changes are further migrations."""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0004"
down_revision = "0003"

_TABLES = ("tick", "publication", "lease", "worker")
_BEFORE = (
    "CREATE INDEX ix_job_queued ON {prefix}job (queue, priority DESC, run_at) WHERE status = 'queued'",
    (
        "CREATE INDEX ix_job_unfinished ON {prefix}job (status, last_heartbeat)"
        " WHERE status IN ('queued', 'processing')"
    ),
)


def upgrade() -> None:
    dialect = op.get_bind().dialect.name
    script = Path(__file__).with_name(f"0004_runner.{dialect}.sql").read_text()
    for statement in filter(str.strip, script.split(";\n")):
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    prefix = "jobctl." if op.get_bind().dialect.name == "postgresql" else ""
    for table in _TABLES:
        op.get_bind().exec_driver_sql(f"DROP TABLE {prefix}{table}")
    for index in ("ix_job_queued", "ix_job_unfinished"):
        op.get_bind().exec_driver_sql(f"DROP INDEX {prefix}{index}")
    for statement in _BEFORE:
        op.get_bind().exec_driver_sql(statement.format(prefix=prefix))
