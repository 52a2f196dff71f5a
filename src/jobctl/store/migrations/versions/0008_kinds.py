"""Workers take only jobs of tasks they know, and tell how those are declared. Frozen."""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0008"
down_revision = "0007"

_AT_ONCE = {"postgresql": "'-infinity'::timestamptz", "sqlite": "''"}


def upgrade() -> None:
    dialect = op.get_bind().dialect.name
    script = Path(__file__).with_name(f"0008_kinds.{dialect}.sql").read_text()
    for statement in filter(str.strip, script.split(";\n")):
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    dialect = op.get_bind().dialect.name
    prefix = "jobctl." if dialect == "postgresql" else ""
    for statement in (
        f"DROP TABLE {prefix}task",
        f"ALTER TABLE {prefix}worker DROP COLUMN specs",
        f"ALTER TABLE {prefix}worker DROP COLUMN troubles",
        f"DROP INDEX {prefix}ix_job_queued",
        (
            f"CREATE INDEX ix_job_queued ON {prefix}job (queue, priority DESC,"
            f" coalesce(run_at, {_AT_ONCE[dialect]}), job_id) WHERE status = 'queued'"
        ),
    ):
        op.get_bind().exec_driver_sql(statement)
