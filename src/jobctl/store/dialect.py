"""What differs between SQLite and PostgreSQL, in one place."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any, Protocol
from urllib.parse import quote, unquote

from sqlalchemy import URL, Connection, Engine, Table, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import NullPool

from jobctl.errors import UsageError
from jobctl.store.kept import expect_living, keep_apart
from jobctl.store.redact import redact_url
from jobctl.store.schema import SCHEMA
from jobctl.store.sqlite_turns import BUSY_TIMEOUT_S, Turns, begin_immediate

CONNECT_TIMEOUT_S = 10
_PUT_AT_ONCE = 5_000
_KEPT, _MORE = 4, 60
_CACHE_KIB, _CACHE_OF_ONE_KEPT_KIB = 16 * 1024, 2 * 1024
"""Each connection of SQLite's has a cache of its own, which it fills and never gives back."""
_TOO_FEW_TO_COPY = 10
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
    # Prepared statements belong to a session, which a transaction-pooling proxy shares out.
    "prepare_threshold": None,
    **_NOTICES_A_LOST_NETWORK,
}
_FETCH = 5_000
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
        with _told_as_sqlalchemy_tells(connection, "BEGIN IMMEDIATE"):
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
        connection.exec_driver_sql("BEGIN")
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


def upsert(connection: Connection, table: Table) -> Any:
    """An insert into ``table`` that can say what happens where the key is taken."""
    if connection.dialect.name == "sqlite":
        from sqlalchemy.dialects import sqlite  # noqa: PLC0415 - slow to import, like the other

        return sqlite.insert(table)
    from sqlalchemy.dialects import postgresql  # noqa: PLC0415

    return postgresql.insert(table)


def put_rows(connection: Connection, table: Table, documents: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows; where the key is taken they replace what is there, also what another writer just put."""
    if not documents:
        return
    key = [column.name for column in table.primary_key]
    statement = upsert(connection, table)
    renewed = {column.name: statement.excluded[column.name] for column in table.c if column.name not in key}
    statement = statement.on_conflict_do_update(index_elements=key, set_=renewed)
    for start in range(0, len(documents), _PUT_AT_ONCE):
        connection.execute(statement, documents[start : start + _PUT_AT_ONCE])


def stream_range(
    connection: Connection, sql: str, key: str, low: str, high: str | None, *parameters: Any
) -> Iterator[Any]:
    """Rows with ``low`` ≤ ``key`` < ``high`` in order of the key, as the driver gives them.

    A block at a time, flat in memory, for where a million rows pass: SQLAlchemy's result
    processing would cost as much as reading them. ``sql`` marks its parameters with ``?``.
    """
    bounds = (low,) if high is None else (low, high)
    upper = "" if high is None else f" AND {key} < ?"
    joint = "AND" if " WHERE " in sql else "WHERE"
    return stream_rows(connection, f"{sql} {joint} {key} >= ?{upper} ORDER BY {key}", (*parameters, *bounds))


def stream_rows(connection: Connection, sql: str, parameters: tuple[Any, ...]) -> Iterator[Any]:
    """The rows of a statement as the driver gives them. ``sql`` marks its parameters with ``?``."""
    driver: Any = connection.connection.driver_connection
    blocks = _sqlite_blocks if connection.dialect.name == "sqlite" else _postgresql_blocks
    with _told_as_sqlalchemy_tells(connection, sql):
        for rows in blocks(driver, sql, parameters):
            yield from rows


def _sqlite_blocks(driver: Any, sql: str, parameters: tuple[Any, ...]) -> Iterator[list[Any]]:
    with closing(driver.execute(sql, parameters)) as cursor:
        while rows := cursor.fetchmany(_FETCH):
            yield rows


def _postgresql_blocks(driver: Any, sql: str, parameters: tuple[Any, ...]) -> Iterator[list[Any]]:
    """The server's cursor lives in the transaction that the caller has begun, and ends with it at the latest.

    The driver's own kind of such a cursor wants to be closed, and to talk to the server for that, whenever
    whoever left the stream halfway is collected: perhaps amid the next transaction.
    """
    name = f"jobctl_{next(_cursors)}"
    driver.execute(f"DECLARE {name} CURSOR FOR {sql.replace('?', '%s')}", parameters)
    while rows := driver.execute(f"FETCH {_FETCH} FROM {name}").fetchall():
        yield rows
    driver.execute(f"CLOSE {name}")


def run_plain(connection: Connection, sql: str, parameters: Sequence[Any]) -> Any:
    """One statement of the driver's own SQL, its cursor; without what SQLAlchemy puts around it."""
    driver: Any = connection.connection.driver_connection
    with _told_as_sqlalchemy_tells(connection, sql):
        return driver.execute(sql, parameters)


def rows_plain(connection: Connection, sql: str, parameters: Sequence[Any]) -> list[Any]:
    """All rows of one statement, as the driver gives them. ``sql`` marks its parameters with ``?``."""
    if connection.dialect.name != "sqlite":
        sql = sql.replace("?", "%s")
    driver: Any = connection.connection.driver_connection
    with _told_as_sqlalchemy_tells(connection, sql):
        rows: list[Any] = driver.execute(sql, parameters).fetchall()
        return rows


@contextmanager
def _told_as_sqlalchemy_tells(connection: Connection, sql: str) -> Iterator[None]:
    """Do as SQLAlchemy does: callers know one kind of database error, and a lost connection is not kept."""
    base = connection.dialect.loaded_dbapi.Error
    driver = connection.connection
    try:
        yield
    except base as error:
        if connection.dialect.is_disconnect(error, driver, None):
            connection.invalidate(error)
        raise DBAPIError.instance(sql, (), error, base, hide_parameters=True) from error


_cursors = count(1)


def refresh_statistics(connection: Connection, dialect: Dialect, table: str) -> None:
    """Tell PostgreSQL's planner of many new rows at once; it would hear of them only later."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"ANALYZE {dialect.table(table)}")


def bulk_insert(
    connection: Connection, dialect: Dialect, table: str, names: Sequence[str], rows: Iterable[Sequence[Any]]
) -> None:
    """Insert many rows of plain values (JSON as text) the fastest way the database has."""
    driver: Any = connection.connection.driver_connection
    target = f"{dialect.table(table)} ({', '.join(names)})"
    with _told_as_sqlalchemy_tells(connection, f"insert into {table}"):
        if connection.dialect.name == "sqlite":
            marks = ", ".join("?" * len(names))
            driver.executemany(f"INSERT INTO {target} VALUES ({marks})", rows)  # noqa: S608 - names of our own
            return
        with driver.cursor() as cursor:
            if isinstance(rows, list) and len(rows) <= _TOO_FEW_TO_COPY:
                marks = ", ".join(["%s"] * len(names))
                cursor.executemany(f"INSERT INTO {target} VALUES ({marks})", rows)  # noqa: S608 - as above
                return
            with cursor.copy(f"COPY {target} FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)


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
