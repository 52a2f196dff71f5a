"""Tables of other programs: read, never written, never migrated.

What is to be read is checked first, so that a name that is missing is told with those that
are there. Rows are streamed: flat in memory, however many there are.
"""

from __future__ import annotations

import json
import os
import sqlite3
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote

from sqlalchemy.exc import SQLAlchemyError

from jobctl.core.foreign import SourceRow, job_id_named, json_safe
from jobctl.errors import SourceUnusable
from jobctl.model.storable import storable_text
from jobctl.source import ColumnPath, Source
from jobctl.store.dialect import SQLite, dialect_of
from jobctl.store.redact import redact_url
from jobctl.store.schema import SCHEMA, metadata
from jobctl.store.sqlite_turns import BUSY_TIMEOUT_S

_FETCH = 500
_STATEMENT_TIMEOUT_MS = 60_000
_LOCK_TIMEOUT_MS = 10_000
_NAMED = 20
_REDACTED = ("error", "video_url", "thumbnail_url")
_OWN_VIEW = "presentation_jobs"


@dataclass(slots=True)
class SourceReading:
    """The rows of one source that name a job. Iterate it once; then the counts are whole."""

    source: Source
    place: str
    rows: int = 0
    skipped: int = 0
    """Rows that name no job: empty, ``unknown``, or no id at all."""
    _records: Iterator[_Record] = field(default_factory=lambda: iter(()))

    def __iter__(self) -> Iterator[SourceRow]:
        for record in self._records:
            fields = {
                name: value
                for name, path in self.source.columns.items()
                if (value := _value(name, record.values[path])) is not None
            }
            job_id = job_id_named(fields)
            if job_id is None:
                self.skipped += 1
                continue
            self.rows += 1
            yield SourceRow(job_id, fields, record.locator)


def read_source(source: Source, *, default_database: str) -> SourceReading:
    """Read another table, row after row.

    While it is iterated it raises ``SourceUnusable`` where the database, the table or a column
    is not there or does not answer; ``UsageError`` for a database that no one could open.
    """
    dialect = dialect_of(source.database or default_database)
    if isinstance(dialect, SQLite):
        opened = _sqlite_records(source, dialect.path)
    else:
        opened = _postgresql_records(source, dialect)
    return SourceReading(source, dialect.place, _records=opened)


class _Record(NamedTuple):
    """One row as read: the value of each path that was asked for."""

    values: Mapping[ColumnPath, Any]
    locator: str


class _Reader(Protocol):
    """What differs between the two databases."""

    def columns(self) -> Mapping[str, str]:
        """The table's columns with their types; empty where there is no such table."""

    def key(self) -> Sequence[str]:
        """The columns of the primary key."""

    def relations(self) -> Sequence[str]:
        """The tables and views there are, some of them."""


def _checked_columns(source: Source, place: str, reader: _Reader) -> Mapping[str, str]:
    there = reader.columns()
    if not there:
        what = f"it has no table or view {_full_name(source)!r}"
        raise _unusable(source, place, what, _listed(reader.relations()))
    wanted = [*(path.column for path in source.columns.values()), *source.filter]
    missing = [column for column in dict.fromkeys(wanted) if column not in there]
    if missing:
        what = f"its table {_full_name(source)!r} has no column {missing[0]!r}"
        raise _unusable(source, place, what, _listed(list(there)))
    return there


def _listed(names: Sequence[str]) -> str:
    if not names:
        return "there is nothing in it that this user can see"
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"there are: {', '.join(names[:_NAMED])}{more}"


def _full_name(source: Source) -> str:
    return f"{source.schema}.{source.table}" if source.schema else source.table


def _unusable(source: Source, place: str, what: str, hint: str) -> SourceUnusable:
    return SourceUnusable(
        f"source {source.name} cannot be read from {redact_url(place)}: {redact_url(what)}", hint=hint
    )


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _locator(source: Source, number: int, key: Sequence[Any]) -> str:
    """How a row is named: by its primary key, else by its number."""
    where = ",".join(_shown(value) for value in key) if key else str(number)
    return f"{source.table}:{where}"


def _shown(value: Any) -> str:
    return storable_text(value if isinstance(value, str) else str(json_safe(value)))


def _value(name: str, raw: Any) -> Any:
    value = json_safe(raw)
    return redact_url(value) if name in _REDACTED and isinstance(value, str) else value


def _followed(value: Any, keys: Sequence[str]) -> Any:
    """What stands at the end of the keys; JSON may be text, and lists are counted from 0."""
    for key in keys:
        if isinstance(value, str | bytes):
            value = _parsed(value)
        if isinstance(value, dict):
            value = value.get(key)
        elif isinstance(value, list) and key.isdecimal() and int(key) < len(value):
            value = value[int(key)]
        else:
            return None
    return value


def _parsed(text: str | bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _select(expressions: Sequence[str], source: Source, *, mark: str) -> str:
    """The one statement that is run on a table of another program; ``%`` is doubled where it is special."""
    named, conditions = _relation(source), [f"{_quoted(column)} = {mark}" for column in source.filter]
    if mark == "%s":
        named = named.replace("%", "%%")
        conditions = [f"{_quoted(column).replace('%', '%%')} = {mark}" for column in source.filter]
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    return f"SELECT {', '.join(expressions)} FROM {named}{where}"  # noqa: S608 - names are quoted


def _relation(source: Source) -> str:
    return ".".join(_quoted(name) for name in (source.schema, source.table) if name)


@contextmanager
def _explained(source: Source, place: str, *errors: type[Exception]) -> Iterator[None]:
    """Tell what the database says as one of jobctl's errors."""
    try:
        yield
    except errors as error:
        said = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
        hint = "check that it is there and may be read; nothing was changed in it"
        raise _unusable(source, place, said, hint) from error


# --- SQLite -----------------------------------------------------------------------------


@dataclass(slots=True)
class _SQLiteTable:
    source: Source
    connection: sqlite3.Connection

    def columns(self) -> Mapping[str, str]:
        return {row[1]: row[2] for row in self._described()}

    def key(self) -> Sequence[str]:
        parts = sorted((row[5], row[1]) for row in self._described() if row[5])
        return [name for _, name in parts]

    def relations(self) -> Sequence[str]:
        named = self.connection.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")
        return sorted(name for (name,) in named if not name.startswith("sqlite_"))

    def is_of_a_store(self) -> bool:
        """Whether the table is one of jobctl's own: what it says comes from the records themselves."""
        names = set(self.relations())
        return {"store", "alembic_version", "run_action"} <= names and (
            self.source.table.lower() in {*metadata.tables, _OWN_VIEW}
        )

    def _described(self) -> list[Any]:
        return self.connection.execute("SELECT * FROM pragma_table_xinfo(?)", (self.source.table,)).fetchall()


def _sqlite_records(source: Source, path: str) -> Iterator[_Record]:
    if source.schema not in {None, "main"}:
        raise _unusable(source, path, "SQLite has no schemas", "leave schema out")
    _expect_file(source, path)
    with _explained(source, path, sqlite3.Error), closing(open_readonly(path)) as connection:
        table = _SQLiteTable(source, connection)
        _checked_columns(source, path, table)
        if table.is_of_a_store():
            what = f"its table {source.table!r} is jobctl's own, and no evidence beside the records"
            raise _unusable(source, path, what, "name the other program's database in database = …")
        yield from _sqlite_rows(source, connection, table.key())


def _sqlite_rows(source: Source, connection: sqlite3.Connection, key: Sequence[str]) -> Iterator[_Record]:
    # Each column once: several paths may lead into one large document.
    columns = list(dict.fromkeys(path.column for path in source.columns.values()))
    followed = {path.column for path in source.columns.values() if path.keys}
    plain = [path for path in source.columns.values() if not path.keys]
    deep = [path for path in source.columns.values() if path.keys]
    sql = _select([_quoted(name) for name in (*columns, *key)], source, mark="?")
    rows = connection.execute(sql, list(source.filter.values()))
    for number, row in enumerate(rows, start=1):
        values = dict(zip(columns, row, strict=False))
        found: dict[ColumnPath, Any] = {path: values[path.column] for path in plain}
        documents = {name: _as_document(values[name]) for name in followed}
        found.update((path, _followed(documents[path.column], path.keys)) for path in deep)
        yield _Record(found, _locator(source, number, row[len(columns) :]))


def _as_document(value: Any) -> Any:
    return _parsed(value) if isinstance(value, str | bytes) else value


def _expect_file(source: Source, path: str) -> None:
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        raise _unusable(
            source, path, error.strerror or "it cannot be looked at", "check database = …"
        ) from None
    if not stat.S_ISREG(mode):
        raise _unusable(source, path, "it is no regular file", "check database = …")


def open_readonly(path: str) -> sqlite3.Connection:
    """Open a SQLite file of another program so that nothing in it can be changed.

    Raises ``sqlite3.Error`` where it is none or cannot be opened.
    """
    try:
        return _connect_sqlite(path, "mode=ro")
    except sqlite3.OperationalError:
        # A file in WAL mode needs files beside it, which only a writable directory can take;
        # without them nobody else has it open, or what they wrote could not be seen anyway.
        if os.path.exists(f"{path}-wal"):
            raise
        return _connect_sqlite(path, "mode=ro&immutable=1")


def _connect_sqlite(path: str, mode: str) -> sqlite3.Connection:
    uri = f"file:{quote(os.fsencode(path))}?{mode}"
    connection = sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None)
    try:
        connection.text_factory = lambda raw: raw.decode("utf-8", "backslashreplace")
        connection.execute("PRAGMA query_only = 1")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error:
        connection.close()
        raise
    return connection


# --- PostgreSQL -------------------------------------------------------------------------


@dataclass(slots=True)
class _PostgreSQLTable:
    source: Source
    cursor: Any
    oid: int | None = None

    def __post_init__(self) -> None:
        name = _relation(self.source)
        self.oid = self.cursor.execute("SELECT to_regclass(%s)::oid", (name,)).fetchone()[0]

    def columns(self) -> Mapping[str, str]:
        named = (
            "SELECT attname, atttypid::regtype::text FROM pg_catalog.pg_attribute"
            " WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
        )
        return dict(self.cursor.execute(named, (self.oid,)).fetchall())

    def key(self) -> Sequence[str]:
        named = (
            "SELECT a.attname FROM pg_catalog.pg_index i"
            " CROSS JOIN unnest(i.indkey) WITH ORDINALITY k (attnum, place)"
            " JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum"
            " WHERE i.indrelid = %s AND i.indisprimary ORDER BY k.place"
        )
        return [name for (name,) in self.cursor.execute(named, (self.oid,))]

    def relations(self) -> Sequence[str]:
        named = (
            "SELECT n.nspname || '.' || c.relname FROM pg_catalog.pg_class c"
            " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
            " WHERE c.relkind IN ('r', 'v', 'm', 'p', 'f') AND n.nspname !~ '^(pg_|information_schema$)'"
            " AND n.nspname <> %s ORDER BY 1"
        )
        return [name for (name,) in self.cursor.execute(named, (SCHEMA,))]


def _postgresql_records(source: Source, dialect: Any) -> Iterator[_Record]:
    import psycopg  # noqa: PLC0415 - slow to import

    if source.schema == SCHEMA:
        what = f"the schema {SCHEMA} is jobctl's own, and no evidence beside the records"
        raise _unusable(source, dialect.place, what, "name the schema of the other program in schema = …")
    errors = (psycopg.Error, SQLAlchemyError, UnicodeError)
    with _explained(source, dialect.place, *errors), dialect.engine().connect() as connection:
        driver = connection.connection.driver_connection
        _begin_reading(driver)
        try:
            yield from _postgresql_rows(source, dialect.place, driver)
        finally:
            driver.rollback()


def _begin_reading(driver: Any) -> None:
    driver.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    driver.execute("SET LOCAL timezone = 'UTC'")
    driver.execute(f"SET LOCAL statement_timeout = {_STATEMENT_TIMEOUT_MS}")
    driver.execute(f"SET LOCAL lock_timeout = {_LOCK_TIMEOUT_MS}")


def _postgresql_rows(source: Source, place: str, driver: Any) -> Iterator[_Record]:
    with driver.cursor() as cursor:
        table = _PostgreSQLTable(source, cursor)
        types = _checked_columns(source, place, table)
        key = table.key()
    paths = list(dict.fromkeys(source.columns.values()))
    expressions = [_postgresql_value(path, types[path.column]) for path in paths]
    expressions += [_postgresql_name(name) + "::text" for name in key]
    keys = [list(path.keys) for path in paths if _is_followed_there(path, types[path.column])]
    with driver.cursor(name="jobctl_source") as cursor:
        cursor.itersize = _FETCH
        cursor.execute(_select(expressions, source, mark="%s"), [*keys, *source.filter.values()])
        for number, row in enumerate(cursor, start=1):
            found = {
                path: _postgresql_rest(path, types[path.column], value)
                for path, value in zip(paths, row, strict=False)
            }
            yield _Record(found, _locator(source, number, row[len(paths) :]))


def _postgresql_value(path: ColumnPath, kind: str) -> str:
    """SQL for a value as JSON text: the server turns every type into it, even infinite moments."""
    document = f"to_json({_postgresql_name(path.column)})"
    return f"({document} #> %s::text[])::text" if _is_followed_there(path, kind) else f"{document}::text"


def _is_followed_there(path: ColumnPath, kind: str) -> bool:
    """Whether the server follows the keys, so that a large document need not travel."""
    # Not in "json": a text with \u0000, which only that type holds, would end the whole query.
    return bool(path.keys) and kind == "jsonb"


def _postgresql_rest(path: ColumnPath, kind: str, value: Any) -> Any:
    document = None if value is None else _parsed(value)
    return document if _is_followed_there(path, kind) else _followed(document, path.keys)


def _postgresql_name(name: str) -> str:
    return _quoted(name).replace("%", "%%")
