"""The first schema. Frozen: changes are further migrations."""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0001"
down_revision = None

_TABLES = (
    *("artifact", "declined", "directory", "event", "heartbeat_watch", "job", "job_body", "lock"),
    *("root", "run", "run_action", "scan", "sighting", "store", "tombstone"),
)


def upgrade() -> None:
    dialect = op.get_bind().dialect.name
    script = Path(__file__).with_name(f"0001_initial.{dialect}.sql").read_text()
    for statement in filter(str.strip, script.split(";\n")):
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    prefix = "jobctl." if op.get_bind().dialect.name == "postgresql" else ""
    op.get_bind().exec_driver_sql(f"DROP VIEW {prefix}presentation_jobs")
    for table in _TABLES:
        op.get_bind().exec_driver_sql(f"DROP TABLE {prefix}{table}")
