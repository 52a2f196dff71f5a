"""Expire and clean up: what may go, what stays, whose clock. Frozen: changes are further migrations."""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0003"
down_revision = "0002"

_TABLES = ("clock_watch", "last_run", "loose", "pin")
_COLUMNS = ("category", "entry", "relies_on")


def upgrade() -> None:
    dialect = op.get_bind().dialect.name
    script = Path(__file__).with_name(f"0003_cleanup.{dialect}.sql").read_text()
    for statement in filter(str.strip, script.split(";\n")):
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    prefix = "jobctl." if op.get_bind().dialect.name == "postgresql" else ""
    for table in _TABLES:
        op.get_bind().exec_driver_sql(f"DROP TABLE {prefix}{table}")
    op.get_bind().exec_driver_sql(f"DROP INDEX {prefix}ix_job_ended")
    for column in _COLUMNS:
        op.get_bind().exec_driver_sql(f"ALTER TABLE {prefix}run_action DROP COLUMN {column}")
