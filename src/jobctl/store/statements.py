"""Statements for which SQLAlchemy has no words or too many: rows by the thousand, and hot paths."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from itertools import chain, count, islice
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Select, Table
from sqlalchemy.exc import DBAPIError

if TYPE_CHECKING:
    from jobctl.store.dialect import Dialect

_PUT_AT_ONCE = 5_000
_TOO_FEW_TO_COPY = 10
_FETCH = 5_000
_cursors = count(1)


def upsert(connection: Connection, table: Table) -> Any:
    """An insert into ``table`` that can say what happens where the key is taken."""
    if connection.dialect.name == "sqlite":
        from sqlalchemy.dialects import sqlite  # noqa: PLC0415 - slow to import, like the other

        return sqlite.insert(table)
    from sqlalchemy.dialects import postgresql  # noqa: PLC0415

    return postgresql.insert(table)


def put_rows(connection: Connection, table: Table, documents: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows; where the key is taken they replace what is there, also what another writer just put.

    All name the same columns; those that they do not name stay as they are.
    """
    if not documents:
        return
    key = [column.name for column in table.primary_key]
    statement = upsert(connection, table)
    renewed = {name: statement.excluded[name] for name in documents[0] if name not in key}
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
    with told_as_sqlalchemy_tells(connection, sql):
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
    with told_as_sqlalchemy_tells(connection, sql):
        return driver.execute(sql, parameters)


def rows_plain(connection: Connection, sql: str, parameters: Sequence[Any]) -> list[Any]:
    """All rows of one statement, as the driver gives them. ``sql`` marks its parameters with ``?``."""
    if connection.dialect.name != "sqlite":
        sql = sql.replace("?", "%s")
    driver: Any = connection.connection.driver_connection
    with told_as_sqlalchemy_tells(connection, sql):
        rows: list[Any] = driver.execute(sql, parameters).fetchall()
        return rows


def rows_of_bytes(connection: Connection, statement: Select[Any]) -> Sequence[Any]:
    """All rows of a query for much in bytes: PostgreSQL gives them as they are, not as two digits each."""
    if connection.dialect.name == "sqlite":
        return connection.execute(statement).all()
    compiled = statement.compile(
        dialect=connection.dialect,
        schema_translate_map=connection.get_execution_options().get("schema_translate_map"),
        render_schema_translate=True,
        compile_kwargs={"render_postcompile": True},
    )
    sql = str(compiled)
    driver: Any = connection.connection.driver_connection
    with told_as_sqlalchemy_tells(connection, sql):
        found: list[Any] = driver.execute(sql, compiled.params, binary=True).fetchall()
        return found


@contextmanager
def told_as_sqlalchemy_tells(connection: Connection, sql: str) -> Iterator[None]:
    """Do as SQLAlchemy does: callers know one kind of database error, and a lost connection is not kept."""
    base = connection.dialect.loaded_dbapi.Error
    driver = connection.connection
    try:
        yield
    except base as error:
        if connection.dialect.is_disconnect(error, driver, None):
            connection.invalidate(error)
        raise DBAPIError.instance(sql, (), error, base, hide_parameters=True) from error


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
    with told_as_sqlalchemy_tells(connection, f"insert into {table}"):
        if connection.dialect.name == "sqlite":
            marks = ", ".join("?" * len(names))
            driver.executemany(f"INSERT INTO {target} VALUES ({marks})", rows)  # noqa: S608 - names of our own
            return
        rows = iter(rows)
        first = list(islice(rows, _TOO_FEW_TO_COPY + 1))
        with driver.cursor() as cursor:
            if len(first) <= _TOO_FEW_TO_COPY:
                marks = ", ".join(["%s"] * len(names))
                cursor.executemany(f"INSERT INTO {target} VALUES ({marks})", first)  # noqa: S608 - as above
                return
            with cursor.copy(f"COPY {target} FROM STDIN") as copy:
                for row in chain(first, rows):
                    copy.write_row(row)
