"""All owners of a period that is over, in one row. Frozen: changes are further migrations.

It begins empty: a row is made from the sums that are kept by who asks for it first.
"""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    dialect = op.get_bind().dialect.name
    script = Path(__file__).with_name(f"0009_owners.{dialect}.sql").read_text()
    for statement in filter(str.strip, script.split(";\n")):
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    prefix = "jobctl." if op.get_bind().dialect.name == "postgresql" else ""
    op.get_bind().exec_driver_sql(f"DROP TABLE {prefix}tally_owners")
