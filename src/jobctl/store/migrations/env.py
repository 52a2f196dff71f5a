"""Alembic's entry: run on the connection that ``migrate`` hands over."""

from __future__ import annotations

from alembic import context

from jobctl.store.migrations import version_schema
from jobctl.store.schema import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    version_table_schema=version_schema(connection),
    transactional_ddl=False,  # migrate() has begun the one transaction
)
context.run_migrations()
