"""Databases of a test server, each with an empty store: made once, and emptied again after each test.

To make one from a template takes many times longer than to empty it. One whose schema or settings a
test changed, or that somebody is still connected to, is dropped instead.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from itertools import count

import psycopg
from psycopg import sql

from jobctl import __version__
from jobctl.store.dialect import PostgreSQL, dialect_of
from jobctl.store.engine import create_store
from jobctl.store.postgresql_backup import server_version
from jobctl.store.postgresql_tools import find_tool
from jobctl.store.schema import SCHEMA
from postgres import at_database

# Whatever a test can change but rows: relations, columns, constraints, functions, settings. PostgreSQL's
# own are left out: they are many, and to read them all took half of the time that emptying takes.
_SHAPE = """
WITH place AS (
    SELECT oid FROM pg_namespace WHERE nspname <> 'information_schema' AND nspname NOT LIKE 'pg\\_%'
), class AS (
    SELECT c.* FROM pg_class AS c JOIN place ON place.oid = c.relnamespace
)
SELECT md5(string_agg(part, ',' ORDER BY part)) FROM (
    SELECT concat_ws(' ', 'class', oid, relname, relnamespace, relkind, reloptions::text) FROM class
    UNION ALL SELECT concat_ws(' ', 'column', attrelid, attnum, attname, atttypid, attnotnull)
        FROM pg_attribute JOIN class ON class.oid = attrelid
    UNION ALL SELECT concat_ws(' ', 'index', indexrelid, indisvalid)
        FROM pg_index JOIN class ON class.oid = indexrelid
    UNION ALL SELECT concat_ws(' ', 'constraint', c.oid)
        FROM pg_constraint AS c JOIN place ON place.oid = connamespace
    UNION ALL SELECT concat_ws(' ', 'function', p.oid, md5(prosrc))
        FROM pg_proc AS p JOIN place ON place.oid = pronamespace
    UNION ALL SELECT concat_ws(' ', 'trigger', oid) FROM pg_trigger
    UNION ALL SELECT concat_ws(' ', 'schema', oid, nspname, nspacl::text) FROM pg_namespace
    UNION ALL SELECT concat_ws(' ', 'setting', setconfig::text) FROM pg_db_role_setting
        WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
) AS parts (part)
"""
_WRITTEN = """
SELECT relname FROM pg_class JOIN pg_namespace AS n ON n.oid = relnamespace
WHERE n.nspname = %s AND relkind = 'r' AND pg_relation_size(pg_class.oid) > 0
"""
# What ANALYZE found; TRUNCATE forgets by itself how large a table was.
_FORGET_COLUMNS = """
DELETE FROM pg_statistic WHERE starelid IN (SELECT oid FROM pg_class WHERE relnamespace = %s::regnamespace)
"""
_FORGET_EXPRESSIONS = "DELETE FROM pg_statistic_ext_data"
_OTHERS = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


def pg_dump_for(url: str) -> str:
    """The program that dumps this database, found as jobctl finds it: never one older than the server."""
    dialect = dialect_of(url)
    assert isinstance(dialect, PostgreSQL)
    return find_tool("pg_dump", at_least=server_version(dialect), why="a test dumps a store").path


class Databases:
    """The databases of one server, for the tests of one process."""

    def __init__(self, server_url: str) -> None:
        self._server_url = server_url
        self._template = f"jobctl_template_{os.getpid()}"
        self._numbers = count(1)
        self._free: list[str] = []
        self._all: set[str] = set()
        self._administer(f"CREATE DATABASE {self._template}")
        create_store(self._url(self._template), now=datetime.now(UTC), version=__version__)[0].close()
        with psycopg.connect(self._url(self._template)) as connection:
            self._shape = connection.execute(_SHAPE).fetchone()
            self._rows = {name: _read(connection, name) for name in _written(connection)}

    def take(self) -> str:
        """The URL of a database with an empty store, for one test alone."""
        name = self._free.pop() if self._free else self._made()
        return self._url(name)

    def give_back(self, url: str) -> None:
        """It is not used any longer."""
        name = url.partition("?")[0].rpartition("/")[2]
        if self._is_emptied(url):
            self._free.append(name)
        else:
            self._drop(name)

    def close(self) -> None:
        """Drop them all."""
        for name in [*self._all]:
            self._drop(name)
        self._administer(f"DROP DATABASE {self._template} WITH (FORCE)")

    def _made(self) -> str:
        name = f"jobctl_{os.getpid()}_{next(self._numbers)}"
        self._administer(f"CREATE DATABASE {name} TEMPLATE {self._template}")
        self._all.add(name)
        return name

    def _drop(self, name: str) -> None:
        self._all.discard(name)
        self._administer(f"DROP DATABASE {name} WITH (FORCE)")

    def _is_emptied(self, url: str) -> bool:
        with psycopg.connect(url) as connection:
            if connection.execute(_OTHERS).fetchone() != (0,):
                return False
            if connection.execute(_SHAPE).fetchone() != self._shape:
                return False
            tables = [_table(name) for name in {*_written(connection), *self._rows}]
            connection.execute(
                sql.SQL("TRUNCATE {} RESTART IDENTITY CASCADE").format(sql.SQL(", ").join(tables))
            )
            for name, rows in self._rows.items():
                _put(connection, name, rows)
            connection.execute(_FORGET_COLUMNS, (SCHEMA,))
            connection.execute(_FORGET_EXPRESSIONS)
            connection.execute("SELECT pg_stat_reset()")
        return True

    def _administer(self, statement: str) -> None:
        with psycopg.connect(self._server_url, autocommit=True) as connection:
            connection.execute(statement.encode())

    def _url(self, name: str) -> str:
        return at_database(self._server_url, name)


def _written(connection: psycopg.Connection) -> list[str]:
    return [name for (name,) in connection.execute(_WRITTEN, (SCHEMA,)).fetchall()]


def _read(connection: psycopg.Connection, name: str) -> bytes:
    with connection.cursor().copy(sql.SQL("COPY {} TO STDOUT").format(_table(name))) as copy:
        return b"".join(bytes(block) for block in copy)


def _put(connection: psycopg.Connection, name: str, rows: bytes) -> None:
    with connection.cursor().copy(sql.SQL("COPY {} FROM STDIN").format(_table(name))) as copy:
        copy.write(rows)


def _table(name: str) -> sql.Identifier:
    return sql.Identifier(SCHEMA, name)
