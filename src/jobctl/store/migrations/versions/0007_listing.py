"""Indexes for lists: by owner, by completion, the expired. Frozen: changes are further migrations."""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0007"
down_revision = "0006"

_INDEXES = ("ix_job_owner", "ix_job_completed_at", "ix_job_expired")


def upgrade() -> None:
    dialect = op.get_bind().dialect.name
    script = Path(__file__).with_name(f"0007_listing.{dialect}.sql").read_text()
    for statement in filter(str.strip, script.split(";\n")):
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    prefix = "jobctl." if op.get_bind().dialect.name == "postgresql" else ""
    for index in _INDEXES:
        op.get_bind().exec_driver_sql(f"DROP INDEX {prefix}{index}")
