"""Facts about the health of a store that only PostgreSQL has. Each function reads one."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from jobctl.core.health.databases import Setting, Slot, TableRows, Transaction
from jobctl.store.dialect import PostgreSQL
from jobctl.store.engine import Connection, Store
from jobctl.store.schema import SCHEMA

_INVALID = f"""
SELECT c.relname FROM pg_catalog.pg_index AS i
JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = '{SCHEMA}' AND NOT (i.indisvalid AND i.indisready) AND NOT EXISTS (
    SELECT 1 FROM pg_catalog.pg_stat_progress_create_index AS p WHERE p.index_relid = i.indexrelid
) ORDER BY 1
"""  # noqa: S608 - a name of our own
_SETTINGS = "SELECT name, setting, source FROM pg_catalog.pg_settings WHERE name = ANY(%s) ORDER BY name"
# Where the server stands by, no log is written that a slot could keep.
_IDLE_SLOTS = """
SELECT slot_name, pg_wal_lsn_diff(
    CASE WHEN pg_is_in_recovery() THEN restart_lsn ELSE pg_current_wal_lsn() END, restart_lsn)::bigint
FROM pg_catalog.pg_replication_slots WHERE NOT active AND restart_lsn IS NOT NULL ORDER BY 1
"""
_MOST_WAL = """
SELECT setting::bigint * 1024 * 1024 FROM pg_catalog.pg_settings WHERE name = 'max_wal_size'
"""
_TRANSACTIONS = """
SELECT pid, coalesce(application_name, ''), coalesce(state, ''),
    extract(epoch FROM clock_timestamp() - xact_start)::float8
FROM pg_catalog.pg_stat_activity
WHERE datname = current_database() AND xact_start IS NOT NULL AND pid <> pg_backend_pid()
    AND backend_type = 'client backend'
ORDER BY xact_start
"""
_TABLES = f"""
SELECT relname, n_live_tup, n_dead_tup,
    extract(epoch FROM clock_timestamp() - greatest(last_vacuum, last_autovacuum))::float8,
    coalesce(last_analyze, last_autoanalyze) IS NOT NULL
FROM pg_catalog.pg_stat_user_tables WHERE schemaname = '{SCHEMA}' ORDER BY relname
"""  # noqa: S608 - a name of our own
_SECRET_PARAMETER = re.compile("password|secret|token|key", re.IGNORECASE)


def invalid_indexes(connection: Connection) -> list[str]:
    """The indexes whose build broke off."""
    return list(connection.exec_driver_sql(_INVALID).scalars())


def settings(connection: Connection, *names: str) -> list[Setting]:
    """Settings as they are for us, and where each comes from."""
    return [Setting(*row) for row in connection.exec_driver_sql(_SETTINGS, (list(names),))]


def idle_slots(connection: Connection) -> list[Slot]:
    """The replication slots that nobody reads."""
    return [Slot(*row) for row in connection.exec_driver_sql(_IDLE_SLOTS)]


def usual_log_bytes(connection: Connection) -> int:
    """How much log the server keeps by itself."""
    return int(connection.exec_driver_sql(_MOST_WAL).scalar_one())


def transactions(connection: Connection) -> list[Transaction]:
    """The open transactions on this database that we may see, the oldest first."""
    return [Transaction(*row) for row in connection.exec_driver_sql(_TRANSACTIONS)]


def table_rows(connection: Connection) -> list[TableRows]:
    """What the statistics say of the store's tables."""
    return [TableRows(*row) for row in connection.exec_driver_sql(_TABLES)]


def command_of(store: Store, *statements: str) -> str:
    """A command that has the server carry out statements. It names no password: psql knows where to look."""
    if not isinstance(store.dialect, PostgreSQL):
        raise TypeError(f"{store.url} is no server")
    url = store.dialect.url
    url = url.set(drivername="postgresql").difference_update_query(
        [name for name in url.query if _SECRET_PARAMETER.search(name) and name != "sslkey"]
    )
    address = url._replace(password=None).render_as_string()
    asked = [word for statement in statements for word in ("-c", statement)]
    return shlex.join(["psql", "-Xq", "-v", "ON_ERROR_STOP=1", *asked, address])


def quoted(name: str, *, schema: bool = True) -> str:
    """A name in SQL, in the store's schema."""
    plain = '"' + name.replace('"', '""') + '"'
    return f"{SCHEMA}.{plain}" if schema else plain


def dropping(slot: Slot) -> str:
    """The statement that drops a replication slot; the server lets no quote into its name."""
    return f"SELECT pg_drop_replication_slot('{slot.name}')"


def turn_on(store: Store, setting: Setting) -> str:
    """The command that sets a setting on where it was set off; empty where none can."""
    if not isinstance(store.dialect, PostgreSQL):
        raise TypeError(f"{store.url} is no server")
    statements = _turning_on(setting, store.dialect.url.database or "", store.dialect.url.username or "")
    return command_of(store, *statements) if statements else ""


def _turning_on(setting: Setting, database: str, user: str) -> Sequence[str]:
    name, at, by = setting.name, quoted(database, schema=False), quoted(user, schema=False)
    if setting.source in {"configuration file", "default", "global"}:
        return [f"ALTER SYSTEM SET {name} = on", "SELECT pg_reload_conf()"]
    if setting.source == "database" and database:
        return [f"ALTER DATABASE {at} RESET {name}"]
    if setting.source == "user" and user:
        return [f"ALTER ROLE {by} RESET {name}"]
    if setting.source == "database user" and user and database:
        return [f"ALTER ROLE {by} IN DATABASE {at} RESET {name}"]
    return []
