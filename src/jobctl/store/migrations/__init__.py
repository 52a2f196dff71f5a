"""Schema versions, up and down. Imported only when a store is made or brought up to date."""

from __future__ import annotations

import os

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine

from jobctl.store.dialect import Dialect
from jobctl.store.schema import SCHEMA


def migrate(engine: Engine, dialect: Dialect, target: str) -> None:
    """Bring the store to schema version ``target``, up or down; ``base`` removes everything.

    All in one transaction on both databases: an interrupted migration leaves nothing half done.
    """
    with engine.connect() as connection:
        dialect.begin_write(connection)
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
        current = _current(connection)
        config = _config(connection)
        if target == "base" or (current is not None and current > target):
            command.downgrade(config, target)
        else:
            command.upgrade(config, target)
        connection.exec_driver_sql("COMMIT")


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", os.path.dirname(__file__).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _current(connection: Connection) -> str | None:
    from alembic.migration import MigrationContext  # noqa: PLC0415 - beside its only use

    options = {"version_table_schema": version_schema(connection)}
    return MigrationContext.configure(connection, opts=options).get_current_revision()


def version_schema(connection: Connection) -> str | None:
    """The schema that the version table lives in."""
    return SCHEMA if connection.dialect.name == "postgresql" else None
