"""The index of unfinished jobs is by the time of the last change, as that of the ended ones is. Frozen."""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    dialect = op.get_bind().dialect.name
    script = Path(__file__).with_name(f"0012_unfinished.{dialect}.sql").read_text()
    for statement in filter(str.strip, script.split(";\n")):
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    prefix = "jobctl." if op.get_bind().dialect.name == "postgresql" else ""
    op.get_bind().exec_driver_sql(f"DROP INDEX {prefix}ix_job_unfinished")
    op.get_bind().exec_driver_sql(
        f"CREATE INDEX ix_job_unfinished ON {prefix}job (status, job_id)"
        " WHERE status IN ('queued', 'processing')"
    )
