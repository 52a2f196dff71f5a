"""Evidence beyond the files: logs and the remote renderer. Frozen: changes are further migrations."""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0002"
down_revision = "0001"

_TABLES = ("evidence", "log_position", "log_stream", "remote_render")


def upgrade() -> None:
    dialect = op.get_bind().dialect.name
    script = Path(__file__).with_name(f"0002_evidence.{dialect}.sql").read_text()
    for statement in filter(str.strip, script.split(";\n")):
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    prefix = "jobctl." if op.get_bind().dialect.name == "postgresql" else ""
    for table in _TABLES:
        op.get_bind().exec_driver_sql(f"DROP TABLE {prefix}{table}")
