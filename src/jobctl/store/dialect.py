"""What differs between SQLite and PostgreSQL, in one place."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol
from urllib.parse import quote, unquote

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import NullPool

from jobctl.errors import UsageError
from jobctl.store.kept import expect_living, keep_apart
from jobctl.store.postgresql_moments import read_moments
from jobctl.store.redact import redact_url
from jobctl.store.schema import SCHEMA
from jobctl.store.sqlite_turns import BUSY_TIMEOUT_S, Turns, begin_immediate
from jobctl.store.statements import run_plain, told_as_sqlalchemy_tells

CONNECT_TIMEOUT_S = 10
_KEPT, _MORE = 4, 60
_CACHE_KIB, _CACHE_OF_ONE_KEPT_KIB = 16 * 1024, 2 * 1024
"""Each connection of SQLite's has a cache of its own, which it fills and never gives back."""
# Within seconds, not after TCP's quarter of an hour (libpq's documentation, 34.1.2).
_NOTICES_A_LOST_NETWORK = {
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 12_000,
}
_CONNECTS_BY: Mapping[str, Any] = {
    "connect_timeout": CONNECT_TIMEOUT_S,
    "application_name": "jobctl",
    "client_encoding": "utf8",
    # Prepared statements belong to a session, which a transaction-pooling proxy shares out.
    "prepare_threshold": None,
    **_NOTICES_A_LOST_NETWORK,
}
_FORBIDDEN = "writes are forbidden"
_POSTGRESQL = re.compile(r"^postgres(?:ql)?(?:\+psycopg)?://")


class Dialect(Protocol):
    """One of the two databases, by the things in which they differ."""

    @property
    def name(self) -> str:
        """``sqlite`` or ``postgresql``."""

    @property
    def place(self) -> str:
        """The store as an operator would name it, without secrets."""

    @property
    def longest_path(self) -> int | None:
        """How many bytes of a file's path, as it is stored, can be a key; ``None``: as many as there are."""

    def engine(self, *, create: bool = False, pooled: bool = False) -> Engine:
        """Make an engine; with ``create`` it may make an empty database file.

        ``pooled``: it keeps some connections, for a process that comes again and again.
        """

    def make_durable(self, connection: Connection) -> None:
        """Bring a database that is known to be a store into the mode its promises need."""

    def tables(self, connection: Connection) -> set[str]:
        """The names of the tables at the store's place, whoever made them."""

    def begin_read(self, connection: Connection) -> None:
        """Begin a transaction that sees one moment and can change nothing."""

    def turn(self, patience_s: float | None) -> AbstractContextManager[float | None]:
        """Enclose a write and the connection it takes; the patience that is left for ``begin_write``."""

    def begin_write(self, connection: Connection, *, patience_s: float | None = None) -> None:
        """Begin a transaction that may write, and wait for locks no longer than that."""

    def table(self, name: str) -> str:
        """A table's name in plain SQL."""

    def moment(self, column: str) -> str:
        """SQL for a moment as 27 characters of text."""

    def text(self, column: str) -> str:
        """SQL for a JSON column as text."""


@dataclass(frozen=True, slots=True)
class SQLite:
    """The embedded default: one file."""

    path: str
    _turns: Turns = field(default_factory=Turns, repr=False, compare=False)

    @property
    def name(self) -> str:
        return "sqlite"

    @property
    def place(self) -> str:
        return self.path

    @property
    def longest_path(self) -> None:
        return None

    def engine(self, *, create: bool = False, pooled: bool = False) -> Engine:
        # A URI with a mode: opening a store must never make an empty one in a wrong place.
        uri = f"file:{quote(os.fsencode(self.path))}?mode={'rwc' if create else 'rw'}&uri=true"
        engine = create_engine(
            f"sqlite:///{uri}",
            hide_parameters=True,
            connect_args={"timeout": BUSY_TIMEOUT_S, "isolation_level": None, "check_same_thread": False},
            **_pool(pooled=pooled),
        )
        cache_kib = _CACHE_OF_ONE_KEPT_KIB if pooled else _CACHE_KIB
        event.listen(engine, "connect", partial(_set_pragmas, cache_kib))
        if pooled:
            keep_apart(engine, lambda: file_at(self.path))
        return engine

    def make_durable(self, connection: Connection) -> None:
        # Readers and one writer at once. The file remembers it: nothing for one that is not ours.
        connection.exec_driver_sql("PRAGMA journal_mode = WAL")

    def tables(self, connection: Connection) -> set[str]:
        found = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'")
        return {name for name in found.scalars() if not name.startswith("sqlite_")}

    def begin_read(self, connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")
        _forbid_writes(connection, forbidden=True)

    def turn(self, patience_s: float | None) -> AbstractContextManager[float]:
        return self._turns.mine(BUSY_TIMEOUT_S if patience_s is None else patience_s)

    def begin_write(self, connection: Connection, *, patience_s: float | None = None) -> None:
        _forbid_writes(connection, forbidden=False)
        patience_s = BUSY_TIMEOUT_S if patience_s is None else patience_s
        with told_as_sqlalchemy_tells(connection, "BEGIN IMMEDIATE"):
            begin_immediate(connection.connection.driver_connection, patience_s=patience_s)

    def table(self, name: str) -> str:
        return name

    def moment(self, column: str) -> str:
        return column

    def text(self, column: str) -> str:
        return column


def file_at(path: str) -> tuple[int, int] | None:
    """What tells the file at a place from another one that is put there."""
    with suppress(OSError):
        found = os.stat(path)
        return found.st_dev, found.st_ino
    return None


def _forbid_writes(connection: Connection, *, forbidden: bool) -> None:
    """Have SQLite refuse every write, or none. Said if it changes: all statements are prepared anew then."""
    if connection.info.get(_FORBIDDEN, False) is not forbidden:
        run_plain(connection, f"PRAGMA query_only = {forbidden:d}", ())
        connection.info[_FORBIDDEN] = forbidden


def _pool(*, pooled: bool) -> dict[str, Any]:
    """How an engine keeps connections."""
    return {"pool_size": _KEPT, "max_overflow": _MORE} if pooled else {"poolclass": NullPool}


def _set_pragmas(cache_kib: int, driver_connection: Any, _record: Any) -> None:
    cursor = driver_connection.cursor()
    # What a caller was told survives power loss.
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute(f"PRAGMA cache_size = {-cache_kib}")
    cursor.close()


@dataclass(frozen=True, slots=True)
class PostgreSQL:
    """The choice for several servers."""

    url: URL = field(repr=False)  # its own repr shows a password in the query

    @property
    def name(self) -> str:
        return "postgresql"

    @property
    def place(self) -> str:
        user = f"{self.url.username}@" if self.url.username else ""
        hosts = self.url.host or self.url.query.get("host") or ""
        host = hosts if isinstance(hosts, str) else ",".join(hosts)
        port = f":{self.url.port}" if self.url.port else ""
        return f"postgresql://{user}{host}{port}/{self.url.database or ''}"

    @property
    def longest_path(self) -> int:
        # An entry of its indexes has 2,704 bytes at most, and a job id may have 500.
        return 2_000

    def engine(self, *, create: bool = False, pooled: bool = False) -> Engine:
        del create
        engine = create_engine(
            self.url,
            isolation_level="AUTOCOMMIT",
            hide_parameters=True,
            use_native_hstore=False,
            connect_args=_CONNECTS_BY,
            **_pool(pooled=pooled),
        )
        event.listen(engine, "connect", read_moments)
        if pooled:
            keep_apart(engine, lambda: None)
            expect_living(engine)
        return engine.execution_options(schema_translate_map={None: SCHEMA})

    def arguments(self) -> dict[str, Any]:
        """What the driver is given to connect, by name; the password as well."""
        _, named = self.url.get_dialect()().create_connect_args(self.url)
        return {**named, **_CONNECTS_BY}

    def make_durable(self, connection: Connection) -> None:
        """Do nothing: the server's own default is what is promised."""

    def tables(self, connection: Connection) -> set[str]:
        named = "SELECT tablename FROM pg_catalog.pg_tables WHERE schemaname = %s"
        return set(connection.exec_driver_sql(named, (SCHEMA,)).scalars())

    def begin_read(self, connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")

    def turn(self, patience_s: float | None) -> AbstractContextManager[float | None]:
        return nullcontext(patience_s)

    def begin_write(self, connection: Connection, *, patience_s: float | None = None) -> None:
        # Said, since a database may be set to another level, at which who comes second fails.
        connection.exec_driver_sql("BEGIN ISOLATION LEVEL READ COMMITTED")
        if patience_s is not None:
            # Rows are locked here, each by itself; 0 would be for ever.
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = {max(1, round(patience_s * 1000))}")

    def table(self, name: str) -> str:
        return f"{SCHEMA}.{name}"

    def moment(self, column: str) -> str:
        form = 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'
        return f"to_char({column} AT TIME ZONE 'UTC', '{form}')"

    def text(self, column: str) -> str:
        return f"{column}::text"


def dialect_of(url: str) -> Dialect:
    """The database a URL or a plain path names. Raises ``UsageError`` for any other."""
    if "\0" in unquote(url):
        raise UsageError(
            "no database has a NUL in its name; nothing was opened", hint="name one with --database"
        )
    if _POSTGRESQL.match(url):
        return PostgreSQL(_parsed(url))
    if url.startswith("sqlite:///"):
        return SQLite(os.path.abspath(unquote(url.removeprefix("sqlite:///"))))
    scheme = re.match(r"^([a-zA-Z][\w+.-]*)://", url)
    if scheme or not url:
        named = f"{scheme.group(1)}:// names no database jobctl knows" if scheme else "no database is named"
        raise UsageError(
            f"{named}; nothing was opened",
            hint="use a file path, sqlite:///PATH or postgresql://USER@HOST/NAME",
        )
    return SQLite(os.path.abspath(os.path.expanduser(url)))


def _parsed(url: str) -> URL:
    with suppress(ArgumentError, ValueError):
        parsed = make_url(_POSTGRESQL.sub("postgresql+psycopg://", url))
        # A bare @ in the password would put its end into the host's name, which is shown.
        if "@" not in (parsed.host or ""):
            return parsed
    raise UsageError(
        f"{redact_url(url)} is not a database URL that can be read; nothing was opened",
        hint="write it as postgresql://USER:PASSWORD@HOST:PORT/NAME, with %40 for an @ in the password",
    )


def place_of(bind: Engine | Connection) -> tuple[str | None, ...]:
    """What tells one database from another: the file, or host, port and name."""
    url = bind.engine.url
    if url.get_backend_name() == "sqlite":
        path = (url.database or "").removeprefix("file:").partition("?")[0]
        return ("sqlite", os.path.realpath(unquote(path)))
    host = url.host or url.query.get("host")
    return ("postgresql", str(host), str(url.port or url.query.get("port")), url.database)


@contextmanager
def within_schema(connection: Connection) -> Iterator[Connection]:
    """A connection of somebody else's, in a transaction, with jobctl's tables where they are."""
    if connection.dialect.name == "sqlite":
        driver: Any = connection.connection.driver_connection
        # Python's driver begins only before an INSERT; a savepoint before that would commit by itself.
        if driver.isolation_level is not None and not driver.in_transaction:
            connection.exec_driver_sql("BEGIN")
        yield connection
        return
    before = connection.get_execution_options().get("schema_translate_map")
    connection.execution_options(schema_translate_map={None: SCHEMA})
    try:
        yield connection
    finally:
        connection.execution_options(schema_translate_map=before)
