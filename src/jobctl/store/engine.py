"""Open a store, and begin its transactions."""

from __future__ import annotations

import getpass
import os
import secrets
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Generic, Protocol, TypeVar

from sqlalchemy import Connection, Engine, insert, select
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError

from jobctl import clock
from jobctl.errors import StoreReplaced, StoreSchemaMismatch, StoreUninitialised, StoreUnreachable
from jobctl.store.bell import Bell
from jobctl.store.dialect import Dialect, SQLite, dialect_of
from jobctl.store.kept import KNOWN
from jobctl.store.redact import redact_url
from jobctl.store.schema import store as store_table
from jobctl.store.statements import rows_plain, run_plain

__all__ = ["Connection", "OlderSchema", "Store", "create_store", "explained", "open_store"]

VERSIONS = tuple(f"{number:04}" for number in range(1, 14))
"""The schema versions there have been, oldest first: one for each migration."""

HEAD = VERSIONS[-1]
"""The schema version this program reads and writes."""

# Of DB-API's errors (PEP 249): what we asked was wrong, and would be wrong again.
_OUR_FAULTS = frozenset({"DataError", "IntegrityError", "ProgrammingError", "NotSupportedError"})
# What PostgreSQL says while somebody puts a store, or the right to use it, aside: it may come back.
_GONE = frozenset({"42P01", "3F000", "42501"})
_MAKE_ONE = "create it with 'jobctl init', or name another with --database"
_SQLITE_NEEDED = (3, 40, 0)
_T = TypeVar("_T")


class Committable(Protocol):
    """What can be committed."""

    def commit(self) -> None: ...


@dataclass(slots=True)
class Store:
    """An opened store. ``is_pooled``: it keeps connections, each of which is asked at first whose it is.

    ``commit_hook``, where set, carries out every commit of a write. ``bell``: calls idle workers.
    """

    dialect: Dialect
    engine: Engine
    store_id: str
    is_pooled: bool = False
    commit_hook: Callable[[Committable], None] | None = None
    bell: Bell = field(default_factory=Bell)

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
    def glance(self) -> Iterator[Connection]:
        """Look by statements that see a moment each: without a transaction around it one is quicker."""
        with self._connect() as connection:
            yield connection

    @contextmanager
    def write(self, *, patience_s: float | None = None) -> Iterator[Connection]:
        """Change the store: committed at the end, rolled back on any error.

        ``patience_s``: wait no longer than that for what another writer has locked: on SQLite the whole
        store, on PostgreSQL a row. Raises ``StoreUnreachable``.
        """
        with self.dialect.turn(patience_s) as left_s, self._connect() as connection:
            self.dialect.begin_write(connection, patience_s=left_s)
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

    def write_at_once(self, statement: Callable[[Connection], _T]) -> _T:
        """Change the store by one statement, a transaction of its own, as on PostgreSQL outside of any."""
        with self._connect() as connection:
            alone = _Alone(connection, statement)
            if self.commit_hook is None:
                alone.commit()
            else:
                self.commit_hook(alone)
            return alone.result

    def now(self, connection: Connection) -> datetime:
        """The store's clock: the server's on PostgreSQL, this machine's on SQLite."""
        if self.dialect.name == "sqlite":
            return clock.now()
        moment: datetime = connection.exec_driver_sql("SELECT clock_timestamp()").scalar_one()
        return moment.astimezone(UTC)

    def expect_same(self, connection: Connection) -> None:
        """Make sure that a connection leads to the store that was opened, for whoever holds it for long.

        Raises ``StoreReplaced``, ``StoreSchemaMismatch``.
        """
        version = _schema_version(self.dialect, connection)
        if version != HEAD:
            raise _other_schema(self.dialect, version)
        self._expect_own(connection)

    def _expect_own(self, connection: Connection) -> None:
        rows = rows_plain(connection, f"SELECT store_id FROM {self.dialect.table('store')}", ())  # noqa: S608
        found = rows[0][0] if rows else None
        if found != self.store_id:
            raise StoreReplaced(
                f"{self.url} holds another job store now ({found}) than when it was opened "
                f"({self.store_id}); it was left as it is",
                hint="put the right one back, or start again to use this one",
            )

    def close(self) -> None:
        """Let go of the store."""
        self.engine.dispose()

    @contextmanager
    def _connect(self) -> Iterator[Connection]:
        with explained(self.dialect), self.engine.connect() as connection:
            if self.is_pooled and KNOWN not in connection.info:
                self._expect_own(connection)
                connection.info[KNOWN] = True
            yield connection


@dataclass(frozen=True, slots=True)
class _Transaction:
    connection: Connection

    def commit(self) -> None:
        run_plain(self.connection, "COMMIT", ())


class _Alone(Generic[_T]):
    """A statement that commits itself: doing it is the commit."""

    result: _T

    def __init__(self, connection: Connection, statement: Callable[[Connection], _T]) -> None:
        self._connection = connection
        self._statement = statement

    def commit(self) -> None:
        self.result = self._statement(self._connection)


class OlderSchema(StoreSchemaMismatch):
    """The store is ours, and ``init`` can bring it up to date."""


def open_store(url: str, *, pooled: bool = False) -> Store:
    """Open the store at ``url``; never makes one, and changes nothing that is not one.

    ``pooled``: for who looks again and again; some connections are kept until it is closed.
    Raises ``StoreUninitialised``, ``StoreSchemaMismatch`` or ``StoreUnreachable``, each
    naming place and user.
    """
    dialect = dialect_of(url)
    if isinstance(dialect, SQLite):
        check_sqlite(sqlite3.sqlite_version_info)
        _check_file(dialect)
    engine = dialect.engine(pooled=pooled)
    with ExitStack() as unless_opened:
        unless_opened.callback(engine.dispose)
        with explained(dialect), engine.connect() as connection:
            _check_schema(dialect, connection)
            store_id = _store_id(dialect, connection)
            dialect.make_durable(connection)
            connection.info[KNOWN] = True
        unless_opened.pop_all()
    return Store(dialect, engine, store_id, is_pooled=pooled)


def _store_id(dialect: Dialect, connection: Connection) -> str:
    store_id: str | None = connection.execute(select(store_table.c.store_id)).scalar_one_or_none()
    if store_id is None:
        raise StoreSchemaMismatch(
            f"{_unusable(dialect)}: it does not say which store it is; it was left as it is",
            hint="put a backup in its place with 'jobctl restore BACKUP'",
        )
    return store_id


def made_at(connection: Connection) -> datetime:
    """When the store was made."""
    moment: datetime = connection.execute(select(store_table.c.created_at)).scalar_one()
    return moment


def create_store(url: str, *, now: datetime, version: str) -> tuple[Store, bool]:
    """Open the store at ``url``, making it where there is none; the flag says whether it was made.

    ``version`` is that of the program. A store of an older schema is brought up to date.
    It is made in one transaction: where that is cut short there is still none.
    """
    dialect = dialect_of(url)
    with suppress(StoreUninitialised, OlderSchema):
        return open_store(url), False
    from jobctl.store.migrations import migrate_within  # noqa: PLC0415 - Alembic is slow to import

    if isinstance(dialect, SQLite):
        _make_file(dialect)
    with explained(dialect), dialect.engine(create=True).connect() as connection:
        dialect.make_durable(connection)
        dialect.begin_write(connection)
        migrate_within(connection, HEAD)
        made = _name_store(connection, now=now, version=version)
        _Transaction(connection).commit()
    return open_store(url), made


def check_sqlite(version: tuple[int, ...]) -> None:
    """Refuse an SQLite library that is older than what jobctl's statements need."""
    if version < _SQLITE_NEEDED:
        have, needed = (".".join(map(str, numbers)) for numbers in (version, _SQLITE_NEEDED))
        raise StoreUnreachable(
            f"this Python comes with SQLite {have}, jobctl needs {needed} or newer; nothing was opened",
            hint="use a Python with a newer SQLite, or a PostgreSQL store",
        )


def _name_store(connection: Connection, *, now: datetime, version: str) -> bool:
    if connection.execute(select(store_table.c.store_id)).first() is not None:
        return False
    made = {"store_id": secrets.token_hex(8), "created_at": now, "created_by": f"jobctl {version}"}
    connection.execute(insert(store_table), made)
    return True


def _check_file(dialect: SQLite) -> None:
    path = dialect.path
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        raise StoreUninitialised(f"there is no job store at {path}{_as_user()}", hint=_MAKE_ONE) from None
    except OSError as error:
        raise StoreUnreachable(
            f"{_unusable(dialect)}: {error.strerror}",
            hint="run jobctl as the store's owner, or mend the permissions",
        ) from None
    if not stat.S_ISREG(mode):
        kind = "a directory" if stat.S_ISDIR(mode) else "not a file"
        raise StoreUnreachable(
            f"{path} is {kind}, so it is no job store{_as_user()}", hint="name a file with --database"
        )
    # WAL needs to write beside the file as well.
    for place, needed in ((path, os.R_OK | os.W_OK), (os.path.dirname(path), os.W_OK | os.X_OK)):
        if not os.access(place, needed, effective_ids=True):
            raise StoreUnreachable(
                f"{_unusable(dialect)}: no permission on {place}",
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


def _check_schema(dialect: Dialect, connection: Connection) -> None:
    """Raise unless there is a store at this place whose schema is ours."""
    tables = dialect.tables(connection)
    if not tables:
        raise StoreUninitialised(f"there is no job store in {dialect.place}{_as_user()}", hint=_MAKE_ONE)
    if not {"alembic_version", store_table.name} <= tables:
        raise StoreSchemaMismatch(
            f"{_unusable(dialect)}: it holds tables of another program and none of jobctl's; "
            "it was left as it is",
            hint="name a database of jobctl's own with --database",
        )
    version = _schema_version(dialect, connection)
    if version != HEAD:
        raise _other_schema(dialect, version)


def _schema_version(dialect: Dialect, connection: Connection) -> str | None:
    found = connection.exec_driver_sql(f"SELECT version_num FROM {dialect.table('alembic_version')}")  # noqa: S608
    version: str | None = found.scalar_one_or_none()
    return version


def _other_schema(dialect: Dialect, version: str | None) -> StoreSchemaMismatch:
    said = f"it has schema {version}, this jobctl needs {HEAD}"
    message = f"{_unusable(dialect)}: {said}; it was left as it is"
    if version in VERSIONS:
        return OlderSchema(message, hint="bring it up to date with 'jobctl init'")
    return StoreSchemaMismatch(message, hint="install the version of jobctl that made it")


@contextmanager
def explained(dialect: Dialect, *driver_errors: type[Exception]) -> Iterator[None]:
    """Tell what the database says as one of jobctl's errors, but for faults in our own statements.

    ``driver_errors``: also what the driver itself raises, where it is used directly.
    """
    try:
        yield
    except (IntegrityError, DataError):
        raise
    except DBAPIError as error:
        raise _unreachable(dialect, error.orig) from error
    except driver_errors as error:
        is_ours = {each.__name__ for each in type(error).__mro__} & _OUR_FAULTS
        if is_ours and getattr(error, "sqlstate", None) not in _GONE:
            raise
        raise _unreachable(dialect, error) from error


def _unreachable(dialect: Dialect, error: BaseException | None) -> StoreUnreachable:
    said = redact_url(str(error).strip().partition("\n")[0])
    return StoreUnreachable(f"{_unusable(dialect)}: {said}", hint=_next_step(dialect, error))


def _next_step(dialect: Dialect, error: BaseException | None) -> str:
    if not isinstance(dialect, SQLite):
        return "check that the server runs, that the database exists and that --database names it rightly"
    if isinstance(error, sqlite3.OperationalError):
        return "check permissions, free space and who else has it open, then run the same command again"
    return "name another with --database, or put a backup in its place with 'jobctl restore BACKUP'"


def _unusable(dialect: Dialect) -> str:
    return f"the job store {dialect.place} cannot be used{_as_user()}"


def _as_user() -> str:
    try:
        return f" (as user {getpass.getuser()})"
    except (KeyError, OSError):
        return f" (as uid {os.getuid()})"
