"""Owners of a period that is over are lanes of their numbers. Frozen: changes are further migrations.

What was kept in one row was made from sums that are kept still, and is made from them again.
"""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    _run("0011_lanes")


def downgrade() -> None:
    prefix = "jobctl." if op.get_bind().dialect.name == "postgresql" else ""
    for table in ("owner_number", "tally_owners"):
        op.get_bind().exec_driver_sql(f"DROP TABLE {prefix}{table}")
    _run("0009_owners")


def _run(name: str) -> None:
    script = Path(__file__).with_name(f"{name}.{op.get_bind().dialect.name}.sql").read_text()
    for statement in filter(str.strip, script.split(";\n")):
        op.get_bind().exec_driver_sql(statement)
