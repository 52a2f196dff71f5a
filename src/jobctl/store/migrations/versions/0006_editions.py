"""The tally by queue and owner too, and in editions. Frozen: changes are further migrations.

What was added up is dropped: it is made anew from the history, which has it all.
"""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0006"
down_revision = "0005"

_TABLES = ("tally_position", "tally_share", "tally_span", "tally_flow")


def upgrade() -> None:
    _drop()
    _make("0006_editions")


def downgrade() -> None:
    _drop()
    _make("0005_tally")


def _drop() -> None:
    prefix = "jobctl." if op.get_bind().dialect.name == "postgresql" else ""
    for table in _TABLES:
        op.get_bind().exec_driver_sql(f"DROP TABLE {prefix}{table}")


def _make(name: str) -> None:
    dialect = op.get_bind().dialect.name
    script = Path(__file__).with_name(f"{name}.{dialect}.sql").read_text()
    for statement in filter(str.strip, script.split(";\n")):
        op.get_bind().exec_driver_sql(statement)
