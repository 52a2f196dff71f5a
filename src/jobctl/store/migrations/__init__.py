"""Schema versions, up and down. Imported only when a store is made or brought up to date."""

from __future__ import annotations

import os

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine

from jobctl.store.dialect import Dialect
from jobctl.store.schema import SCHEMA

# Any number will do, as long as all who migrate take the same.
_TURN = 7_020_619


def migrate(engine: Engine, dialect: Dialect, target: str) -> None:
    """Bring the store to schema version ``target``, up or down; ``base`` removes everything.

    All in one transaction on both databases: an interrupted migration leaves nothing half done.
    """
    with engine.connect() as connection:
        dialect.begin_write(connection)
        migrate_within(connection, target)
        connection.exec_driver_sql("COMMIT")


def migrate_within(connection: Connection, target: str) -> None:
    """Do what ``migrate`` does in the transaction that the caller has begun."""
    if connection.dialect.name == "postgresql":
        _take_turn(connection)
    current = _current(connection)
    config = _config(connection)
    if target == "base" or (current is not None and current > target):
        command.downgrade(config, target)
    else:
        command.upgrade(config, target)
    if target == "base":
        _leave_nothing(connection)


def _take_turn(connection: Connection) -> None:
    """Let one migrate after the other: SQLite's one writer does that by itself."""
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_TURN})")
    # Asked first: who may use a schema that is there need not be allowed to make one.
    if connection.exec_driver_sql(f"SELECT to_regnamespace('{SCHEMA}')").scalar() is None:
        connection.exec_driver_sql(f"CREATE SCHEMA {SCHEMA}")


def _leave_nothing(connection: Connection) -> None:
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("DROP TABLE alembic_version")
    else:
        connection.exec_driver_sql(f"DROP TABLE {SCHEMA}.alembic_version")
        connection.exec_driver_sql(f"DROP SCHEMA {SCHEMA}")


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
