"""The tally: the history added up, for metrics at any size. Frozen: changes are further migrations."""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0005"
down_revision = "0004"

_TABLES = ("tally_position", "tally_share", "tally_span", "tally_flow")


def upgrade() -> None:
    dialect = op.get_bind().dialect.name
    script = Path(__file__).with_name(f"0005_tally.{dialect}.sql").read_text()
    for statement in filter(str.strip, script.split(";\n")):
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    prefix = "jobctl." if op.get_bind().dialect.name == "postgresql" else ""
    for table in _TABLES:
        op.get_bind().exec_driver_sql(f"DROP TABLE {prefix}{table}")
