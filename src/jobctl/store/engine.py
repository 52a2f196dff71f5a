"""Open a store, and begin its transactions."""

from __future__ import annotations

import getpass
import os
import secrets
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from sqlalchemy import Connection, Engine, insert, select
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError

from jobctl import clock
from jobctl.errors import StoreSchemaMismatch, StoreUninitialised, StoreUnreachable
from jobctl.store.dialect import Dialect, SQLite, dialect_of
from jobctl.store.redact import redact_url
from jobctl.store.schema import store as store_table

__all__ = ["Connection", "Store", "create_store", "open_store"]

HEAD = "0001"
"""The schema version this program reads and writes: the newest migration."""

_MAKE_ONE = "create it with 'jobctl init', or name another with --database"


class Committable(Protocol):
    """What can be committed."""

    def commit(self) -> None: ...


@dataclass(slots=True)
class Store:
    """An opened store. ``commit_hook``, where set, carries out every commit of a write."""

    dialect: Dialect
    engine: Engine
    store_id: str
    commit_hook: Callable[[Committable], None] | None = None

    @property
    def url(self) -> str:
        """Where the store is, without secrets."""
        return self.dialect.place

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Look at one moment of the store."""
        with self._connect() as connection:
            self.dialect.begin_read(connection)
            try:
                yield connection
            finally:
                with suppress(SQLAlchemyError):
                    connection.exec_driver_sql("ROLLBACK")

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Change the store: committed at the end, rolled back on any error."""
        with self._connect() as connection:
            self.dialect.begin_write(connection)
            try:
                yield connection
                transaction = _Transaction(connection)
                if self.commit_hook is None:
                    transaction.commit()
                else:
                    self.commit_hook(transaction)
            except BaseException:
                with suppress(SQLAlchemyError):
                    connection.exec_driver_sql("ROLLBACK")
                raise

    def now(self, connection: Connection) -> datetime:
        """The store's clock: the server's on PostgreSQL, this machine's on SQLite."""
        if self.dialect.name == "sqlite":
            return clock.now()
        moment: datetime = connection.exec_driver_sql("SELECT clock_timestamp()").scalar_one()
        return moment.astimezone(UTC)

    def close(self) -> None:
        """Let go of the store."""
        self.engine.dispose()

    @contextmanager
    def _connect(self) -> Iterator[Connection]:
        try:
            with self.engine.connect() as connection:
                yield connection
        except DBAPIError as error:
            raise _unreachable(self.dialect, error) from error


@dataclass(frozen=True, slots=True)
class _Transaction:
    connection: Connection

    def commit(self) -> None:
        self.connection.exec_driver_sql("COMMIT")


def open_store(url: str) -> Store:
    """Open the store at ``url``; never makes one.

    Raises ``StoreUninitialised``, ``StoreSchemaMismatch`` or ``StoreUnreachable``, each
    naming place and user.
    """
    dialect = dialect_of(url)
    if isinstance(dialect, SQLite):
        _check_file(dialect)
    engine = dialect.engine()
    try:
        with engine.connect() as connection:
            version = _schema_version(dialect, connection)
            if version is None:
                raise StoreUninitialised(
                    f"there is no job store in {dialect.place}{_as_user()}", hint=_MAKE_ONE
                )
            if version != HEAD:
                raise _other_schema(dialect, version)
            store_id = connection.execute(select(store_table.c.store_id)).scalar_one_or_none()
    except DBAPIError as error:
        raise _unreachable(dialect, error) from error
    if store_id is None:
        raise StoreUninitialised(f"the job store in {dialect.place} was not finished", hint=_MAKE_ONE)
    return Store(dialect, engine, store_id)


def create_store(url: str, *, now: datetime, version: str) -> tuple[Store, bool]:
    """Open the store at ``url``, making it where there is none; the flag says whether it was made.

    ``version`` is that of the program. An interrupted creation is completed.
    """
    dialect = dialect_of(url)
    with suppress(StoreUninitialised):
        return open_store(url), False
    from jobctl.store.migrations import migrate  # noqa: PLC0415 - Alembic is slow to import

    if isinstance(dialect, SQLite):
        _make_file(dialect)
    engine = dialect.engine(create=True)
    try:
        migrate(engine, dialect, HEAD)
        with engine.connect() as connection:
            dialect.begin_write(connection)
            if connection.execute(select(store_table.c.store_id)).first() is None:
                made = {
                    "store_id": secrets.token_hex(8),
                    "created_at": now,
                    "created_by": f"jobctl {version}",
                }
                connection.execute(insert(store_table), made)
            connection.exec_driver_sql("COMMIT")
    except DBAPIError as error:
        raise _unreachable(dialect, error) from error
    return open_store(url), True


def _check_file(dialect: SQLite) -> None:
    path = dialect.path
    if os.path.isdir(path):
        raise StoreUnreachable(f"{path} is a directory, not a job store", hint=_MAKE_ONE)
    if not os.path.exists(path):
        raise StoreUninitialised(f"there is no job store at {path}{_as_user()}", hint=_MAKE_ONE)
    # WAL needs to write beside the file as well.
    for place, mode in ((path, os.R_OK | os.W_OK), (os.path.dirname(path), os.W_OK | os.X_OK)):
        if not os.access(place, mode):
            raise StoreUnreachable(
                f"the job store {path} cannot be used{_as_user()}: no permission on {place}",
                hint="run jobctl as the store's owner, or mend the permissions",
            )


def _make_file(dialect: SQLite) -> None:
    directory = os.path.dirname(dialect.path)
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        os.close(os.open(dialect.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise StoreUnreachable(
            f"the job store {dialect.path} cannot be made{_as_user()}: {error.strerror}",
            hint="name a writable place with --database",
        ) from None


def _schema_version(dialect: Dialect, connection: Connection) -> str | None:
    exists = (
        "SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'"
        if dialect.name == "sqlite"
        else "SELECT 1 WHERE to_regclass('jobctl.alembic_version') IS NOT NULL"
    )
    if connection.exec_driver_sql(exists).first() is None:
        return None
    row = connection.exec_driver_sql(f"SELECT version_num FROM {dialect.table('alembic_version')}").first()  # noqa: S608
    return None if row is None else str(row[0])


def _other_schema(dialect: Dialect, version: str) -> StoreSchemaMismatch:
    hint = "install the version of jobctl that made it"
    if version < HEAD:
        hint = "bring it up to date with 'jobctl init'"
    return StoreSchemaMismatch(
        f"the store {dialect.place} has schema {version}, this jobctl needs {HEAD}; it was left as it is",
        hint=hint,
    )


def _unreachable(dialect: Dialect, error: DBAPIError) -> StoreUnreachable:
    said = redact_url(str(error.orig).strip().partition("\n")[0])
    hint = "check that the server runs and that --database names it rightly"
    if isinstance(dialect, SQLite):
        hint = "check the file, its directory and the free space; 'jobctl init' makes a new store"
        if isinstance(error, OperationalError) and isinstance(error.orig, sqlite3.OperationalError):
            hint = "check permissions and free space, then run the same command again"
    return StoreUnreachable(f"the job store {dialect.place} cannot be used{_as_user()}: {said}", hint=hint)


def _as_user() -> str:
    try:
        return f" (as user {getpass.getuser()})"
    except (KeyError, OSError):
        return f" (as uid {os.getuid()})"
