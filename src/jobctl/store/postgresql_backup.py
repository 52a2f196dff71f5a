"""What a dump of a PostgreSQL store holds, and putting it in the place of what is there.

Only the rows of a dump are taken: the tables are made by jobctl's own migrations, so that no
statement that stands in a file is carried out, and the versions of the servers may differ.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from jobctl import clock
from jobctl.errors import BackupUnusable, StoreInUse
from jobctl.model.backup import Contents
from jobctl.store.backup_contents import contents_of
from jobctl.store.dialect import PostgreSQL
from jobctl.store.engine import HEAD, Connection, explained
from jobctl.store.postgresql_moments import parse_moment
from jobctl.store.postgresql_tools import Copied, Tool, rows_of
from jobctl.store.schema import SCHEMA

_PATIENCE_S = 30
_BELOW_DEADLOCK_MS = 500
"""Less than PostgreSQL's ``deadlock_timeout``, a second."""
_OTHERS_WRITE = frozenset({"55P03", "40P01"})
"""SQLSTATE of a lock that was waited for in vain, and of a deadlock."""
_NULL = rb"\N"
_VERSION_TABLE = "alembic_version"
_TELLING = frozenset({"store", "job", "event"})
"""Any of them shows that a versioned schema is a store, whatever became of the others."""
_GRANTEE = "CASE right_.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(right_.grantee)) END"


def contents_of_dump(tool: Tool, path: str, on_rows: Callable[[int], None]) -> Contents:
    """Read a dump to its end. Raises ``BackupUnusable`` for what is none of a store, or is cut short."""
    found = _count(tool, path, on_rows)
    if not {"store_id", "schema"} <= found.keys():
        raise _of_no_store(path)
    jobs = dict(found["jobs"])
    return Contents(found["store_id"], found["schema"], jobs, found["events"], found["last"], found["at"])


def store_id_of_dump(tool: Tool, path: str) -> str | None:
    """Which store a dump is of, without reading all of it. Raises ``BackupUnusable``."""
    return _count(tool, path, lambda _: None, table="store").get("store_id")


def _count(
    tool: Tool, path: str, on_rows: Callable[[int], None], *, table: str | None = None
) -> dict[str, Any]:
    """What all tables of a dump, or one, tell of it."""
    found: dict[str, Any] = {"jobs": Counter(), "events": 0, "last": 0, "at": None}
    seen = 0
    try:
        with rows_of(tool, path, table=table) as tables:
            for each in tables:
                for line in _Counted(each, found).lines():
                    del line
                    seen += 1
                    if seen % 10_000 == 0:
                        on_rows(seen)
    except (LookupError, ValueError):
        # Tables of another program may have the names of ours.
        raise _of_no_store(path) from None
    return found


def _of_no_store(path: str) -> BackupUnusable:
    return BackupUnusable(
        f"{path} is a dump, and none of a job store; nothing was changed",
        hint="name a file that 'jobctl backup' made",
    )


class _Counted:
    """Notes of the rows of one table what ``Contents`` tells."""

    def __init__(self, table: Copied, found: dict[str, Any]) -> None:
        self.table, self.found = table, found

    def lines(self) -> Iterator[bytes]:
        note = {
            "store": self._store,
            _VERSION_TABLE: self._version,
            "job": self._job,
            "event": self._event,
        }.get(self.table.table)
        for line in self.table.lines:
            if note is not None:
                values = line.rstrip(b"\n").split(b"\t")
                note(dict(zip(self.table.columns, values, strict=True)))
            yield line

    def _store(self, row: dict[str, bytes]) -> None:
        self.found["store_id"] = row["store_id"].decode()

    def _version(self, row: dict[str, bytes]) -> None:
        self.found["schema"] = row["version_num"].decode()

    def _job(self, row: dict[str, bytes]) -> None:
        self.found["jobs"][row["status"].decode()] += 1

    def _event(self, row: dict[str, bytes]) -> None:
        self.found["events"] += 1
        self.found["last"] = max(self.found["last"], int(row["event_id"]))
        if row["at"] != _NULL:
            at = parse_moment(row["at"].decode())
            self.found["at"] = at if self.found["at"] is None else max(self.found["at"], at)


def schema_version(dialect: PostgreSQL) -> str | None:
    """The schema version of a store that cannot be opened; ``None`` where there is no schema ``jobctl``.

    Empty where there is one and it is no store. Raises ``StoreUnreachable``.
    """
    with explained(dialect), dialect.engine().connect() as connection:
        if connection.exec_driver_sql(f"SELECT to_regnamespace('{SCHEMA}')").scalar() is None:
            return None
        tables = dialect.tables(connection)
        if _VERSION_TABLE not in tables or _TELLING.isdisjoint(tables):
            return ""
        named = f"SELECT version_num FROM {SCHEMA}.{_VERSION_TABLE}"  # noqa: S608 - names of our own
        return connection.exec_driver_sql(named).scalar_one_or_none() or ""


def server_version(dialect: PostgreSQL) -> int:
    """The major version of the server. Raises ``StoreUnreachable``."""
    with explained(dialect), dialect.engine().connect() as connection:
        return int(connection.exec_driver_sql("SHOW server_version_num").scalar_one()) // 10_000


def others_connected(connection: Connection) -> int:
    """How many other connections of jobctl there are to this database."""
    others = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND application_name = 'jobctl' AND pid <> pg_backend_pid()"
    )
    return int(connection.exec_driver_sql(others).scalar_one())


@contextmanager
def writers_waiting(connection: Connection, dialect: PostgreSQL) -> Iterator[None]:
    """Begin the transaction of a restore: from here on all others can only read, and wait for its end.

    The caller commits. Raises ``StoreInUse`` where somebody writes for longer than is waited for.
    """
    late = clock.monotonic() + _PATIENCE_S
    while not _has_begun(connection, dialect):
        if clock.monotonic() >= late:
            raise StoreInUse(
                "somebody has been writing to the store for half a minute; nothing was changed",
                hint="see who in pg_stat_activity, and run the same command again",
            )
    import psycopg  # noqa: PLC0415 - slow to import

    try:
        with explained(dialect, psycopg.Error):
            yield
    except BaseException:
        connection.exec_driver_sql("ROLLBACK")
        raise


def _has_begun(connection: Connection, dialect: PostgreSQL) -> bool:
    """Begin a transaction and lock every table; ``False``, and no transaction, where others write.

    Tables are locked one after the other, and those who write have an order of their own: who waits for
    the other one has to let go, before the server ends one of the two for it.
    """
    connection.exec_driver_sql("BEGIN")
    try:
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {_BELOW_DEADLOCK_MS}")
        connection.exec_driver_sql("SET LOCAL client_encoding = 'UTF8'")
        quoted = connection.dialect.identifier_preparer.quote_identifier
        listed = ", ".join(f"{SCHEMA}.{quoted(name)}" for name in sorted(dialect.tables(connection)))
        if listed:
            connection.exec_driver_sql(f"LOCK TABLE {listed} IN EXCLUSIVE MODE")
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_PATIENCE_S} s'")
    except BaseException as error:
        connection.exec_driver_sql("ROLLBACK")
        if getattr(getattr(error, "orig", None), "sqlstate", "") in _OTHERS_WRITE:
            return False
        raise
    return True


def put_in_place(
    connection: Connection,
    dialect: PostgreSQL,
    tool: Tool,
    path: str,
    backup: Contents,
    *,
    kept_as: str | None,
    on_rows: Callable[[int], None],
) -> None:
    """In the caller's transaction, rename the schema that is there and fill a new one from a dump.

    Raises ``BackupUnusable`` where the dump is no longer what it was, or has rows that do not fit.
    """
    from jobctl.store.migrations import migrate_within  # noqa: PLC0415 - Alembic is slow to import

    rights: list[_Right] = []
    if kept_as is not None:
        rights = _rights(connection)
        connection.exec_driver_sql(f"ALTER SCHEMA {SCHEMA} RENAME TO {kept_as}")
    migrate_within(connection, backup.schema)
    _load_all(connection, tool, path, on_rows, tables=dialect.tables(connection) - {_VERSION_TABLE})
    if backup.schema != HEAD:
        migrate_within(connection, HEAD)
    made = {None, *_relations(connection)}
    for right in rights:
        if right.relation in made:
            connection.exec_driver_sql(right.grant.replace("%", "%%"))
    loaded = contents_of(connection)._replace(schema=backup.schema)
    if loaded != backup._replace(jobs=dict(backup.jobs)):
        raise BackupUnusable(
            f"{path} was changed while it was read; nothing was changed in the store",
            hint="run the same command again",
        )
    connection.exec_driver_sql("SET LOCAL lock_timeout = 0")


def _load_all(
    connection: Connection, tool: Tool, path: str, on_rows: Callable[[int], None], *, tables: Collection[str]
) -> None:
    """Fill these tables; what else somebody keeps in the schema stays in the dump."""
    seen = 0
    with rows_of(tool, path) as found:
        for table in found:
            if table.table in tables:
                with _fitting(path, table.table):
                    seen = _load(connection, table, seen, on_rows)
    newest = f"SELECT max(event_id) FROM {SCHEMA}.event"  # noqa: S608 - names of our own
    connection.exec_driver_sql(
        f"SELECT setval(pg_get_serial_sequence('{SCHEMA}.event', 'event_id'), last)"  # noqa: S608
        f" FROM ({newest}) AS newest (last) WHERE last IS NOT NULL"
    )


@contextmanager
def _fitting(path: str, table: str) -> Iterator[None]:
    """Say of rows that a table does not take, as where somebody gave it a column, whose they are."""
    import psycopg  # noqa: PLC0415 - slow to import

    try:
        yield
    except (psycopg.DataError, psycopg.IntegrityError, psycopg.ProgrammingError) as error:
        said = str(error).partition("\n")[0]
        raise BackupUnusable(
            f"{path} cannot be put back: the rows of its table {table} do not fit ({said}); "
            "nothing was changed",
            hint="where a column of it is your own: put all of it back with pg_restore",
        ) from None


def _load(connection: Connection, table: Copied, seen: int, on_rows: Callable[[int], None]) -> int:
    driver: Any = connection.connection.driver_connection
    columns = ", ".join(f'"{name}"' for name in table.columns)
    with (
        driver.cursor() as cursor,
        cursor.copy(f'COPY {SCHEMA}."{table.table}" ({columns}) FROM STDIN') as copy,
    ):
        for line in table.lines:
            copy.write(line)
            seen += 1
            if seen % 10_000 == 0:
                on_rows(seen)
    return seen


class _Right(NamedTuple):
    """The statement that gives a right again; ``relation``: on which one, ``None``: on the schema itself."""

    relation: str | None
    grant: str


def _rights(connection: Connection) -> list[_Right]:
    """The rights that others have on the schema, its tables and views."""
    sql = f"""
        SELECT NULL, format('GRANT %s ON SCHEMA {SCHEMA} TO %s', right_.privilege_type, {_GRANTEE})
        FROM pg_namespace AS n, aclexplode(n.nspacl) AS right_
        WHERE n.nspname = '{SCHEMA}' AND right_.grantee <> n.nspowner
        UNION ALL
        SELECT c.relname, format('GRANT %s ON %s {SCHEMA}.%I TO %s', right_.privilege_type,
            CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, c.relname, {_GRANTEE})
        FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace, aclexplode(c.relacl) AS right_
        WHERE n.nspname = '{SCHEMA}' AND c.relkind IN ('r', 'v', 'S') AND right_.grantee <> c.relowner
    """  # noqa: S608 - names of our own
    return [_Right(*row) for row in connection.exec_driver_sql(sql.replace("%", "%%"))]


def _relations(connection: Connection) -> set[str]:
    """What there is in the schema: views and tables of others are not made anew."""
    sql = "SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace(%s)"
    return set(connection.exec_driver_sql(sql, (SCHEMA,)).scalars())
